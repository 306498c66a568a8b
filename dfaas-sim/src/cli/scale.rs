//! `dfaas-sim scale`.

use std::fs;
use std::time::Instant;

use anyhow::Result;

use super::compare::told;
use super::run::bar;
use super::{Reach, ScaleArgs};
use crate::scale::{self, Cost, FEDERATION_MAX, Outcome, Setting};

#[expect(
    clippy::disallowed_methods,
    reason = "how long a simulation takes is not simulated"
)]
pub(super) fn run(args: &ScaleArgs) -> Result<()> {
    let mut rows: Vec<(Outcome, Cost)> = Vec::new();
    let asked = args
        .nodes
        .iter()
        .flat_map(|&nodes| args.neighbours.iter().map(move |&reach| (nodes, reach)));
    for (nodes, reach) in asked {
        let setting = Setting {
            nodes: nodes as usize,
            functions: args.functions.into(),
            seconds: args.seconds,
            neighbours: match reach {
                Reach::All => None,
                Reach::Neighbours(count) => Some(count),
            },
            seed: args.seed,
        };
        let begin = Instant::now();
        let federations = (nodes as usize).div_ceil(FEDERATION_MAX) as u64;
        let bar = bar(federations, &format!("{nodes} nodes"));
        let outcome = scale::run(&setting, &|| bar.inc(1));
        bar.finish_and_clear();
        let cost = Cost {
            wall_s: begin.elapsed().as_secs_f64(),
            memory_mib: memory_mib(),
        };
        rows.push((outcome, cost));
    }
    told(args.json, &rows, || scale::table(&rows))
}

/// The most memory that this process had (Linux: VmHWM in /proc/self/status).
fn memory_mib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1_024)
}
