//! What balancers do that do not agree, and know of each other only what was told a while ago: the same load under
//! strategies that agree, and under such that decide each for itself.

use std::path::Path;
use std::time::Duration;

use crate::engine;
use crate::record::Row;
use crate::scenario::Scenario;
use crate::strategy::StrategyName;
use crate::sweep::{self, Line};
use dfaas_plot::Lines;

/// Those that agree, then those that do not.
pub const STRATEGIES: [StrategyName; 6] = [
    StrategyName::WaterFilling,
    StrategyName::Recalc,
    StrategyName::Static,
    StrategyName::LatencyThreshold,
    StrategyName::LeastConnections,
    StrategyName::PowerOfTwo,
];

const NAME: &str = "scenarios/herd.toml";
const TEXT: &str = include_str!("../scenarios/herd.toml");

/// The scenario, with news as old as this.
///
/// # Panics
///
/// Panics if the shipped scenario is wrong, which a test excludes.
pub fn scenario(period: Duration) -> Scenario {
    let scenario = Scenario::parse(Path::new(NAME), TEXT).expect("the shipped scenario is right");
    Scenario {
        name: format!("herd, period {} s", period.as_secs_f64()),
        period,
        ..scenario
    }
}

/// Runs all strategies with so many seeds for each age of news, and tells whenever a run is done.
pub fn run(periods: &[Duration], seeds: u64, done: &(dyn Fn() + Sync)) -> Vec<Line> {
    let scenarios: Vec<Scenario> = periods.iter().copied().map(scenario).collect();
    sweep::run(&scenarios, &STRATEGIES, seeds, done)
}

/// How much the most loaded node takes of its capacity, over time, by strategy.
pub fn picture(period: Duration, seed: u64) -> Lines {
    let scenario = scenario(period);
    let series = STRATEGIES.map(|strategy| {
        let record = engine::run(&scenario, strategy, seed, &mut |_| {});
        (strategy.to_string(), most_loaded(&scenario, &record.rows))
    });
    Lines {
        name: format!("herd-{}s", period.as_secs_f64()),
        title: format!(
            "The most loaded of twelve nodes, news {} s old",
            period.as_secs_f64()
        ),
        x_label: "time, seconds".to_owned(),
        y_label: "requests inside it".to_owned(),
        series: series.to_vec(),
        y_most: None,
    }
}

fn most_loaded(scenario: &Scenario, rows: &[Row]) -> Vec<(f64, f64)> {
    let mut most = vec![0u32; scenario.seconds as usize];
    for row in rows {
        if let Some(most) = most.get_mut(row.second as usize) {
            *most = (*most).max(row.inside_most);
        }
    }
    (0..)
        .zip(most)
        .map(|(second, inside)| (f64::from(second), f64::from(inside)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_agrees_overloads_nobody_and_who_does_not_does() {
        let lines = run(&[Duration::from_secs(5)], 2, &|| {});
        let of = |strategy| lines.iter().find(|line| line.strategy == strategy).unwrap();
        let ours = of(StrategyName::WaterFilling);
        assert!(ours.success_percent.mean > 97.0, "{ours:?}");
        for strategy in [StrategyName::LatencyThreshold, StrategyName::PowerOfTwo] {
            let theirs = of(strategy);
            assert!(
                theirs.overload_percent.mean > 2.0 * ours.overload_percent.mean,
                "{theirs:?} against {ours:?}"
            );
            assert!(
                theirs.backlog_s.mean > 2.0 * ours.backlog_s.mean,
                "{theirs:?} against {ours:?}"
            );
            assert!(
                theirs.oscillation.mean > ours.oscillation.mean,
                "{theirs:?} against {ours:?}"
            );
        }
    }
}
