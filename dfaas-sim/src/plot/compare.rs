//! Pictures that compare strategies.

use std::collections::BTreeMap;

use super::dots::Dots;
use super::lines::Lines;
use super::run::by_second;
use crate::experiment::Setting;
use crate::results::Results;
use crate::summary::{served, share};
use crate::sweep::{Estimate, Line};

/// What share of requests is served, over time, by strategy.
pub fn success_over_time(all: &[&Results]) -> Lines {
    let series = all.iter().map(|results| {
        let came = by_second(results, |_| true, |row| row.arrived);
        let got = by_second(results, |_| true, served);
        let points = came.iter().zip(&got).map(|(&(second, came), &(_, got))| {
            let percent = if came > 0.0 {
                (got / came * 100.0).min(100.0)
            } else {
                100.0
            };
            (second, percent)
        });
        (results.summary.strategy.to_string(), points.collect())
    });
    Lines {
        name: "success-over-time".to_owned(),
        title: format!("Success by strategy ({})", scenario(all)),
        x_label: "time, seconds".to_owned(),
        y_label: "served of requests, %".to_owned(),
        series: series.collect(),
        y_most: Some(102.0),
    }
}

/// What share of requests is served, by function and strategy.
pub fn success_by_function(all: &[&Results]) -> Dots {
    let mut rows = Vec::new();
    let mut functions: BTreeMap<&str, Vec<(usize, f64)>> = BTreeMap::new();
    for (place, results) in all.iter().enumerate() {
        let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for row in results
            .rows
            .iter()
            .filter(|row| row.second >= results.summary.warmup_s)
        {
            let sum = sums.entry(&row.function).or_default();
            sum.0 += served(row);
            sum.1 += row.arrived;
        }
        for (function, (served, arrived)) in sums {
            functions
                .entry(function)
                .or_default()
                .push((place, share(served, arrived)));
        }
    }
    for (function, shares) in functions {
        for (place, share) in shares {
            let name = format!("{function}, {}", all[place].summary.strategy);
            let estimate = Estimate {
                mean: share * 100.0,
                within: 0.0,
            };
            rows.push((name, estimate, place));
        }
    }
    Dots {
        name: "success-by-function".to_owned(),
        title: format!("Success by function and strategy ({})", scenario(all)),
        x_label: "served of requests, %".to_owned(),
        rows,
        bounds: (None, Some(100.0)),
    }
}

/// The lines of a sweep: one picture for success, one for the 95th percentile, one for oscillation.
pub fn sweep(lines: &[Line]) -> Vec<Dots> {
    type Of = fn(&Line) -> Estimate;
    let pictures: [(&str, &str, &str, Of, Option<f64>); 4] = [
        (
            "sweep-success",
            "Success by strategy, means with 95 % confidence",
            "served of requests, %",
            |line| line.success_percent,
            Some(100.0),
        ),
        (
            "sweep-p95",
            "Time to the answer by strategy, 95th percentile",
            "milliseconds",
            |line| line.p95_ms,
            None,
        ),
        (
            "sweep-oscillation",
            "How uneven the load of a node is from second to second",
            "standard deviation over mean",
            |line| line.oscillation,
            None,
        ),
        (
            "sweep-overload",
            "How long the worst node takes more than it can serve",
            "seconds over 1.2 times the capacity, %",
            |line| line.overload_percent,
            None,
        ),
    ];
    let scenarios: Vec<&str> = lines.iter().fold(Vec::new(), |mut names, line| {
        if !names.contains(&line.scenario.as_str()) {
            names.push(&line.scenario);
        }
        names
    });
    let row = |of: Of, line: &Line| {
        let name = if scenarios.len() > 1 {
            format!("{}, {}", line.scenario, line.strategy)
        } else {
            line.strategy.to_string()
        };
        let first = lines.iter().filter(|other| other.scenario == lines[0].scenario);
        let colour = first.clone().position(|other| other.strategy == line.strategy);
        (name, of(line), colour.unwrap_or_default())
    };
    pictures
        .into_iter()
        .map(|(name, title, x_label, of, most)| Dots {
            name: name.to_owned(),
            title: title.to_owned(),
            x_label: x_label.to_owned(),
            rows: lines.iter().map(|line| row(of, line)).collect(),
            bounds: (most.is_none().then_some(0.0), most),
        })
        .collect()
}

/// The original's experiment: success of its strategies and ours.
pub fn experiment(settings: &[Setting]) -> Dots {
    let rows = settings.iter().flat_map(|setting| {
        setting.outcomes.iter().enumerate().map(|(place, outcome)| {
            let name = format!(
                "n {}, p {}, {}",
                setting.nodes,
                setting.edge_probability,
                outcome.strategy.as_str()
            );
            (name, outcome.success_percent, place)
        })
    });
    Dots {
        name: "experiment-success".to_owned(),
        title: "The original's experiment: success by strategy, 95 % confidence".to_owned(),
        x_label: "served of requests, mean over functions and minutes, %".to_owned(),
        rows: rows.collect(),
        bounds: (None, Some(100.0)),
    }
}

fn scenario(all: &[&Results]) -> String {
    all.first()
        .map(|results| results.summary.scenario.clone())
        .unwrap_or_default()
}
