//! A closed loop of connections by `wrk`: as many requests as go through.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::{
    case::{Answer, Body, Case},
    contender::Contender,
    site::Site,
};

const THREADS_MAX: u32 = 2;
const UPLOAD: &str = "/run/upload.lua";
/// So many thousandths of the answers may be others than refusals, where refusals are meant: a limit of one a
/// second lets one a second through.
const SERVED_PERMILLE_MAX: u64 = 10;

/// What went through.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Throughput {
    pub(crate) requests: u64,
    pub(crate) rps: f64,
}

/// What `wrk` says at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Said {
    throughput: Throughput,
    refused: u64,
    errors: u64,
}

/// Runs it for some seconds.
///
/// # Errors
///
/// When anything but the answer that is meant came, or connections failed.
pub(crate) fn run(site: &Site, contender: Contender, case: &Case, seconds: u64) -> Result<Throughput> {
    let what = || format!("{} through {}", case.name, contender.name());
    let arguments = arguments(site, contender, case, seconds)?;
    let output = site.client.output("wrk", &arguments)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: wrk: {text}{complaint}", what());
    let said = read(&text).with_context(|| format!("{}: wrk said {text}", what()))?;
    check(case, &said).with_context(what)?;
    Ok(said.throughput)
}

fn arguments(site: &Site, contender: Contender, case: &Case, seconds: u64) -> Result<Vec<String>> {
    let url = site.url(contender, case);
    let threads = case.clients.min(THREADS_MAX);
    let mut arguments = vec![
        format!("-t{threads}"),
        format!("-c{}", case.clients),
        format!("-d{seconds}s"),
    ];
    for field in case.fields(site.second_id()) {
        arguments.extend(["-H".to_owned(), field]);
    }
    if let Body::Upload(bytes) = case.body {
        let script = format!("wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", {bytes})\n");
        fs::write(site.client.path(UPLOAD), script).context("writing a script for wrk")?;
        arguments.extend(["-s".to_owned(), UPLOAD.to_owned()]);
    }
    arguments.push(format!("http://{}{}", url.address, url.path));
    Ok(arguments)
}

fn check(case: &Case, said: &Said) -> Result<()> {
    let requests = said.throughput.requests;
    ensure!(requests > 0, "no answers");
    ensure!(
        said.errors == 0,
        "{} of {requests} connections failed",
        said.errors
    );
    match case.answer {
        Answer::Body => ensure!(
            said.refused == 0,
            "{} of {requests} answers were refusals",
            said.refused
        ),
        Answer::OverLimit | Answer::Forbidden => {
            let served = requests.saturating_sub(said.refused);
            // And the few that a bucket holds at the beginning.
            let most = requests * SERVED_PERMILLE_MAX / 1000 + 2;
            ensure!(served <= most, "{served} of {requests} were not refused");
        }
    }
    Ok(())
}

fn read(text: &str) -> Result<Said> {
    let mut said = Said::default();
    for line in text.lines().map(str::trim) {
        if let Some((requests, _)) = line.split_once(" requests in ") {
            said.throughput.requests = requests.parse().context("reading the requests")?;
        } else if let Some(rate) = line.strip_prefix("Requests/sec:") {
            said.throughput.rps = rate.trim().parse().context("reading the rate")?;
        } else if let Some(errors) = line.strip_prefix("Socket errors:") {
            let counts = errors
                .split(',')
                .filter_map(|part| part.split_whitespace().nth(1));
            said.errors = counts.map(|count| count.parse().unwrap_or(u64::MAX / 8)).sum();
        } else if let Some(refused) = line.strip_prefix("Non-2xx or 3xx responses:") {
            said.refused = refused.trim().parse().context("reading the refusals")?;
        }
    }
    ensure!(said.throughput.rps > 0.0, "no rate");
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Running 1s test @ http://10.77.0.1:80/function/near-64
  2 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   340.56us    1.02ms  20.51ms   96.31%
    Req/Sec    43.18k     8.21k   59.39k    65.00%
  85903 requests in 1.00s, 12.29MB read
  Socket errors: connect 1, read 3, write 0, timeout 2
  Non-2xx or 3xx responses: 12
Requests/sec:  85755.29
Transfer/sec:     12.27MB
";

    #[test]
    fn what_wrk_says_is_read() {
        let want = Said {
            throughput: Throughput {
                requests: 85_903,
                rps: 85_755.29,
            },
            refused: 12,
            errors: 6,
        };
        assert_eq!(read(TEXT).unwrap(), want);
        assert!(read("unable to connect").is_err());
    }

    #[test]
    fn wrong_answers_fail_a_case() {
        let all = Case::all();
        let served = all.iter().find(|case| case.answer == Answer::Body).unwrap();
        let refused = all.iter().find(|case| case.answer == Answer::OverLimit).unwrap();
        check_case(served, 1000, 0, 0, true);
        check_case(served, 1000, 1, 0, false);
        check_case(served, 1000, 0, 1, false);
        check_case(served, 0, 0, 0, false);
        check_case(refused, 1000, 988, 0, true);
        check_case(refused, 1000, 987, 0, false);
    }

    #[track_caller]
    fn check_case(case: &Case, requests: u64, refused: u64, errors: u64, want: bool) {
        let throughput = Throughput { requests, rps: 1.0 };
        let said = Said {
            throughput,
            refused,
            errors,
        };
        assert_eq!(check(case, &said).is_ok(), want);
    }
}
