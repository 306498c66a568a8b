//! All nodes' allocations of one function, for whoever has all nodes at hand.

use super::partial;
use super::placing::{self, Ask, Book, fair_shares};
use super::{Distances, Load};

/// What each node sends and receives over all its peers: the sums of what every [`super::Allocation`] says.
#[derive(Debug)]
pub(crate) struct Allocations<'a> {
    distances: &'a Distances,
    sums: Sums,
    left: Vec<f64>,
    left_total: f64,
}

#[derive(Debug)]
struct Sums {
    sent: Vec<f64>,
    received: Vec<f64>,
}

impl<'a> Allocations<'a> {
    /// Places as [`super::Allocation::new`] does.
    pub(crate) fn new(loads: &[Load], distances: &'a Distances) -> Self {
        let mut left: Vec<f64> = loads.iter().map(|load| load.surplus_rps()).collect();
        let deficits: Vec<f64> = loads.iter().map(|load| load.deficit_rps()).collect();
        let mut sums = Sums {
            sent: vec![0.0; loads.len()],
            received: vec![0.0; loads.len()],
        };
        if distances.is_whole() {
            let mut grants = fair_shares(&deficits, left.iter().sum());
            placing::place(&mut sums, distances, &mut grants, &mut left);
        } else {
            for (receiver, sender, rate) in partial::place(&deficits, &mut left, distances).all() {
                sums.sent[sender] += rate;
                sums.received[receiver] += rate;
            }
        }
        Self {
            distances,
            sums,
            left_total: left.iter().sum(),
            left,
        }
    }

    /// How much of a node's deficit is placed, in requests per second.
    pub(crate) fn placed_rps(&self, node: usize) -> f64 {
        self.sums.sent[node]
    }

    /// How much is placed on a node, in requests per second.
    pub(crate) fn received_rps(&self, node: usize) -> f64 {
        self.sums.received[node]
    }

    /// How much a node may spill onto others beyond what is placed, in requests per second.
    pub(crate) fn stand_by_rps(&self, node: usize) -> f64 {
        let share = |receiver: usize| self.left[receiver] / self.distances.senders(receiver) as f64;
        if self.distances.is_whole() {
            let others = self.left.len().saturating_sub(1);
            return if others > 0 {
                (self.left_total - self.left[node]).max(0.0) / others as f64
            } else {
                0.0
            };
        }
        let reach = self.distances.reach(node).iter().copied();
        reach
            .filter(|&receiver| self.distances.is_open(node, receiver))
            .map(share)
            .sum()
    }
}

impl Book for Sums {
    fn note(&mut self, ask: &Ask<'_>, part: impl Fn(usize) -> f64) {
        let parts: f64 = ask.receivers().iter().map(|&receiver| part(receiver)).sum();
        let mut rates = 0.0;
        for (sender, rate) in ask.senders() {
            self.sent[sender] += rate * parts;
            rates += rate;
        }
        for &receiver in ask.receivers() {
            self.received[receiver] += rates * part(receiver);
        }
    }
}
