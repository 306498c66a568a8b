//! A random federation of the original's experiment.

use super::recordings::{Measured, Minute, Recordings};
use crate::random::{Purpose, Random};
use crate::topology::Graph;

/// The probabilities of the node types.
const TYPE_SHARES: [f64; 3] = [0.5, 0.3, 0.2];

/// Nodes with recordings, and who is whose neighbour.
#[derive(Debug)]
pub(super) struct Instance<'a> {
    nodes: Vec<&'a [Minute]>,
    pub(super) neighbours: Vec<Vec<usize>>,
    pub(super) minutes: usize,
}

impl<'a> Instance<'a> {
    pub(super) fn new(recordings: &'a Recordings, nodes: usize, edge_probability: f64, seed: u64) -> Self {
        let mut random = Random::new(seed, Purpose::Phases);
        let mut node = || {
            let kind = match random.unit() {
                unit if unit < TYPE_SHARES[0] => 0,
                unit if unit < TYPE_SHARES[0] + TYPE_SHARES[1] => 1,
                _ => 2,
            };
            let of_type = &recordings.by_type[kind];
            of_type[random.below(of_type.len())].minutes.as_slice()
        };
        let neighbours = Graph::random(nodes, edge_probability, seed).neighbours();
        Self {
            nodes: (0..nodes).map(|_| node()).collect(),
            neighbours: neighbours
                .into_iter()
                .map(|of| of.into_iter().collect())
                .collect(),
            minutes: recordings.minutes(),
        }
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn at(&self, node: usize, minute: usize, function: usize) -> Option<Measured> {
        self.nodes[node][minute].functions[function]
    }
}
