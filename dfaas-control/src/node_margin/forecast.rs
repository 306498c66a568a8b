//! What a node will use under a load.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use crate::node_usage::{ForecasterKind, Load, NodeUsage};

/// How much of the past the fit keeps from one period to the next.
const MEMORY: f64 = 0.995;
/// How uncertain a coefficient is before anything was seen: that of a node that a single request could fill.
const UNCERTAINTY: f64 = 1e4;
/// A constant and the rates of three groups.
const TERMS: usize = 4;

/// Tells what a node of a type will use under a load.
pub(super) trait Forecaster: Debug + Send + Sync {
    /// The usage, or nothing as long as an answer has to be waited for.
    fn predict(&mut self, node_type: u8, load: &Load) -> Option<NodeUsage>;
    /// Takes note of what this node used under a load.
    fn learn(&mut self, _load: &Load, _usage: &NodeUsage) {}
    /// A new round begins, with other loads.
    fn begin(&mut self) {}
    /// What to ask the service for.
    fn question(&self) -> Option<Vec<u8>> {
        None
    }
    /// The service's answer to the last question.
    fn answer(&mut self, _body: &[u8]) {}
}

pub(super) fn forecaster(kind: ForecasterKind) -> Box<dyn Forecaster> {
    match kind {
        ForecasterKind::Linear => Box::<Linear>::default(),
        ForecasterKind::Service => Box::<Service>::default(),
    }
}

/// Usage is a constant plus a share for each request per second of a group: recursive least squares, one fit a metric.
/// It knows only this node, and takes peers for alike.
#[derive(Debug, Default)]
struct Linear {
    fits: [Option<Fit>; 3],
}

#[derive(Debug)]
struct Fit {
    coefficients: [f64; TERMS],
    /// The inverse of the weighted sum of squares.
    covariance: [[f64; TERMS]; TERMS],
    /// Keeps bytes and percent in the same range.
    scale: f64,
}

impl Fit {
    fn new(first: f64) -> Self {
        let mut covariance = [[0.0; TERMS]; TERMS];
        for (term, row) in covariance.iter_mut().enumerate() {
            row[term] = UNCERTAINTY;
        }
        Self {
            coefficients: [0.0; TERMS],
            covariance,
            scale: first.abs().max(1.0),
        }
    }

    /// Haykin, Adaptive Filter Theory, table 9.1.
    fn learn(&mut self, terms: &[f64; TERMS], used: f64) {
        let spread = product(&self.covariance, terms);
        let gain_divisor = MEMORY + dot(terms, &spread);
        let error = used / self.scale - dot(&self.coefficients, terms);
        let trace: f64 = (0..TERMS).map(|term| self.covariance[term][term]).sum();
        // Without variety in the load, forgetting would let the uncertainty grow for ever.
        let memory = if trace > UNCERTAINTY * TERMS as f64 {
            1.0
        } else {
            MEMORY
        };
        for i in 0..TERMS {
            self.coefficients[i] += spread[i] / gain_divisor * error;
            for j in 0..TERMS {
                self.covariance[i][j] =
                    (self.covariance[i][j] - spread[i] * spread[j] / gain_divisor) / memory;
            }
        }
    }

    fn predict(&self, terms: &[f64; TERMS]) -> f64 {
        (dot(&self.coefficients, terms) * self.scale).max(0.0)
    }
}

impl Forecaster for Linear {
    fn predict(&mut self, _node_type: u8, load: &Load) -> Option<NodeUsage> {
        let terms = terms(load);
        let predicted = self
            .fits
            .each_ref()
            .map(|fit| fit.as_ref().map(|fit| fit.predict(&terms)));
        Some(NodeUsage::from_metrics(predicted))
    }

    fn learn(&mut self, load: &Load, usage: &NodeUsage) {
        let terms = terms(load);
        for (fit, used) in self.fits.iter_mut().zip(usage.metrics()) {
            if let Some(used) = used.filter(|used| used.is_finite()) {
                fit.get_or_insert_with(|| Fit::new(used)).learn(&terms, used);
            }
        }
    }
}

fn terms(load: &Load) -> [f64; TERMS] {
    let [high, medium, low] = load.rates();
    [1.0, high, medium, low]
}

fn dot(a: &[f64; TERMS], b: &[f64; TERMS]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn product(matrix: &[[f64; TERMS]; TERMS], vector: &[f64; TERMS]) -> [f64; TERMS] {
    matrix.map(|row| dot(&row, vector))
}

/// The service that the Go agents ask, one load at a time. What it has answered within a round is kept, so a round is
/// decided anew with each answer until nothing is missing.
#[derive(Debug, Default)]
struct Service {
    answered: BTreeMap<Key, NodeUsage>,
    missing: Option<Key>,
}

/// A node type and the bits of the rates: positive numbers have the order of their bits.
type Key = (u8, [u64; 3]);

#[derive(Debug, Serialize)]
struct Question {
    #[serde(rename = "rate_group_HIGH_USAGE")]
    high: f64,
    #[serde(rename = "rate_group_LOW_USAGE")]
    low: f64,
    #[serde(rename = "rate_group_MEDIUM_USAGE")]
    medium: f64,
    node_type: u8,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    List(Vec<NodeUsage>),
    One(NodeUsage),
}

impl Forecaster for Service {
    fn predict(&mut self, node_type: u8, load: &Load) -> Option<NodeUsage> {
        let key = (node_type, load.rates().map(f64::to_bits));
        let known = self.answered.get(&key).copied();
        self.missing = if known.is_some() { None } else { Some(key) };
        known
    }

    fn begin(&mut self) {
        self.answered.clear();
        self.missing = None;
    }

    fn question(&self) -> Option<Vec<u8>> {
        let (node_type, rates) = self.missing?;
        let [high, medium, low] = rates.map(f64::from_bits);
        let question = Question {
            high,
            low,
            medium,
            node_type,
        };
        Some(serde_json::to_vec(&question).expect("finite numbers are always JSON"))
    }

    fn answer(&mut self, body: &[u8]) {
        let usage = match serde_json::from_slice(body) {
            Ok(Answer::List(list)) => list.first().copied(),
            Ok(Answer::One(usage)) => Some(usage),
            Err(_) => None,
        };
        if let (Some(key), Some(usage)) = (self.missing.take(), usage) {
            self.answered.insert(key, usage);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_service_is_asked_as_the_go_agents_do_and_once_for_each_load() {
        let mut service = Service::default();
        let load = Load {
            high: 1.5,
            low: 3.0,
            medium: 0.0,
        };
        assert_eq!(service.predict(2, &load), None);
        assert_eq!(
            String::from_utf8(service.question().unwrap()).unwrap(),
            r#"{"rate_group_HIGH_USAGE":1.5,"rate_group_LOW_USAGE":3.0,"rate_group_MEDIUM_USAGE":0.0,"node_type":2}"#
        );
        service.answer(br#"[{"cpu_usage_node":12.5,"ram_usage_node":1000.0,"power_usage_node":7}]"#);
        let usage = NodeUsage::from_metrics([Some(12.5), Some(1000.0), Some(7.0)]);
        assert_eq!(service.predict(2, &load), Some(usage));
        assert_eq!(service.question(), None);
        service.begin();
        assert_eq!(service.predict(2, &load), None);
        service.answer(b"sorry");
        assert_eq!(service.predict(2, &load), None);
    }

    #[test]
    fn what_was_never_measured_is_not_predicted() {
        let mut linear = Linear::default();
        assert_eq!(linear.predict(1, &Load::default()), Some(NodeUsage::default()));
        let usage = NodeUsage::from_metrics([Some(5.0), None, None]);
        linear.learn(&Load::default(), &usage);
        let predicted = linear.predict(1, &Load::default()).unwrap();
        assert!((predicted.cpu_percent.unwrap() - 5.0).abs() < 0.1 && predicted.ram_bytes.is_none());
    }

    proptest! {
        #[test]
        fn a_linear_node_is_learnt(
            truth in proptest::array::uniform4(0.0f64..10.0),
            loads in proptest::collection::vec(proptest::array::uniform3(0.0f64..50.0), 60),
        ) {
            let mut linear = Linear::default();
            let used = |load: &Load| dot(&truth, &terms(load));
            let load = |[high, medium, low]: [f64; 3]| Load { high, low, medium };
            for &rates in &loads {
                let load = load(rates);
                linear.learn(&load, &NodeUsage::from_metrics([Some(used(&load)), None, None]));
            }
            let probe = load([10.0, 20.0, 30.0]);
            let predicted = linear.predict(1, &probe).unwrap().cpu_percent.unwrap();
            prop_assert!((predicted - used(&probe)).abs() <= 0.02 * used(&probe) + 0.1, "{predicted}, not {}", used(&probe));
        }
    }
}
