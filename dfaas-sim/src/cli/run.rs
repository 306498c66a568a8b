//! `dfaas-sim run`.

use std::io::Write as _;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use super::RunArgs;
use crate::results::Results;
use crate::scenario::Scenario;
use crate::summary::Summary;

pub(super) fn run(args: &RunArgs) -> Result<()> {
    let scenario = Scenario::read(&args.scenario)?;
    let strategy = args.strategy.unwrap_or(scenario.strategy);
    let seed = args.seed.unwrap_or(scenario.seed);
    let bar = bar(1_000, "simulating");
    let results = Results::of(&scenario, strategy, seed, &mut |share| {
        bar.set_position((share * 1_000.0) as u64);
    });
    bar.finish_and_clear();
    if let Some(folder) = &args.out {
        results.write(folder)?;
    }
    if args.json {
        print(&results.to_json()?);
    } else {
        print(&told(&results.summary));
    }
    Ok(())
}

/// A bar on the terminal, if there is one.
pub(super) fn bar(length: u64, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {percent} % {eta}");
    let bar = ProgressBar::new(length).with_message(what.to_owned());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Prints a text. Nobody is left to tell if standard output is closed.
pub(super) fn print(text: &str) {
    let _closed = std::io::stdout().write_all(text.as_bytes());
}

fn told(summary: &Summary) -> String {
    let time = |ms: Option<f64>| ms.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
    let mut text = format!(
        "{}, {}, seed {}: {} s, of which {} s do not count\n",
        summary.scenario, summary.strategy, summary.seed, summary.seconds, summary.warmup_s
    );
    let lines = [
        ("requests", summary.arrived.to_string()),
        (
            "served",
            format!("{} ({:.2} %)", summary.served, summary.success * 100.0),
        ),
        ("refused", summary.refused.to_string()),
        ("failed", summary.failed.to_string()),
        ("p50", time(summary.p50_ms)),
        ("p95", time(summary.p95_ms)),
        ("p99", time(summary.p99_ms)),
        ("fairness", format!("{:.3}", summary.fairness)),
        ("messages", summary.traffic.messages.to_string()),
        ("bytes", summary.traffic.bytes.to_string()),
        (
            "settled after",
            summary.settling_s.map_or("-".to_owned(), |s| format!("{s:.0} s")),
        ),
        ("oscillation", format!("{:.3}", summary.oscillation)),
        (
            "overloaded",
            format!("{:.1} % of seconds, the worst node", summary.overload * 100.0),
        ),
        ("backlog", format!("{:.2} s", summary.backlog_s)),
    ];
    for (name, value) in lines {
        text += &format!("  {name:<14}{value}\n");
    }
    for (node, rps) in &summary.served_by_rps {
        text += &format!("  {node:<14}served {rps:.2}/s\n");
    }
    text
}
