//! Pictures that compare strategies.

use std::collections::BTreeMap;

use dfaas_plot::{Dot, Dots, Lines};

use super::run::by_second;
use crate::experiment::{Setting, StrategyOutcome};
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
    let mut dots = Vec::new();
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
            dots.push(Dot {
                group: function.to_owned(),
                name: all[place].summary.strategy.to_string(),
                mean: share * 100.0,
                within: 0.0,
                colour: place,
            });
        }
    }
    Dots {
        name: "success-by-function".to_owned(),
        title: format!("Success by function and strategy ({})", scenario(all)),
        x_label: "served of requests, %".to_owned(),
        dots,
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
    let dot = |of: Of, line: &Line| {
        let mut first = lines.iter().filter(|other| other.scenario == lines[0].scenario);
        let colour = first.position(|other| other.strategy == line.strategy);
        let Estimate { mean, within } = of(line);
        Dot {
            group: line.scenario.clone(),
            name: line.strategy.to_string(),
            mean,
            within,
            colour: colour.unwrap_or_default(),
        }
    };
    pictures
        .into_iter()
        .map(|(name, title, x_label, of, most)| Dots {
            name: name.to_owned(),
            title: title.to_owned(),
            x_label: x_label.to_owned(),
            dots: lines.iter().map(|line| dot(of, line)).collect(),
            bounds: (most.is_none().then_some(0.0), most),
        })
        .collect()
}

/// The original's experiment: success of its strategies and ours.
pub fn experiment(settings: &[Setting]) -> Dots {
    let dots = settings.iter().flat_map(|setting| {
        let group = format!("n {}, p {}", setting.nodes, setting.edge_probability);
        let dot = move |(colour, outcome): (usize, &StrategyOutcome)| Dot {
            group: group.clone(),
            name: outcome.strategy.as_str().to_owned(),
            mean: outcome.success_percent.mean,
            within: outcome.success_percent.within,
            colour,
        };
        setting.outcomes.iter().enumerate().map(dot)
    });
    Dots {
        name: "experiment-success".to_owned(),
        title: "The original's experiment: success by strategy, 95 % confidence".to_owned(),
        x_label: "served of requests, mean over functions and minutes, %".to_owned(),
        dots: dots.collect(),
        bounds: (None, Some(100.0)),
    }
}

fn scenario(all: &[&Results]) -> String {
    all.first()
        .map(|results| results.summary.scenario.clone())
        .unwrap_or_default()
}
