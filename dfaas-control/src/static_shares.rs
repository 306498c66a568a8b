//! Static, a strategy of the Go agents: 60 of 100 requests are served here and 40 go to the neighbours in equal parts,
//! whatever the load. Kept apart on purpose:
//!
//! - The raster begins when the node starts, as in Recalc.
//! - A neighbour is a node that shares a function now, not one that ever did, and a lost connection ends it at once.
//! - A peer gets no request for a function that it does not run; the others get its part.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::counters::Counters;
use crate::message::{Message, Rejection};
use crate::names::{FunctionName, NodeId};
use crate::neighbourhood::Scope;
use crate::neighbours::{Neighbours, Weights};
use crate::period_rates::PeriodRates;
use crate::policy::Policy;
use crate::strategy::{Known, Local, Strategy, is_due};

const OWN_PERCENT: u64 = 60;
const OTHERS_PERCENT: f64 = 40.0;

/// The strategy's memory.
#[derive(Debug)]
pub(crate) struct StaticShares {
    neighbours: Neighbours,
    rates: PeriodRates,
    outbox: Option<Vec<u8>>,
    changed: bool,
    next_round: Instant,
}

impl StaticShares {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            neighbours: Neighbours::default(),
            rates: PeriodRates::default(),
            outbox: None,
            changed: false,
            next_round: now,
        }
    }

    fn weights(&self, local: &Local, name: &FunctionName) -> Weights {
        let count = self.neighbours.receivers(local).count();
        let each = (OTHERS_PERCENT / count as f64).round() as u64;
        let having = self
            .neighbours
            .receivers(local)
            .filter(|(_, neighbour)| neighbour.info.functions.contains(name));
        Weights {
            here: OWN_PERCENT,
            peers: having.map(|(id, _)| (id.clone(), each)).collect(),
        }
    }
}

impl Strategy for StaticShares {
    fn handle_counters(&mut self, counters: &Counters) {
        self.rates.add(counters);
    }

    fn handle_functions(&mut self, _local: &Local, _now: Instant) {
        self.changed = true;
    }

    fn handle_message(
        &mut self,
        _local: &Local,
        now: Instant,
        from: &NodeId,
        body: &[u8],
    ) -> Result<(), Rejection> {
        let Message::StaticInfo(info) = Message::decode(body)? else {
            return Err(Rejection::OtherStrategy);
        };
        self.neighbours.note(now, from, info)
    }

    fn handle_peer_down(&mut self, _now: Instant, id: &NodeId) {
        self.neighbours.forget(id);
        self.changed = true;
    }

    fn handle_timeout(&mut self, local: &Local, now: Instant) {
        if !is_due(&mut self.next_round, local.settings.period, now) {
            return;
        }
        self.neighbours.expire(local, now);
        self.rates.close();
        self.outbox = Some(self.neighbours.own_info(local).encode_static());
        self.changed = true;
    }

    fn poll_timeout(&self) -> Instant {
        self.next_round
    }

    fn poll_publish(&mut self) -> Option<Vec<u8>> {
        self.outbox.take()
    }

    fn poll_policy(&mut self, local: &Local) -> Option<Policy> {
        std::mem::take(&mut self.changed)
            .then(|| self.neighbours.policy(local, |name| self.weights(local, name)))
    }

    fn demand_rps(&self, function: &FunctionName) -> f64 {
        self.rates.of(function).unwrap_or(0.0)
    }

    fn reasons(&self, local: &Local, _function: &FunctionName) -> Vec<String> {
        match self.neighbours.receivers(local).count() {
            0 => vec!["no peer shares a function, so all stays here".to_owned()],
            count => vec![format!(
                "{OWN_PERCENT} of 100 stay here and {OTHERS_PERCENT} are for {count} neighbours, whatever the load"
            )],
        }
    }

    fn scope(&self) -> &Scope {
        self.neighbours.scope()
    }

    fn known(&self) -> BTreeMap<NodeId, Known> {
        self.neighbours.known()
    }
}

#[cfg(test)]
mod tests;
