//! Many runs on all processors, and what they come to: means with confidence intervals.

use rayon::prelude::*;
use serde::Serialize;

use crate::engine;
use crate::scenario::Scenario;
use crate::strategy::StrategyName;
use crate::summary::Summary;

/// A mean of several runs, and half the width of its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// The mean lies within so much of it with 95 % confidence, if runs are independent. 0 of one run.
    pub within: f64,
}

/// A strategy under a scenario, over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The scenario.
    pub scenario: String,
    /// The strategy.
    pub strategy: StrategyName,
    /// How many seeds.
    pub seeds: usize,
    /// The share of requests that were served, in percent.
    pub success_percent: Estimate,
    /// Requests that were refused or failed, per second.
    pub lost_rps: Estimate,
    /// The median time to the answer, in milliseconds.
    pub p50_ms: Estimate,
    /// The 95th percentile.
    pub p95_ms: Estimate,
    /// The 99th percentile.
    pub p99_ms: Estimate,
    /// Jain's index.
    pub fairness: Estimate,
    /// How uneven nodes' loads are over time.
    pub oscillation: Estimate,
    /// The share of seconds in which the worst node takes more than 1.2 times its capacity, in percent.
    pub overload_percent: Estimate,
    /// The longest backlog, in seconds of the node's capacity.
    pub backlog_s: Estimate,
    /// Settling time in seconds, of the runs that settled.
    pub settling_s: Option<Estimate>,
    /// Bytes that a node sends per second.
    pub node_bytes_per_s: Estimate,
}

/// Runs every scenario under every strategy with so many seeds, and tells whenever a run is done.
pub fn run(
    scenarios: &[Scenario],
    strategies: &[StrategyName],
    seeds: u64,
    done: &(dyn Fn() + Sync),
) -> Vec<Line> {
    let pairs: Vec<(&Scenario, StrategyName)> = scenarios
        .iter()
        .flat_map(|scenario| strategies.iter().map(move |&strategy| (scenario, strategy)))
        .collect();
    let runs: Vec<(usize, u64)> = (0..pairs.len())
        .flat_map(|pair| (0..seeds).map(move |seed| (pair, seed)))
        .collect();
    // Collected in the order of the list, whichever run ends first.
    let summaries: Vec<Summary> = runs
        .par_iter()
        .map(|&(pair, number)| {
            let (scenario, strategy) = pairs[pair];
            let seed = scenario.seed.wrapping_add(number);
            let record = engine::run(scenario, strategy, seed, &mut |_| {});
            let summary = Summary::new(scenario, strategy, seed, &record);
            done();
            summary
        })
        .collect();
    let of_pair = summaries.chunks(seeds.max(1) as usize);
    pairs
        .iter()
        .zip(of_pair)
        .map(|(&(scenario, strategy), summaries)| Line::new(scenario, strategy, summaries))
        .collect()
}

impl Line {
    fn new(scenario: &Scenario, strategy: StrategyName, runs: &[Summary]) -> Self {
        let nodes = scenario.nodes.len() as f64;
        let all = |of: &dyn Fn(&Summary) -> f64| Estimate::of(&runs.iter().map(of).collect::<Vec<_>>());
        let time =
            |of: fn(&Summary) -> Option<f64>| Estimate::of(&runs.iter().filter_map(of).collect::<Vec<_>>());
        let settled: Vec<f64> = runs.iter().filter_map(|run| run.settling_s).collect();
        let counted_s = |run: &Summary| f64::from(run.seconds - run.warmup_s);
        Self {
            scenario: scenario.name.clone(),
            strategy,
            seeds: runs.len(),
            success_percent: all(&|run| run.success * 100.0),
            lost_rps: all(&|run| (run.refused + run.failed) as f64 / counted_s(run)),
            p50_ms: time(|run| run.p50_ms),
            p95_ms: time(|run| run.p95_ms),
            p99_ms: time(|run| run.p99_ms),
            fairness: all(&|run| run.fairness),
            oscillation: all(&|run| run.oscillation),
            overload_percent: all(&|run| run.overload * 100.0),
            backlog_s: all(&|run| run.backlog_s),
            settling_s: (!settled.is_empty()).then(|| Estimate::of(&settled)),
            node_bytes_per_s: all(&|run| run.traffic.bytes as f64 / f64::from(run.seconds) / nodes),
        }
    }
}

impl Estimate {
    /// Of these values.
    pub fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        if values.is_empty() {
            return Self {
                mean: 0.0,
                within: 0.0,
            };
        }
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let within = if values.len() > 1 {
            student(values.len() - 1) * (squares / (count - 1.0) / count).sqrt()
        } else {
            0.0
        };
        Self { mean, within }
    }

    /// With so many digits behind the point.
    pub fn text(self, digits: usize) -> String {
        if self.within > 0.0 {
            format!("{:.digits$} ± {:.digits$}", self.mean, self.within)
        } else {
            format!("{:.digits$}", self.mean)
        }
    }
}

/// The 97.5th percentile of Student's distribution.
fn student(freedom: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
        2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048,
        2.045, 2.042,
    ];
    TABLE.get(freedom.saturating_sub(1)).copied().unwrap_or(1.96)
}

/// Lines as a table of Markdown.
pub fn table(lines: &[Line]) -> String {
    let heads = [
        "scenario",
        "strategy",
        "success, %",
        "lost, req/s",
        "p50, ms",
        "p95, ms",
        "p99, ms",
        "fairness",
        "oscillation",
        "overloaded, % of s",
        "longest backlog, s",
        "settled, s",
        "sent, B/s per node",
    ];
    let rows = lines.iter().map(|line| {
        vec![
            line.scenario.clone(),
            line.strategy.to_string(),
            line.success_percent.text(2),
            line.lost_rps.text(2),
            line.p50_ms.text(0),
            line.p95_ms.text(0),
            line.p99_ms.text(0),
            line.fairness.text(3),
            line.oscillation.text(3),
            line.overload_percent.text(1),
            line.settling_s
                .map_or("-".to_owned(), |settling| settling.text(1)),
            line.node_bytes_per_s.text(0),
        ]
    });
    markdown(&heads.map(str::to_owned), &rows.collect::<Vec<_>>())
}

/// A table of Markdown whose columns are aligned in plain text too.
pub fn markdown(heads: &[String], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heads.iter().map(|head| head.chars().count().max(3)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:<width$}"))
            .collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
    let mut text = line(heads) + &format!("|-{}-|\n", rule.join("-|-"));
    for row in rows {
        text += &line(row);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_have_the_textbook_interval() {
        // Mean 3, standard deviation sqrt(2.5), t = 2.776: 2.776 * sqrt(2.5 / 5).
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(estimate.mean, 3.0);
        assert!((estimate.within - 1.963).abs() < 1e-3, "{estimate:?}");
        assert_eq!(Estimate::of(&[7.0]).text(1), "7.0");
        assert_eq!(estimate.text(2), "3.00 ± 1.96");
    }

    #[test]
    fn tables_are_aligned() {
        let rows = vec![vec!["a".to_owned(), "1000".to_owned()]];
        let table = markdown(&["name".to_owned(), "n".to_owned()], &rows);
        assert_eq!(table, "| name | n    |\n|------|------|\n| a    | 1000 |\n");
    }
}
