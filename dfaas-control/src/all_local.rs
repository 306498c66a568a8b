//! All-local, a strategy of the Go agents: everything is served here without limit, and nothing is told to anybody.
//!
//! Kept apart on purpose: a request that carries a node's identity is refused, because no node is known. The reference
//! lets everybody through.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::counters::Counters;
use crate::message::{Message, Rejection};
use crate::names::{FunctionName, NodeId};
use crate::neighbourhood::{EVERYONE, Scope};
use crate::period_rates::PeriodRates;
use crate::policy::{FunctionPolicy, Policy};
use crate::strategy::{Known, Local, Strategy, is_due};

/// The strategy's memory.
#[derive(Debug)]
pub(crate) struct AllLocal {
    rates: PeriodRates,
    changed: bool,
    next_round: Instant,
}

impl AllLocal {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            rates: PeriodRates::default(),
            changed: true,
            next_round: now,
        }
    }
}

impl Strategy for AllLocal {
    fn handle_counters(&mut self, counters: &Counters) {
        self.rates.add(counters);
    }

    fn handle_functions(&mut self, _local: &Local, _now: Instant) {
        self.changed = true;
    }

    fn handle_message(
        &mut self,
        _local: &Local,
        _now: Instant,
        _from: &NodeId,
        body: &[u8],
    ) -> Result<(), Rejection> {
        Message::decode(body)?;
        Err(Rejection::OtherStrategy)
    }

    fn handle_peer_down(&mut self, _now: Instant, _id: &NodeId) {}

    fn handle_timeout(&mut self, local: &Local, now: Instant) {
        if is_due(&mut self.next_round, local.settings.period, now) {
            self.rates.close();
        }
    }

    fn poll_timeout(&self) -> Instant {
        self.next_round
    }

    fn poll_publish(&mut self) -> Option<Vec<u8>> {
        None
    }

    fn poll_policy(&mut self, local: &Local) -> Option<Policy> {
        let everything = FunctionPolicy {
            local_rps: f64::INFINITY,
            hosted: true,
            ..FunctionPolicy::default()
        };
        std::mem::take(&mut self.changed).then(|| Policy {
            functions: local
                .functions
                .keys()
                .map(|name| (name.clone(), everything.clone()))
                .collect(),
            ..Policy::default()
        })
    }

    fn demand_rps(&self, function: &FunctionName) -> f64 {
        self.rates.of(function).unwrap_or(0.0)
    }

    fn reasons(&self, _local: &Local, _function: &FunctionName) -> Vec<String> {
        vec!["everything is served here, whatever the load".to_owned()]
    }

    fn scope(&self) -> &Scope {
        &EVERYONE
    }

    fn known(&self) -> BTreeMap<NodeId, Known> {
        BTreeMap::new()
    }
}
