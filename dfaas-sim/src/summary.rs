//! A run in some numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::demand::Rate;
use crate::record::{Record, Row, Traffic, percentile};
use crate::scenario::Scenario;
use crate::strategy::StrategyName;

/// A run has settled when the success of this many seconds together stays so near to what it comes to.
const SETTLED_WINDOW_S: usize = 3;
const SETTLED_WITHIN: f64 = 0.05;
/// A node counts as overloaded in a second in which its servers take so much more than its capacity.
const OVERLOAD: f64 = 1.2;

/// A run in some numbers. Counts are of the seconds after the warm-up: what came before may be served in them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The scenario's name.
    pub scenario: String,
    /// Who decided.
    pub strategy: StrategyName,
    /// The seed.
    pub seed: u64,
    /// For how long users came, in seconds, the warm-up included.
    pub seconds: u32,
    /// How many seconds from the beginning do not count.
    pub warmup_s: u32,
    /// Requests that came.
    pub arrived: u64,
    /// Requests that were served.
    pub served: u64,
    /// Requests that were refused for good.
    pub refused: u64,
    /// Requests without an answer.
    pub failed: u64,
    /// Served of those that came, as a share.
    pub success: f64,
    /// The median time to the answer, in milliseconds.
    pub p50_ms: Option<f64>,
    /// The 95th percentile.
    pub p95_ms: Option<f64>,
    /// The 99th percentile.
    pub p99_ms: Option<f64>,
    /// Jain's index of the success of the users of each node and function: 1 if all fare alike, 1/n if only one is served.
    pub fairness: f64,
    /// What messages cost, the warm-up included.
    pub traffic: Traffic,
    /// How long it takes from the last change of the scenario until success stays within 5 points of what it comes to,
    /// in seconds. None if it never does, or if the demand changes all the time.
    pub settling_s: Option<f64>,
    /// How uneven the load of a node is over time: the standard deviation of the requests that it takes in a second over
    /// their mean, on the average over nodes, in the second half. Poisson arrivals alone make it 1/sqrt(mean).
    pub oscillation: f64,
    /// In which share of seconds a node takes more than 1.2 times its capacity, of the worst node.
    pub overload: f64,
    /// The longest that a queue and its servers ever were, in seconds of the node's capacity.
    pub backlog_s: f64,
    /// What each node served, in requests per second.
    pub served_by_rps: BTreeMap<String, f64>,
}

impl Summary {
    /// Sums up a run.
    pub fn new(scenario: &Scenario, strategy: StrategyName, seed: u64, record: &Record) -> Self {
        let counts = |row: &&Row| row.second >= scenario.warmup_s;
        let rows: Vec<&Row> = record.rows.iter().filter(counts).collect();
        let sum = |of: fn(&Row) -> u64| rows.iter().map(|row| of(row)).sum::<u64>();
        let (arrived, served) = (sum(|row| row.arrived), sum(served));
        let mut latencies_us = record.latencies_us.clone();
        latencies_us.sort_unstable();
        let at = |share| percentile(&latencies_us, share).map(|us| f64::from(us) / 1e3);
        let seconds = scenario.seconds.saturating_sub(scenario.warmup_s).max(1);
        let mut served_by_rps: BTreeMap<String, f64> = scenario
            .nodes
            .iter()
            .map(|node| (node.name.clone(), 0.0))
            .collect();
        for row in &rows {
            let here = (row.served_own + row.served_others) as f64 / f64::from(seconds);
            *served_by_rps.entry(row.node.clone()).or_insert(0.0) += here;
        }
        let capacities = capacities(record);
        Self {
            scenario: scenario.name.clone(),
            strategy,
            seed,
            seconds: scenario.seconds,
            warmup_s: scenario.warmup_s,
            arrived,
            served,
            refused: sum(|row| row.refused),
            failed: sum(|row| row.failed),
            success: share(served, arrived),
            p50_ms: at(0.5),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            fairness: fairness(&rows),
            traffic: record.traffic,
            settling_s: last_change_s(scenario).and_then(|from_s| settling_s(record, scenario, from_s)),
            oscillation: oscillation(&rows, scenario.seconds),
            overload: overload(&rows, &capacities),
            backlog_s: backlog_s(&rows, &capacities),
            served_by_rps,
        }
    }
}

/// Requests of a node's users that were served.
pub fn served(row: &Row) -> u64 {
    row.served_own + row.served_elsewhere
}

/// 1 of nothing.
pub fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        1.0
    } else {
        (part as f64 / whole as f64).min(1.0)
    }
}

fn capacities(record: &Record) -> BTreeMap<(&str, &str), f64> {
    let all = record.capacities.iter();
    all.map(|(node, function, rps)| ((node.as_str(), function.as_str()), *rps))
        .collect()
}

/// Jain, Chiu and Hawe 1984.
fn fairness(rows: &[&Row]) -> f64 {
    let mut users: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    for row in rows {
        let of = users.entry((&row.node, &row.function)).or_default();
        of.0 += served(row);
        of.1 += row.arrived;
    }
    let fares: Vec<f64> = users
        .values()
        .filter(|&&(_, arrived)| arrived > 0)
        .map(|&(served, arrived)| share(served, arrived))
        .collect();
    let (sum, squares) = fares
        .iter()
        .fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    if squares > 0.0 {
        sum * sum / (fares.len() as f64 * squares)
    } else {
        1.0
    }
}

/// When a scenario changes for the last time; nothing if it changes all the time.
fn last_change_s(scenario: &Scenario) -> Option<f64> {
    let mut last_s = 0.0f64;
    for demand in &scenario.demands {
        last_s = last_s.max(demand.from_s);
        match demand.rate {
            Rate::Even(_) | Rate::Constant(_) => {}
            Rate::Step { at_s, .. } => last_s = last_s.max(demand.from_s + at_s),
            Rate::Triangle { .. } | Rate::Diurnal { .. } | Rate::Bursty { .. } | Rate::Trace { .. } => {
                return None;
            }
        }
        if demand.until_s < f64::from(scenario.seconds) {
            last_s = last_s.max(demand.until_s);
        }
    }
    let events = scenario.events.iter().map(|&(at_ns, _)| at_ns as f64 / 1e9);
    Some(events.fold(last_s, f64::max))
}

fn settling_s(record: &Record, scenario: &Scenario, from_s: f64) -> Option<f64> {
    let from = from_s as usize;
    let seconds = scenario.seconds as usize;
    let mut by_second = vec![(0u64, 0u64); seconds];
    for row in &record.rows {
        if let Some(of) = by_second.get_mut(row.second as usize) {
            // By what is lost, as what is served was asked for some time before.
            of.0 += row.arrived.saturating_sub(row.refused + row.failed);
            of.1 += row.arrived;
        }
    }
    let success = |of: &[(u64, u64)]| {
        let (served, arrived) = of.iter().fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
        share(served, arrived)
    };
    let after = by_second.get(from..)?;
    let end = success(&after[after.len() - after.len() / 3..]);
    let windows: Vec<f64> = after.windows(SETTLED_WINDOW_S).map(success).collect();
    let last_off = windows
        .iter()
        .rposition(|window| (window - end).abs() > SETTLED_WITHIN);
    let settled = last_off.map_or(0, |at| at + 1);
    (settled < windows.len()).then_some(settled as f64)
}

fn oscillation(rows: &[&Row], seconds: u32) -> f64 {
    let half = seconds / 2;
    let mut loads: BTreeMap<&str, BTreeMap<u32, f64>> = BTreeMap::new();
    for row in rows
        .iter()
        .filter(|row| row.second >= half && row.second < seconds)
    {
        *loads
            .entry(&row.node)
            .or_default()
            .entry(row.second)
            .or_insert(0.0) += row.taken as f64;
    }
    let spreads = loads.values().filter_map(|load| {
        let count = load.len() as f64;
        let mean = load.values().sum::<f64>() / count;
        let variance = load.values().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
        (mean > 0.0).then(|| variance.sqrt() / mean)
    });
    let spreads: Vec<f64> = spreads.collect();
    spreads.iter().sum::<f64>() / (spreads.len() as f64).max(1.0)
}

fn overload(rows: &[&Row], capacities: &BTreeMap<(&str, &str), f64>) -> f64 {
    let mut seconds: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    for row in rows {
        let key = (row.node.as_str(), row.function.as_str());
        let Some(&capacity) = capacities.get(&key) else {
            continue;
        };
        let of = seconds.entry(key).or_default();
        of.0 += u64::from(row.taken as f64 > OVERLOAD * capacity + 1.0);
        of.1 += 1;
    }
    seconds
        .values()
        .map(|&(over, all)| over as f64 / all as f64)
        .fold(0.0, f64::max)
}

fn backlog_s(rows: &[&Row], capacities: &BTreeMap<(&str, &str), f64>) -> f64 {
    let backlog = |row: &&&Row| {
        let capacity = capacities.get(&(row.node.as_str(), row.function.as_str()))?;
        (*capacity > 0.0).then(|| f64::from(row.inside_most) / capacity)
    };
    rows.iter().filter_map(|row| backlog(&row)).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_is_jains_index() {
        check(&[(10, 10), (10, 10)], 1.0);
        check(&[(10, 10), (0, 10)], 0.5);
        check(&[(10, 10), (5, 10)], 0.9);
        check(&[(10, 10), (0, 0)], 1.0);
        check(&[], 1.0);
    }

    #[track_caller]
    fn check(users: &[(u64, u64)], want: f64) {
        let rows: Vec<Row> = (0..)
            .zip(users)
            .map(|(number, &(served_own, arrived))| Row {
                node: format!("n{number}"),
                arrived,
                served_own,
                ..Row::default()
            })
            .collect();
        let got = fairness(&rows.iter().collect::<Vec<_>>());
        assert!((got - want).abs() < 1e-9, "{got}, not {want}");
    }
}
