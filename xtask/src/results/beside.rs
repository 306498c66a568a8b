//! The reference's loads, simulated and emulated side by side.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{emulate::Emulation, shell};

/// How far apart a rate of the simulator and one of real nodes may be, as a share of the simulator's.
const APART_MAX: f64 = 0.05;
const STRATEGIES: [&str; 2] = ["recalc", "water-filling"];
const HEAD: &str = "| load | strategy | published | simulated | emulated | apart, % | each node, simulated | each node, emulated | apart at most, % |\n\
    |---|---|---:|---:|---:|---:|---|---|---:|\n";

/// A load of the reference's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    rates_rps: [u32; 3],
    /// What each node serves of it, in requests a second, when the reference's agents have recalculated.
    published_rps: [u32; 3],
}

/// The four of its playbook.
pub(super) const LOADS: [Load; 4] = [
    Load::new([50, 0, 0], [10, 10, 15]),
    Load::new([50, 10, 0], [10, 15, 15]),
    Load::new([50, 30, 0], [10, 20, 25]),
    Load::new([50, 50, 50], [10, 20, 30]),
];

/// What each node served of a load, in requests a second.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    load: String,
    strategy: &'static str,
    published_rps: Option<u32>,
    simulated_rps: Vec<f64>,
    emulated_rps: Vec<f64>,
}

impl Load {
    const fn new(rates_rps: [u32; 3], published_rps: [u32; 3]) -> Self {
        Self {
            rates_rps,
            published_rps,
        }
    }

    fn name(&self, between: &str) -> String {
        self.rates_rps.map(|rate| rate.to_string()).join(between)
    }
}

/// Lays the reference's three hosts, sends the loads for so many seconds each, simulates the same, and returns the table.
///
/// # Errors
///
/// When something does not come up, or any node serves another rate than in the simulator; that error has the table.
pub(super) fn table(simulator: &Path, loads: &[Load], seconds: u32) -> Result<String> {
    let mut rows = Vec::new();
    for strategy in STRATEGIES {
        let hosts = shell::workspace().join("topologies/three-hosts.toml");
        let mut emulation = Emulation::start(&hosts, strategy)?;
        for load in loads {
            let name = load.name("/");
            println!("results: {name} under {strategy}");
            rows.push(Row {
                simulated_rps: simulated(simulator, load, strategy)?,
                emulated_rps: emulation.served_rps(&load.rates_rps, seconds)?,
                published_rps: (strategy == "recalc").then(|| load.published_rps.iter().sum()),
                strategy,
                load: name,
            });
        }
        emulation.stop()?;
    }
    judged(&rows)
}

fn simulated(simulator: &Path, load: &Load, strategy: &str) -> Result<Vec<f64>> {
    let scenario = format!("dfaas-sim/scenarios/reference-{}.toml", load.name("-"));
    let mut command = std::process::Command::new(simulator);
    command.arg("run").arg(shell::workspace().join(scenario));
    let text = shell::output(command.args(["--json", "--strategy", strategy]))?;
    let results: Value = serde_json::from_str(&text).context("reading the results of dfaas-sim")?;
    let served = results["summary"]["served_by_rps"]
        .as_object()
        .context("dfaas-sim tells nothing of who served")?;
    Ok(served.values().filter_map(Value::as_f64).collect())
}

fn judged(rows: &[Row]) -> Result<String> {
    let table: String = rows.iter().map(Row::text).collect();
    let far = rows.iter().find(|row| row.apart_most() > APART_MAX);
    ensure!(
        far.is_none(),
        "a node of the emulation serves another rate than in the simulator, by more than {} %:\n\n{HEAD}{table}",
        APART_MAX * 100.0
    );
    Ok(HEAD.to_owned() + &table)
}

impl Row {
    fn text(&self) -> String {
        let [simulated, emulated] = [&self.simulated_rps, &self.emulated_rps].map(|rates| rates.iter().sum());
        let each = |rates: &[f64]| rates.iter().map(|rate| format!("{rate:.1}")).collect::<Vec<_>>();
        format!(
            "| {} | {} | {} | {simulated:.1} | {emulated:.1} | {:.1} | {} | {} | {:.1} |\n",
            self.load,
            self.strategy,
            self.published_rps.map_or("-".to_owned(), |rate| rate.to_string()),
            apart(simulated, emulated) * 100.0,
            each(&self.simulated_rps).join(" / "),
            each(&self.emulated_rps).join(" / "),
            self.apart_most() * 100.0,
        )
    }

    /// How far apart the rates of a node, and those of all, are at most.
    fn apart_most(&self) -> f64 {
        if self.simulated_rps.len() != self.emulated_rps.len() {
            return f64::INFINITY;
        }
        let all = |rates: &[f64]| rates.iter().sum();
        let nodes = self
            .simulated_rps
            .iter()
            .copied()
            .zip(self.emulated_rps.iter().copied());
        nodes
            .chain([(all(&self.simulated_rps), all(&self.emulated_rps))])
            .map(|(simulated, emulated)| apart(simulated, emulated))
            .fold(0.0, f64::max)
    }
}

fn apart(simulated: f64, emulated: f64) -> f64 {
    let difference = (emulated - simulated).abs();
    if difference == 0.0 {
        0.0
    } else {
        difference / simulated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_serve_the_same_in_sum_only_are_apart() {
        check(&[10.0, 20.0], &[10.4, 19.2], true);
        check(&[10.0, 20.0], &[9.4, 20.6], false);
        check(&[10.0, 20.0], &[10.6, 20.0], false);
        check(&[0.0, 20.0], &[0.0, 20.0], true);
        check(&[0.0, 20.0], &[0.1, 20.0], false);
        check(&[10.0, 20.0], &[10.0], false);
    }

    #[test]
    fn a_row_has_sums_and_nodes() {
        let text = judged(&[row(&[10.0, 20.0], &[10.2, 20.0])]).unwrap();
        let want = "| 50/10 | recalc | 30 | 30.0 | 30.2 | 0.7 | 10.0 / 20.0 | 10.2 / 20.0 | 2.0 |\n";
        assert!(text.starts_with(HEAD) && text.ends_with(want), "{text}");
    }

    #[track_caller]
    fn check(simulated: &[f64], emulated: &[f64], want: bool) {
        let judged = judged(&[row(simulated, emulated)]);
        assert_eq!(judged.is_ok(), want, "{judged:?}");
    }

    fn row(simulated: &[f64], emulated: &[f64]) -> Row {
        Row {
            load: "50/10".to_owned(),
            strategy: "recalc",
            published_rps: Some(30),
            simulated_rps: simulated.to_vec(),
            emulated_rps: emulated.to_vec(),
        }
    }
}
