//! One minute after the other: weights, forwarding and what is served, by the original's rules.

use super::instance::Instance;
use super::mind;
use super::recordings::FUNCTIONS;
use super::{Outcome, Strategy};
use crate::random::Random;
use crate::rivals::reference::{self, Metrics};

const SECONDS_A_MINUTE: f64 = 60.0;

pub(super) fn run(instance: &Instance<'_>, strategy: Strategy, random: &mut Random) -> Outcome {
    let mut shares = Vec::new();
    let mut stress = Vec::new();
    let mut rejected = 0.0;
    for minute in 0..instance.minutes {
        let incoming = match strategy {
            Strategy::WaterFilling => mind::forward(instance, minute),
            Strategy::Base | Strategy::Random | Strategy::Empirical | Strategy::Static => (0..FUNCTIONS
                .len())
                .map(|function| forward(instance, strategy, minute, function, random))
                .collect(),
        };
        for (function, incoming) in incoming.iter().enumerate() {
            let (asked, served) = served(instance, minute, function, incoming);
            let share = if asked > 0.0 { served / asked } else { 1.0 };
            shares.push(share);
            // The original's stress minutes, where there are so many.
            if (1..=5).contains(&minute) {
                stress.push(share);
            }
            rejected += (asked - served) * SECONDS_A_MINUTE;
        }
    }
    Outcome {
        success_percent: 100.0 * mean(&shares),
        stress_percent: 100.0 * mean(&stress),
        rejected,
    }
}

fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        return 1.0;
    }
    values.iter().sum::<f64>() / values.len() as f64
}

/// What was asked for, and what is served when so much comes in at each node.
fn served(instance: &Instance<'_>, minute: usize, function: usize, incoming: &[f64]) -> (f64, f64) {
    let mut sums = (0.0, 0.0);
    for (node, &incoming) in incoming.iter().enumerate() {
        if let Some(measured) = instance.at(node, minute, function) {
            sums.0 += measured.metrics.invoc_rate;
            sums.1 += incoming.min(measured.metrics.max_rate);
        }
    }
    // Sums of different order must not make more served than asked for.
    (sums.0, sums.1.min(sums.0))
}

/// What comes in at each node, in requests per second, after what is over a node's rate was sent by weight, each unit
/// drawn by itself.
fn forward(
    instance: &Instance<'_>,
    strategy: Strategy,
    minute: usize,
    function: usize,
    random: &mut Random,
) -> Vec<f64> {
    let of = |node| instance.at(node, minute, function);
    let kept = |node| {
        of(node).map_or(0.0, |measured| {
            measured.metrics.invoc_rate.min(measured.metrics.max_rate)
        })
    };
    let mut incoming: Vec<f64> = (0..instance.nodes()).map(kept).collect();
    for node in 0..instance.nodes() {
        let Some(measured) = of(node).filter(|measured| measured.is_overloaded) else {
            continue;
        };
        let weights = weights(instance, strategy, minute, function, node, random);
        let excess = measured.metrics.invoc_rate.trunc() - measured.metrics.max_rate.trunc();
        for _ in 0..excess as u64 {
            if let Some(place) = reference::draw(&weights, random) {
                incoming[instance.neighbours[node][place]] += 1.0;
            }
        }
    }
    incoming
}

/// By neighbour.
fn weights(
    instance: &Instance<'_>,
    strategy: Strategy,
    minute: usize,
    function: usize,
    node: usize,
    random: &mut Random,
) -> Vec<f64> {
    let neighbours = &instance.neighbours[node];
    match strategy {
        Strategy::Base | Strategy::WaterFilling => vec![0.0; neighbours.len()],
        Strategy::Random => reference::random_weights(neighbours.len(), random),
        Strategy::Empirical => {
            let helper = |&neighbour: &usize| {
                let measured = instance.at(neighbour, minute, function)?;
                (!measured.is_overloaded).then_some(measured.metrics)
            };
            let places: Vec<(usize, Metrics)> = neighbours
                .iter()
                .enumerate()
                .filter_map(|(place, neighbour)| Some((place, helper(neighbour)?)))
                .collect();
            let helpers: Vec<Metrics> = places.iter().map(|&(_, metrics)| metrics).collect();
            let mut weights = vec![0.0; neighbours.len()];
            for (&(place, _), weight) in places.iter().zip(reference::empirical_weights(&helpers, random)) {
                weights[place] = weight;
            }
            weights
        }
        Strategy::Static => reference::normalised(limits(instance, minute, function, node)),
    }
}

/// What each neighbour grants a node: its margin in equal parts for all others of the node's view that run the function.
fn limits(instance: &Instance<'_>, minute: usize, function: usize, node: usize) -> Vec<f64> {
    let neighbours = &instance.neighbours[node];
    let runs = |&of: &usize| instance.at(of, minute, function).is_some();
    let running = neighbours.iter().filter(|neighbour| runs(neighbour)).count();
    let limit = |neighbour: &usize| {
        let measured = instance
            .at(*neighbour, minute, function)
            .filter(|measured| !measured.is_overloaded)?;
        // The node itself and the other neighbours; the grantor is one of those counted.
        let others = running + usize::from(runs(&node)) - 1;
        let margin = measured.metrics.max_rate - measured.metrics.invoc_rate;
        Some(margin / others.max(1) as f64)
    };
    neighbours
        .iter()
        .map(|neighbour| limit(neighbour).unwrap_or(0.0))
        .collect()
}
