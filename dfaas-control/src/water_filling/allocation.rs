//! Who may send how much to whom, as a pure function of what all nodes told.

use super::distances::Distances;

pub(crate) use self::allocations::Allocations;
use self::placing::{Ask, Book, fair_shares};

mod allocations;
mod partial;
mod placing;

/// Rates below this are rounding errors, not traffic: one request in a quarter of an hour.
pub(crate) const RATE_RPS_MIN: f64 = 1e-3;

/// What one node told about one function.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Load {
    pub(crate) capacity_rps: f64,
    pub(crate) demand_rps: f64,
}

/// What one node, the viewer, may send to whom and admits from whom. Nodes are numbered as in the loads.
#[derive(Debug)]
pub(crate) struct Allocation<'a> {
    distances: &'a Distances,
    page: Page,
    left: Vec<f64>,
}

/// What is placed from and on one node.
#[derive(Debug)]
struct Page {
    viewer: usize,
    /// From the viewer, by receiver.
    sent: Vec<f64>,
    /// On the viewer, by sender.
    received: Vec<f64>,
}

impl Load {
    fn surplus_rps(self) -> f64 {
        (self.capacity_rps - self.demand_rps).max(0.0)
    }

    fn deficit_rps(self) -> f64 {
        (self.demand_rps - self.capacity_rps).max(0.0)
    }
}

impl<'a> Allocation<'a> {
    /// Places deficits on surpluses: whole if they fit, else by max-min fair shares; nearest band first, and inside
    /// a band in proportion to the surplus. Every viewer of the same loads and distances computes the same.
    pub(crate) fn new(loads: &[Load], distances: &'a Distances, viewer: usize) -> Self {
        let mut left: Vec<f64> = loads.iter().map(|load| load.surplus_rps()).collect();
        let deficits: Vec<f64> = loads.iter().map(|load| load.deficit_rps()).collect();
        let mut page = Page::new(viewer, loads.len());
        if distances.is_whole() {
            let mut grants = fair_shares(&deficits, left.iter().sum());
            placing::place(&mut page, distances, &mut grants, &mut left);
        } else {
            let surplus = left.clone();
            if !partial::place_directly(&mut page, &deficits, &mut left, distances) {
                left = surplus;
                let flows = partial::place(&deficits, &mut left, distances);
                page.sent = flows.sent(viewer, loads.len());
                page.received = flows.received(viewer, loads.len());
            }
        }
        Self {
            distances,
            page,
            left,
        }
    }

    /// How much of the viewer's deficit goes to the receiver, in requests per second.
    pub(crate) fn placed_rps(&self, receiver: usize) -> f64 {
        self.page.sent[receiver]
    }

    /// How much of the sender's deficit goes to the viewer, in requests per second.
    #[cfg(test)]
    pub(crate) fn received_rps(&self, sender: usize) -> f64 {
        self.page.received[sender]
    }

    /// How much the viewer may send to the receiver in all, in requests per second.
    pub(crate) fn cap_rps(&self, receiver: usize) -> f64 {
        self.placed_rps(receiver) + self.stand_by_rps(self.page.viewer, receiver)
    }

    /// How much the viewer admits from the sender in all, in requests per second: what is the sender's cap.
    pub(crate) fn admitted_rps(&self, sender: usize) -> f64 {
        self.page.received[sender] + self.stand_by_rps(sender, self.page.viewer)
    }

    /// How much a node may spill onto another one beyond what is placed, in requests per second: an equal share of
    /// what the receiver has left, for every other node that sends to it.
    fn stand_by_rps(&self, sender: usize, receiver: usize) -> f64 {
        if self.distances.is_open(sender, receiver) {
            self.left[receiver] / self.distances.senders(receiver) as f64
        } else {
            0.0
        }
    }
}

impl Page {
    fn new(viewer: usize, nodes: usize) -> Self {
        Self {
            viewer,
            sent: vec![0.0; nodes],
            received: vec![0.0; nodes],
        }
    }
}

impl Book for Page {
    fn note(&mut self, ask: &Ask<'_>, part: impl Fn(usize) -> f64) {
        for (_, rate) in ask.senders().filter(|&(i, _)| i == self.viewer) {
            for &j in ask.receivers() {
                self.sent[j] += rate * part(j);
            }
        }
        let here = self.viewer;
        if ask.receivers().binary_search(&here).is_ok() {
            for (i, rate) in ask.senders() {
                self.received[i] += rate * part(here);
            }
        }
    }
}

#[cfg(test)]
mod tests;
