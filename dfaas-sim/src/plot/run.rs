//! The pictures of one run.

use std::collections::BTreeMap;

use dfaas_plot::{Graph, Lines};

use crate::record::Row;
use crate::results::Results;

/// What became of requests, over time.
pub fn outcomes(results: &Results) -> Lines {
    type Of = fn(&Row) -> u64;
    let series: [(&str, Of); 5] = [
        ("requests", |row| row.arrived),
        ("served", |row| row.served_own + row.served_elsewhere),
        ("refused (429, 503)", |row| row.refused),
        ("failed (502, silent)", |row| row.failed),
        ("sent back by peers", |row| row.sent_back),
    ];
    lines(
        results,
        "outcomes",
        "What became of requests, per second",
        "requests per second",
        series
            .map(|(name, of)| (name.to_owned(), by_second(results, |_| true, of)))
            .to_vec(),
    )
}

/// Who served how much, over time.
pub fn served_by_node(results: &Results) -> Lines {
    let nodes = results.topology.nodes.iter().map(|(name, _)| {
        let here = by_second(
            results,
            |row| row.node == *name,
            |row| row.served_own + row.served_others,
        );
        (name.clone(), here)
    });
    lines(
        results,
        "served-by-node",
        "Served by each node",
        "requests per second",
        nodes.collect(),
    )
}

/// The 95th percentile of the users of each node, over time.
pub fn latency_by_node(results: &Results) -> Lines {
    let nodes = results.topology.nodes.iter().filter_map(|(name, _)| {
        let rows = results.rows.iter().filter(|row| row.node == *name);
        let mut slowest: BTreeMap<u32, f64> = BTreeMap::new();
        for (second, p95_ms) in rows.filter_map(|row| Some((row.second, row.p95_ms?))) {
            let known = slowest.entry(second).or_insert(0.0);
            *known = known.max(p95_ms);
        }
        let points: Vec<(f64, f64)> = slowest
            .into_iter()
            .map(|(second, ms)| (f64::from(second), ms))
            .collect();
        (!points.is_empty()).then(|| (format!("users of {name}"), points))
    });
    lines(
        results,
        "latency-by-node",
        "Time to the answer, 95th percentile of each second",
        "milliseconds",
        nodes.collect(),
    )
}

/// The distribution of times to the answer.
pub fn latency_distribution(all: &[&Results]) -> Lines {
    let series = all.iter().map(|results| {
        let points = results.latencies.iter().map(|&(share, ms)| (ms, share * 100.0));
        (results.summary.strategy.to_string(), points.collect())
    });
    Lines {
        name: "latency-distribution".to_owned(),
        title: "How many answers come within a time".to_owned(),
        x_label: "time to the answer, milliseconds".to_owned(),
        y_label: "answers, %".to_owned(),
        series: series.collect(),
        y_most: Some(100.0),
    }
}

/// Where a node's requests go, over time: its policy's weights, or what it sent where if it has none.
pub fn weights(results: &Results) -> Option<Lines> {
    let (node, function) = busiest(results)?;
    let of = results
        .flows
        .iter()
        .filter(|flow| flow.node == node && flow.function == function);
    let has_policy = of.clone().any(|flow| flow.weight.is_some());
    let served: BTreeMap<u32, u64> = of.clone().fold(BTreeMap::new(), |mut sums, flow| {
        *sums.entry(flow.second).or_insert(0) += flow.served;
        sums
    });
    let mut series: BTreeMap<String, BTreeMap<u32, f64>> = BTreeMap::new();
    for flow in of {
        let observed = || flow.served as f64 / served[&flow.second].max(1) as f64;
        let share = if has_policy { flow.weight } else { Some(observed()) };
        if let Some(share) = share {
            series
                .entry(flow.server.clone())
                .or_default()
                .insert(flow.second, share * 100.0);
        }
    }
    let last = results.summary.seconds;
    let full = |points: BTreeMap<u32, f64>| {
        let at = |second: u32| (f64::from(second), points.get(&second).copied().unwrap_or(0.0));
        (0..last).map(at).collect()
    };
    let (title, y_label) = if has_policy {
        (
            format!("Weights of {node} for what it cannot serve of {function}"),
            "share of the excess, %",
        )
    } else {
        (
            format!("Who serves the users of {node} who ask for {function}"),
            "share of the served, %",
        )
    };
    let series = series
        .into_iter()
        .map(|(server, points)| (format!("to {server}"), full(points)));
    Some(Lines {
        y_most: Some(100.0),
        ..lines(results, "weights", &title, y_label, series.collect())
    })
}

/// The topology.
pub fn topology(results: &Results) -> Graph {
    Graph {
        title: format!("{}: nodes by capacity, and their links", results.summary.scenario),
        nodes: results.topology.nodes.clone(),
        links: results.topology.links.clone(),
    }
}

/// The node and function with the most requests that others served.
fn busiest(results: &Results) -> Option<(String, String)> {
    let mut sums: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    for row in &results.rows {
        let sum = sums.entry((&row.node, &row.function)).or_default();
        sum.0 += row.served_elsewhere;
        sum.1 += row.arrived;
    }
    let most = sums.into_iter().max_by_key(|&(_, sum)| sum)?;
    Some((most.0.0.to_owned(), most.0.1.to_owned()))
}

/// Sums rows of each second in which users came.
pub(super) fn by_second(
    results: &Results,
    counts: impl Fn(&Row) -> bool,
    of: impl Fn(&Row) -> u64,
) -> Vec<(f64, f64)> {
    let mut sums = vec![0; results.summary.seconds as usize];
    for row in results.rows.iter().filter(|row| counts(row)) {
        if let Some(sum) = sums.get_mut(row.second as usize) {
            *sum += of(row);
        }
    }
    (0..)
        .zip(sums)
        .map(|(second, sum)| (f64::from(second), sum as f64))
        .collect()
}

fn lines(
    results: &Results,
    name: &str,
    title: &str,
    y_label: &str,
    series: Vec<(String, Vec<(f64, f64)>)>,
) -> Lines {
    let summary = &results.summary;
    Lines {
        name: name.to_owned(),
        title: format!("{title} ({}, {})", summary.scenario, summary.strategy),
        x_label: "time, seconds".to_owned(),
        y_label: y_label.to_owned(),
        series,
        y_most: None,
    }
}
