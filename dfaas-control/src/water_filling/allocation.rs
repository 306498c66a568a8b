//! Who may send how much to whom, as a pure function of what all nodes told.

use std::collections::BTreeMap;

use crate::rtt_band::RttBand;

use super::distances::Distances;

/// Rates below this are rounding errors, not traffic: one request in a quarter of an hour.
pub(crate) const RATE_RPS_MIN: f64 = 1e-3;
/// Where placing stops: far below any rate that matters, far above the rounding errors of sums up to 1e9.
const REST_RPS_MIN: f64 = 1e-6;

/// What one node told about one function.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Load {
    pub(crate) capacity_rps: f64,
    pub(crate) demand_rps: f64,
}

/// What one node, the viewer, may send to whom and admits from whom. Nodes are numbered as in the loads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Allocation {
    viewer: usize,
    /// What is placed from the viewer, by receiver.
    sent: Vec<f64>,
    /// What is placed on the viewer, by sender.
    received: Vec<f64>,
    left: Vec<f64>,
}

/// What all senders with the same distances to everybody can reach within a band.
struct Reach {
    senders: Vec<usize>,
    receivers: Vec<usize>,
}

/// What the senders of a reach ask for in a round, each in proportion to the receivers' surplus.
struct Ask<'a> {
    reach: &'a Reach,
    by_sender: Vec<f64>,
    /// The surplus within reach.
    total: f64,
}

impl Load {
    fn surplus_rps(self) -> f64 {
        (self.capacity_rps - self.demand_rps).max(0.0)
    }

    fn deficit_rps(self) -> f64 {
        (self.demand_rps - self.capacity_rps).max(0.0)
    }
}

impl Allocation {
    /// Places deficits on surpluses: whole if they fit, else by max-min fair shares; nearest band first, and inside
    /// a band in proportion to the surplus. Every viewer of the same loads and distances computes the same.
    pub(crate) fn new(loads: &[Load], distances: &Distances, viewer: usize) -> Self {
        let mut left: Vec<f64> = loads.iter().map(|load| load.surplus_rps()).collect();
        let deficits: Vec<f64> = loads.iter().map(|load| load.deficit_rps()).collect();
        let mut grants = fair_shares(&deficits, left.iter().sum());
        let mut allocation = Self {
            viewer,
            sent: vec![0.0; loads.len()],
            received: vec![0.0; loads.len()],
            left: Vec::new(),
        };
        let receivers: Vec<usize> = (0..loads.len()).filter(|&j| left[j] > 0.0).collect();
        let mut alike: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for i in (0..loads.len()).filter(|&i| grants[i] > 0.0) {
            alike.entry(distances.like(i)).or_default().push(i);
        }
        for wanted in RttBand::all() {
            let reaches = alike.values().map(|senders| Reach {
                senders: senders.clone(),
                receivers: distances.within(senders[0], wanted, &receivers),
            });
            let reaches: Vec<Reach> = reaches.filter(|reach| !reach.receivers.is_empty()).collect();
            allocation.place(&reaches, &mut grants, &mut left);
        }
        allocation.left = left;
        allocation
    }

    /// How much of the viewer's deficit goes to the receiver, in requests per second.
    pub(crate) fn placed_rps(&self, receiver: usize) -> f64 {
        self.sent[receiver]
    }

    /// How much the viewer may send to the receiver in all, in requests per second.
    pub(crate) fn cap_rps(&self, receiver: usize) -> f64 {
        self.placed_rps(receiver) + self.stand_by_rps(self.viewer, receiver)
    }

    /// How much the viewer admits from the sender in all, in requests per second: what is the sender's cap.
    pub(crate) fn admitted_rps(&self, sender: usize) -> f64 {
        self.received[sender] + self.stand_by_rps(sender, self.viewer)
    }

    /// How much a node may spill onto another one beyond what is placed, in requests per second: an equal share of
    /// what the receiver has left, for every other node.
    fn stand_by_rps(&self, sender: usize, receiver: usize) -> f64 {
        if sender == receiver {
            0.0
        } else {
            self.left[receiver] / (self.left.len() - 1) as f64
        }
    }

    /// Places as much as is within reach.
    fn place(&mut self, reaches: &[Reach], grants: &mut [f64], surplus: &mut [f64]) {
        // Each round uses up a receiver or satisfies every sender that still has one.
        for _ in 0..=surplus.len() {
            let asks: Vec<Ask<'_>> = reaches
                .iter()
                .filter_map(|reach| Ask::new(reach, grants, surplus))
                .collect();
            if asks.is_empty() {
                return;
            }
            let mut asked = vec![0.0; surplus.len()];
            for ask in &asks {
                let by_surplus = ask.by_sender.iter().sum::<f64>() / ask.total;
                for &j in &ask.reach.receivers {
                    asked[j] += by_surplus * surplus[j];
                }
            }
            // Of what it is asked for, a receiver gives such a part to each; by its surplus, that is this much.
            let given = |j: usize| surplus[j] * (surplus[j] / asked[j]).min(1.0);
            for ask in &asks {
                self.note(ask, given);
                let part = ask.reach.receivers.iter().map(|&j| given(j)).sum::<f64>() / ask.total;
                for (&i, rate) in ask.reach.senders.iter().zip(&ask.by_sender) {
                    grants[i] = (grants[i] - rate * part).max(0.0);
                }
            }
            for (rest, asked) in surplus.iter_mut().zip(asked) {
                *rest = (*rest - asked).max(0.0);
            }
        }
    }

    /// Takes down what an ask means for the viewer.
    fn note(&mut self, ask: &Ask<'_>, given: impl Fn(usize) -> f64) {
        for (&i, rate) in ask.reach.senders.iter().zip(&ask.by_sender) {
            if i == self.viewer {
                for &j in ask.reach.receivers.iter().filter(|&&j| given(j) > 0.0) {
                    self.sent[j] += rate * given(j) / ask.total;
                }
            }
        }
        let here = self.viewer;
        if ask.reach.receivers.binary_search(&here).is_ok() && given(here) > 0.0 {
            for (&i, rate) in ask.reach.senders.iter().zip(&ask.by_sender) {
                self.received[i] += rate * given(here) / ask.total;
            }
        }
    }
}

impl<'a> Ask<'a> {
    /// What is still to be placed; nothing if that is too little to matter.
    fn new(reach: &'a Reach, grants: &[f64], surplus: &[f64]) -> Option<Self> {
        let total: f64 = reach.receivers.iter().map(|&j| surplus[j]).sum();
        let ask = |&i: &usize| {
            if grants[i] < REST_RPS_MIN {
                0.0
            } else {
                grants[i].min(total)
            }
        };
        let by_sender: Vec<f64> = reach.senders.iter().map(ask).collect();
        let is_worth_it = total >= REST_RPS_MIN && by_sender.iter().any(|&rate| rate > 0.0);
        is_worth_it.then_some(Self {
            reach,
            by_sender,
            total,
        })
    }
}

/// Max-min fair shares of `total`: nobody gets more than asked, and what small ones do not need goes to the others.
fn fair_shares(asked: &[f64], total: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..asked.len()).filter(|&i| asked[i] > 0.0).collect();
    order.sort_by(|&a, &b| asked[a].total_cmp(&asked[b]));
    let mut shares = vec![0.0; asked.len()];
    let mut rest = total;
    for (position, &i) in order.iter().enumerate() {
        shares[i] = asked[i].min(rest / (order.len() - position) as f64);
        rest = (rest - shares[i]).max(0.0);
    }
    shares
}

#[cfg(test)]
mod tests;
