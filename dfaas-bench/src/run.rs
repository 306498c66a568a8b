//! One run over all cases.

use std::{
    path::PathBuf,
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

use crate::{
    case::Case,
    contender::Contender,
    kernel::{Counting, flow_bytes},
    latency, machine,
    report::{HEAD, Line},
    rounds::{self, Effort, Measured},
    site::Site,
    table, wrk,
};

const MARK: &str = "bench";
/// How a program ends that SIGINT ended.
const INTERRUPTED: i32 = 130;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measure only the cases that tell most: less than five minutes
    #[arg(long)]
    quick: bool,
    /// Print one JSON object a case, and nothing else, on standard output
    #[arg(long)]
    json: bool,
    /// Measure only cases with this in their name
    #[arg(long, default_value = "")]
    only: String,
    /// How many times each contender has its turn
    #[arg(long)]
    rounds: Option<usize>,
    /// Replace the table in this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// Measures, and tells.
///
/// # Errors
///
/// When something does not work, or an answer is not the one that is meant.
pub(crate) fn run(args: &Args) -> Result<()> {
    let end = interrupted()?;
    let tell = |text: &str| {
        if args.json {
            eprint!("{text}");
        } else {
            print!("{text}");
        }
    };
    tell("bench: starting two nodes and all contenders\n");
    let site = Site::start()?;
    let cases = Case::all().into_iter();
    let wanted = |case: &Case| (case.is_telling || !args.quick) && case.name.contains(&args.only);
    let cases: Vec<Case> = cases.filter(wanted).collect();
    ensure!(!cases.is_empty(), "no case has {:?} in its name", args.only);
    let mut rows = String::new();
    for case in cases {
        let load = machine::load_average()?;
        let line = measure(&site, case, effort(args), &end).with_context(|| site.logs())?;
        tell(&format!(
            "{}  load average {load}\n{}",
            line.row(),
            line.details()
        ));
        if args.json {
            println!("{}", line.json());
        }
        rows += &line.row();
    }
    let note = note(&site, effort(args))?;
    tell(&format!("\n{HEAD}{rows}\n{note}"));
    if let Some(file) = &args.write {
        table::replace(file, MARK, &format!("{HEAD}{rows}\n{note}"))?;
    }
    Ok(())
}

fn effort(args: &Args) -> Effort {
    let rounds = if args.quick { 3 } else { 5 };
    Effort {
        rounds: args.rounds.unwrap_or(rounds),
        seconds: 1,
    }
}

fn measure(site: &Site, case: Case, effort: Effort, end: &AtomicBool) -> Result<Line> {
    let measured = rounds::run(site, &case, effort, end)?;
    let program_ns = program_ns(site, &case)?;
    let mut line = Line {
        case,
        measured,
        latencies: None,
        program_ns,
    };
    if line.case.has_latency {
        let contenders = [Contender::Direct, Contender::Dfaas, line.haproxy(), line.nginx()];
        let rate = half_load(&line.measured, &contenders);
        line.latencies = Some(latency::run(site, &line.case, &contenders, rate, effort, end)?);
    }
    Ok(line)
}

/// Half of what the slowest of them can do, so that none of them is overloaded.
fn half_load(measured: &Measured, contenders: &[Contender]) -> f64 {
    let series = contenders
        .iter()
        .filter_map(|contender| measured.series.get(contender));
    let all = series.flat_map(|series| series.rps.iter().copied());
    all.fold(f64::INFINITY, f64::min) / 2.0
}

/// A round of its own, because counting costs. Nanoseconds a request.
fn program_ns(site: &Site, case: &Case) -> Result<f64> {
    let counting = Counting::start()?;
    let pids = site.agent_pids();
    let before = counting.runs(&pids)?;
    let throughput = wrk::run(site, Contender::Dfaas, case, 1)?;
    let after = counting.runs(&pids)?;
    let spent = after.iter().map(|(name, run)| {
        let before = before.get(name).copied().unwrap_or_default();
        run.since(before).nanoseconds
    });
    Ok(spent.sum::<u64>() as f64 / throughput.requests as f64)
}

fn note(site: &Site, effort: Effort) -> Result<String> {
    let pids = site.agent_pids();
    let bytes = flow_bytes(*pids.first().context("an agent runs")?)?;
    Ok(format!(
        "Requests a second by `wrk`; medians of {} rounds of {} s, in each of which every contender had its turn, and of \
         the ratios of each round (least and greatest in brackets). Proxies with one and two workers: the better \
         counts. Forwarded: through two proxies, two of our nodes, or routed by the first node. \
         A connection takes {bytes:.0} bytes of maps. Load average at the end: {}.\n",
        effort.rounds,
        effort.seconds,
        machine::load_average()?
    ))
}

/// Becomes true when the user wants an end. A second Ctrl-C ends at once: what is left then, the kernel clears away.
fn interrupted() -> Result<Arc<AtomicBool>> {
    let wanted = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&wanted);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let wait = move || {
        let waited = runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if told.swap(true, Ordering::Relaxed) {
                    return Ok::<(), std::io::Error>(());
                }
            }
        });
        if waited.is_ok() {
            process::exit(INTERRUPTED);
        }
    };
    thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(wait)
        .context("waiting for signals")?;
    Ok(wanted)
}
