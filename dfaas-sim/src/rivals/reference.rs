//! The strategies of the original's simulator (`simulation/`, 2023): weights for the excess of an overloaded function.

use std::collections::BTreeMap;

use super::{Admission, Choice, FunctionNews, News, Rival};
use crate::random::Random;

/// The chance that a weight of the empirical strategy is disturbed, and by what share at most.
const NOISE_CHANCE: f64 = 0.6;
const NOISE_MOST: f64 = 0.4;
/// What stands in for a share of use that is zero where its inverse counts.
const USAGE_MIN: f64 = 0.01;
const TIME_MIN_S: f64 = 0.001;

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing is sent.
    Base,
    /// To everybody by chance.
    Random,
    /// By eight metrics of those that can help.
    Empirical,
}

/// What the empirical strategy knows of a helper and a function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metrics {
    /// How many replicas it has.
    pub service_count: f64,
    /// How many requests per second it has left.
    pub margin: f64,
    /// Requests per second asked for.
    pub invoc_rate: f64,
    /// Requests per second that can be served.
    pub max_rate: f64,
    /// The mean time of a request, in seconds.
    pub afet: f64,
    /// The share of the node's memory in use.
    pub ram_usage: f64,
    /// The share of the node's processors in use.
    pub cpu_usage: f64,
    /// The share of memory that the function uses.
    pub ram_xfunc: f64,
    /// The share of the processors that the function uses.
    pub cpu_xfunc: f64,
}

/// Weights of the random strategy: 1 to 100 for each neighbour, whether or not it has the function, made to sum to 1.
pub fn random_weights(neighbours: usize, random: &mut Random) -> Vec<f64> {
    let drawn: Vec<f64> = (0..neighbours).map(|_| (1 + random.below(100)) as f64).collect();
    normalised(drawn)
}

/// Weights of the empirical strategy: the mean of eight shares, some of them disturbed.
pub fn empirical_weights(helpers: &[Metrics], random: &mut Random) -> Vec<f64> {
    let direct: [fn(&Metrics) -> f64; 2] = [|of| of.service_count, |of| of.margin];
    let inverse: [fn(&Metrics) -> f64; 6] = [
        |of| inverted(of.invoc_rate / of.max_rate, 1.0 / of.max_rate),
        |of| inverted(of.afet, TIME_MIN_S),
        |of| inverted(of.ram_usage, USAGE_MIN),
        |of| inverted(of.cpu_usage, USAGE_MIN),
        |of| inverted(of.ram_xfunc, USAGE_MIN),
        |of| inverted(of.cpu_xfunc, USAGE_MIN),
    ];
    let mut sums = vec![0.0; helpers.len()];
    for metric in direct.into_iter().chain(inverse) {
        let shares = normalised(helpers.iter().map(metric).collect());
        for (sum, share) in sums.iter_mut().zip(shares) {
            *sum += share;
        }
    }
    let mut weights = normalised(sums);
    for weight in &mut weights {
        if random.chance(NOISE_CHANCE) {
            let noise = NOISE_MOST * random.unit() * *weight;
            *weight += if random.chance(0.5) { noise } else { -noise };
        }
    }
    normalised(weights)
}

fn inverted(value: f64, instead_of_zero: f64) -> f64 {
    1.0 / if value > 0.0 { value } else { instead_of_zero }
}

/// Made to sum to 1; all zero if they do to 0.
pub fn normalised(mut weights: Vec<f64>) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    for weight in &mut weights {
        *weight = if sum > 0.0 { *weight / sum } else { 0.0 };
    }
    weights
}

/// Draws a place by its weight; nothing if all weights are zero.
pub fn draw(weights: &[f64], random: &mut Random) -> Option<usize> {
    let sum: f64 = weights.iter().sum();
    if sum <= 0.0 {
        return None;
    }
    let mut left = random.unit() * sum;
    for (place, &weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return Some(place);
        }
    }
    weights.iter().rposition(|&weight| weight > 0.0)
}

/// A strategy at work on a node, with what its neighbours told.
#[derive(Debug)]
pub struct Reference {
    kind: Kind,
    neighbours: Vec<usize>,
    heard: BTreeMap<usize, News>,
    /// By function; none for what is not overloaded.
    weights: Vec<Option<Vec<(usize, f64)>>>,
}

impl Reference {
    pub(super) fn new(kind: Kind, neighbours: Vec<usize>) -> Self {
        Self {
            kind,
            neighbours,
            heard: BTreeMap::new(),
            weights: Vec::new(),
        }
    }

    fn weigh(&self, function: usize, random: &mut Random) -> Vec<(usize, f64)> {
        match self.kind {
            Kind::Base => Vec::new(),
            Kind::Random => {
                let weights = random_weights(self.neighbours.len(), random);
                self.neighbours.iter().copied().zip(weights).collect()
            }
            Kind::Empirical => {
                let told = self.heard.iter();
                let told = told.filter_map(|(&node, news)| Some((node, (*news.0.get(function)?)?)));
                let helpers: Vec<(usize, Metrics)> = told
                    .filter(|(_, news)| news.demand_rps < news.capacity_rps)
                    .map(|(node, news)| (node, metrics(&news)))
                    .collect();
                let of: Vec<Metrics> = helpers.iter().map(|&(_, metrics)| metrics).collect();
                let weights = empirical_weights(&of, random);
                helpers.into_iter().map(|(node, _)| node).zip(weights).collect()
            }
        }
    }
}

/// What is measured here of the eight metrics. Memory is not simulated, so it is the same everywhere.
fn metrics(news: &FunctionNews) -> Metrics {
    Metrics {
        service_count: f64::from(news.servers),
        margin: news.capacity_rps - news.demand_rps,
        invoc_rate: news.demand_rps,
        max_rate: news.capacity_rps,
        afet: news.p95_s,
        ram_usage: 0.5,
        cpu_usage: news.cpu_share_node,
        ram_xfunc: 0.1,
        cpu_xfunc: news.cpu_share,
    }
}

impl Rival for Reference {
    fn is_local_first(&self) -> bool {
        true
    }

    fn admission(&self) -> Admission {
        Admission::WithinCapacity
    }

    fn hear(&mut self, from: usize, news: &News) {
        if self.neighbours.contains(&from) {
            self.heard.insert(from, news.clone());
        }
    }

    fn forget(&mut self, neighbour: usize) {
        self.heard.remove(&neighbour);
    }

    fn close_period(&mut self, own: &News, random: &mut Random) {
        let weigh = |(function, news): (usize, &Option<FunctionNews>)| {
            let overloaded = news.is_some_and(|news| news.demand_rps >= news.capacity_rps);
            overloaded.then(|| self.weigh(function, random))
        };
        self.weights = own.0.iter().enumerate().map(weigh).collect();
    }

    fn choose(&mut self, function: usize, _outstanding: &[u32], random: &mut Random) -> Choice {
        let Some(Some(weighted)) = self.weights.get(function) else {
            return Choice::Nowhere;
        };
        let weights: Vec<f64> = weighted.iter().map(|&(_, weight)| weight).collect();
        draw(&weights, random).map_or(Choice::Nowhere, |place| Choice::There(weighted[place].0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    const IDLE: Metrics = Metrics {
        service_count: 1.0,
        margin: 10.0,
        invoc_rate: 0.0,
        max_rate: 10.0,
        afet: 0.0,
        ram_usage: 0.5,
        cpu_usage: 0.5,
        ram_xfunc: 0.1,
        cpu_xfunc: 0.1,
    };

    #[test]
    fn weights_sum_to_one() {
        let mut random = random();
        for weights in [
            random_weights(7, &mut random),
            empirical_weights(&[IDLE; 5], &mut random),
        ] {
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{weights:?}");
            assert!(weights.iter().all(|&weight| weight > 0.0));
        }
        assert!(empirical_weights(&[], &mut random).is_empty());
    }

    #[test]
    fn who_is_better_by_all_metrics_gets_more() {
        let busy = Metrics {
            margin: 1.0,
            invoc_rate: 9.0,
            afet: 0.5,
            cpu_usage: 0.9,
            ..IDLE
        };
        let mut random = random();
        for _ in 0..100 {
            let weights = empirical_weights(&[busy, IDLE], &mut random);
            assert!(weights[1] > weights[0], "{weights:?}");
        }
    }

    #[test]
    fn what_is_drawn_follows_the_weights() {
        let mut random = random();
        let hits = (0..10_000)
            .filter(|_| draw(&[0.0, 3.0, 1.0], &mut random) == Some(1))
            .count();
        assert!((7_300..7_700).contains(&hits), "{hits}");
        assert_eq!(draw(&[0.0, 0.0], &mut random), None);
        assert_eq!(draw(&[], &mut random), None);
    }

    fn random() -> Random {
        Random::new(1, Purpose::Balancer(0))
    }
}
