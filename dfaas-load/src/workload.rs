//! A workload file: who is asked for what, when, how often.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use serde::Deserialize;
use toml::Spanned;

use crate::{
    client::Connections,
    schedule::{Arrivals, Phase, Schedule},
    target::Target,
    trace,
};

/// Time for an answer where nothing else is said, as vegeta has it.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Requests to targets, in parallel.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) streams: Vec<Stream>,
    pub(crate) timeout: Duration,
    pub(crate) connections: Connections,
}

/// The requests of a target, and when they are due.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    /// Asked in turn.
    pub(crate) targets: Vec<Target>,
    pub(crate) start: Duration,
    pub(crate) schedule: Schedule,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    seed: u64,
    timeout_seconds: Option<Spanned<f64>>,
    #[serde(default)]
    connections: Connections,
    target: Vec<Spanned<RawTarget>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTarget {
    name: Option<String>,
    url: String,
    method: Option<String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    start_seconds: Option<f64>,
    #[serde(default)]
    arrivals: Arrivals,
    #[serde(default)]
    phases: Vec<Spanned<RawPhase>>,
    trace: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPhase {
    seconds: f64,
    rate_rps: Option<f64>,
    from_rps: Option<f64>,
    to_rps: Option<f64>,
}

/// Where a mistake is.
struct Place<'a> {
    file: &'a Path,
    text: &'a str,
}

impl Workload {
    /// Reads a workload from a TOML file. Traces are looked for beside it.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or says what cannot be; with file, line and what would be right.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let name = file
            .file_stem()
            .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Self::parse(&name, &text, file)
    }

    fn parse(name: &str, text: &str, file: &Path) -> Result<Self> {
        let raw: Raw = toml::from_str(text).with_context(|| file.display().to_string())?;
        let place = Place { file, text };
        let timeout = match &raw.timeout_seconds {
            None => TIMEOUT,
            Some(seconds) => place.at(seconds, || positive("timeout_seconds", *seconds.get_ref()))?,
        };
        ensure!(
            !raw.target.is_empty(),
            "{}: no [[target]]: give at least one with url and phases",
            file.display()
        );
        let mut streams = Vec::new();
        for (index, target) in raw.target.iter().enumerate() {
            // Each target's randomness is its own, so one more target changes nothing about the others.
            let seed = raw.seed.wrapping_add(index as u64);
            streams.push(place.at(target, || target.get_ref().stream(index, seed, &place))?);
        }
        Ok(Self {
            name: name.to_owned(),
            streams,
            timeout,
            connections: raw.connections,
        })
    }

    /// How long requests are sent.
    pub(crate) fn duration(&self) -> Duration {
        let end = |stream: &Stream| stream.start + stream.schedule.duration();
        self.streams.iter().map(end).max().unwrap_or_default()
    }

    /// About how many requests are sent.
    pub(crate) fn expected(&self) -> f64 {
        self.streams.iter().map(|stream| stream.schedule.expected()).sum()
    }
}

impl RawTarget {
    fn stream(&self, index: usize, seed: u64, place: &Place<'_>) -> Result<Stream> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => format!("target {}", index + 1),
        };
        let method = match (&self.method, self.body.is_empty()) {
            (Some(method), _) => method,
            (None, true) => "GET",
            (None, false) => "POST",
        };
        let body = Bytes::from(self.body.clone());
        let target = Target::new(&name, method, &self.url, self.headers.clone(), body)?;
        let start = match self.start_seconds {
            None => Duration::ZERO,
            Some(0.0) => Duration::ZERO,
            Some(seconds) => positive("start_seconds", seconds)?,
        };
        let phases = match (&self.trace, self.phases.is_empty()) {
            (Some(file), true) => trace::read(&place.beside(file))?,
            (None, false) => self.phases(place)?,
            (Some(_), false) => bail!("both trace and phases are given: take one of them out"),
            (None, true) => bail!(
                "neither phases nor a trace say how often to ask, such as phases = [{{ seconds = 60, rate_rps = 50 }}]"
            ),
        };
        Ok(Stream {
            targets: vec![target],
            start,
            schedule: Schedule::new(phases, self.arrivals, seed),
        })
    }

    fn phases(&self, place: &Place<'_>) -> Result<Vec<Phase>> {
        let of = |phase: &Spanned<RawPhase>| place.at(phase, || phase.get_ref().check());
        self.phases.iter().map(of).collect()
    }
}

impl RawPhase {
    fn check(&self) -> Result<Phase> {
        let seconds = positive("seconds", self.seconds)?.as_secs_f64();
        let (from_rps, to_rps) = match (self.rate_rps, self.from_rps, self.to_rps) {
            (Some(rate), None, None) => (rate, rate),
            (None, Some(from), Some(to)) => (from, to),
            _ => bail!("give either rate_rps, or from_rps and to_rps"),
        };
        for rate in [from_rps, to_rps] {
            ensure!(
                rate.is_finite() && rate >= 0.0,
                "a rate of {rate} requests a second: give a number from 0"
            );
        }
        Ok(Phase {
            seconds,
            from_rps,
            to_rps,
        })
    }
}

impl Place<'_> {
    /// Does something, and says file and line of a mistake.
    fn at<T, R>(&self, value: &Spanned<T>, work: impl FnOnce() -> Result<R>) -> Result<R> {
        let line = self.text[..value.span().start].matches('\n').count() + 1;
        work().map_err(|error| {
            // The innermost place is the one to look at.
            let text = format!("{error:#}");
            match text.starts_with(&self.file.display().to_string()) {
                true => error,
                false => error.context(format!("{}, line {line}", self.file.display())),
            }
        })
    }

    fn beside(&self, file: &Path) -> PathBuf {
        self.file
            .parent()
            .map_or_else(|| file.to_owned(), |folder| folder.join(file))
    }
}

fn positive(name: &str, seconds: f64) -> Result<Duration> {
    let duration = Duration::try_from_secs_f64(seconds).ok();
    duration
        .filter(|duration| !duration.is_zero())
        .with_context(|| format!("{name} = {seconds}: give seconds above 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
seed = 7
connections = 'one-per-request'
[[target]]
url = 'http://localhost:8081/function/figlet'
body = 'Hello'
phases = [{ seconds = 2, rate_rps = 5 }, { seconds = 2, from_rps = 0, to_rps = 10 }]
[[target]]
name = 'late'
url = 'http://localhost:8082/'
start_seconds = 3
arrivals = 'poisson'
phases = [{ seconds = 10, rate_rps = 1 }]
";

    #[test]
    fn a_file_says_who_is_asked_when() {
        let workload = parse(GOOD).unwrap();
        assert_eq!(workload.duration(), Duration::from_secs(13));
        assert_eq!(workload.expected(), 30.0);
        assert_eq!(workload.connections, Connections::OnePerRequest);
        let first = &workload.streams[0].targets[0];
        assert_eq!((first.name.as_str(), first.method.as_str()), ("target 1", "POST"));
        assert_eq!(workload.streams[0].schedule.clone().count(), 20);
        assert_eq!(workload.timeout, TIMEOUT);
    }

    #[test]
    fn mistakes_are_told_with_file_and_line() {
        check("seed = 7", "sed = 7", "line 2, column 1");
        check(
            "rate_rps = 5 }",
            "rate_rps = -5 }",
            "w.toml, line 7: a rate of -5",
        );
        check(
            "rate_rps = 5 }",
            "rate_rps = nan }",
            "w.toml, line 7: a rate of NaN",
        );
        check(
            "seconds = 10,",
            "seconds = 0,",
            "w.toml, line 13: seconds = 0: give",
        );
        check("rate_rps = 5 }", "from_rps = 5 }", "line 7: give either rate_rps");
        check(
            "start_seconds = 3",
            "start_seconds = -3",
            "w.toml, line 8: start_seconds = -3",
        );
        check(
            "http://localhost:8082/",
            "localhost",
            "w.toml, line 8: url \"localhost\": give an address",
        );
        check(
            "phases = [{ seconds = 10, rate_rps = 1 }]",
            "",
            "line 8: neither phases nor a trace",
        );
        check(
            "start_seconds = 3",
            "trace = 't.csv'",
            "line 8: both trace and phases",
        );
        check("'poisson'", "'pareto'", "unknown variant `pareto`");
    }

    #[test]
    fn a_trace_lies_beside_its_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t.csv"), "0,1\n2,3\n").unwrap();
        let text = "[[target]]\nurl = 'http://a/'\ntrace = 't.csv'\n";
        let file = folder.path().join("w.toml");
        let workload = Workload::parse("w", text, &file).unwrap();
        assert_eq!((workload.expected(), workload.duration().as_secs()), (8.0, 4));
        std::fs::write(folder.path().join("t.csv"), "").unwrap();
        let error = format!("{:#}", Workload::parse("w", text, &file).unwrap_err());
        assert!(error.contains("t.csv: the trace is empty"), "{error}");
    }

    #[track_caller]
    fn check(part: &str, other: &str, want: &str) {
        assert!(GOOD.contains(part));
        let error = format!("{:#}", parse(&GOOD.replace(part, other)).unwrap_err());
        assert!(error.contains(want), "{error}");
    }

    fn parse(text: &str) -> Result<Workload> {
        Workload::parse("w", text, Path::new("w.toml"))
    }
}
