//! `dfaas-sim plot` and `dfaas-sim report`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{PlotArgs, ReportArgs};
use crate::plot::{self, compare, run};
use crate::report;
use crate::results::Results;

pub(super) fn plot(args: &PlotArgs) -> Result<()> {
    let all = read(&args.results)?;
    for results in &all {
        // Of several, each has a folder of its own.
        let folder = if all.len() > 1 {
            args.out.join(results.summary.strategy.as_str())
        } else {
            args.out.clone()
        };
        plot::write(&run::outcomes(results), &folder, args.format)?;
        plot::write(&run::served_by_node(results), &folder, args.format)?;
        plot::write(&run::latency_by_node(results), &folder, args.format)?;
        plot::write(&run::latency_distribution(&[results]), &folder, args.format)?;
        if let Some(weights) = run::weights(results) {
            plot::write(&weights, &folder, args.format)?;
        }
        plot::write(&run::topology(results), &folder, args.format)?;
    }
    if all.len() > 1 {
        let all: Vec<&Results> = all.iter().collect();
        plot::write(&compare::success_over_time(&all), &args.out, args.format)?;
        plot::write(&compare::success_by_function(&all), &args.out, args.format)?;
        plot::write(&run::latency_distribution(&all), &args.out, args.format)?;
    }
    Ok(())
}

pub(super) fn report(args: &ReportArgs) -> Result<()> {
    let page = report::html(&read(&args.results)?)?;
    fs::write(&args.out, page).with_context(|| format!("writing {}", args.out.display()))
}

fn read(paths: &[PathBuf]) -> Result<Vec<Results>> {
    paths.iter().map(|path| Results::read(path)).collect()
}
