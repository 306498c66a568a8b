//! `dfaas-sim sweep` and `dfaas-sim experiment`.

use anyhow::{Context as _, Result};
use rayon::prelude::*;
use serde::Serialize;

use super::run::{bar, print};
use super::{ExperimentArgs, HerdArgs, SweepArgs};
use crate::experiment::recordings::Recordings;
use crate::experiment::{self, PUBLISHED, Setting};
use crate::herd;
use crate::plot::{self, Format};
use crate::scenario::Scenario;
use crate::sweep;

pub(super) fn sweep(args: &SweepArgs) -> Result<()> {
    let scenarios: Vec<Scenario> = args
        .scenarios
        .iter()
        .map(|path| Scenario::read(path))
        .collect::<Result<_, _>>()?;
    let runs = scenarios.len() as u64 * args.strategies.len() as u64 * args.seeds;
    let bar = bar(runs, "sweeping");
    let lines = sweep::run(&scenarios, &args.strategies, args.seeds, &|| bar.inc(1));
    bar.finish_and_clear();
    if let Some(folder) = &args.pictures {
        for picture in plot::compare::sweep(&lines) {
            plot::write(&picture, folder, Format::Both)?;
        }
    }
    told(args.json, &lines, || {
        let seeds = args.seeds;
        format!(
            "means over {seeds} seeds, with 95 % confidence intervals\n\n{}",
            sweep::table(&lines)
        )
    })
}

pub(super) fn experiment(args: &ExperimentArgs) -> Result<()> {
    let recordings = Recordings::read(&args.recordings)?;
    let asked: Vec<(usize, f64)> = match (args.nodes, args.edge_probability) {
        (Some(nodes), Some(probability)) => vec![(nodes.into(), probability)],
        _ => PUBLISHED.iter().map(|row| (row.0, row.1)).collect(),
    };
    let bar = bar(asked.len() as u64 * args.instances, "experimenting");
    let setting = |&(nodes, probability): &(usize, f64)| {
        let seeds = (0..args.instances)
            .into_par_iter()
            .map(|number| args.seed.wrapping_add(number));
        let instances: Vec<_> = seeds
            .map(|seed| {
                let outcomes = experiment::run(&recordings, nodes, probability, seed);
                bar.inc(1);
                outcomes
            })
            .collect();
        Setting::new(nodes, probability, &instances)
    };
    let settings: Vec<Setting> = asked.iter().map(setting).collect();
    bar.finish_and_clear();
    if let Some(folder) = &args.pictures {
        plot::write(&plot::compare::experiment(&settings), folder, Format::Both)?;
    }
    told(args.json, &settings, || experiment::table(&settings))
}

pub(super) fn herd(args: &HerdArgs) -> Result<()> {
    let runs = args.periods.len() as u64 * herd::STRATEGIES.len() as u64 * args.seeds;
    let bar = bar(runs, "herding");
    let lines = herd::run(&args.periods, args.seeds, &|| bar.inc(1));
    bar.finish_and_clear();
    if let Some(folder) = &args.pictures {
        for &period in &args.periods {
            plot::write(&herd::picture(period, 1), folder, Format::Both)?;
        }
    }
    told(args.json, &lines, || sweep::table(&lines))
}

/// Prints a value as JSON or as text.
pub(super) fn told<T: Serialize>(json: bool, value: &T, text: impl FnOnce() -> String) -> Result<()> {
    if json {
        print(&(serde_json::to_string_pretty(value).context("writing JSON")? + "\n"));
    } else {
        print(&text());
    }
    Ok(())
}
