//! Recalc, the algorithm of the Go agents, with its exact arithmetic.
//!
//! Step 1, at each multiple of the period, tells overload from underload and offers the margin in equal whole parts;
//! step 2, half a period later, turns what others offered into weights, when they begin to admit what they offered. The
//! multiples are those of the time since 1970, as the Go agents', where the shell tells the time; else they count from the
//! start. Kept apart on purpose:
//!
//! - Rates are over the whole period, and functions listed are always one's own: counting one second and echoing the
//!   peer's list are defects of the original.
//! - A lost connection ends the routes to a peer and the admissions from it at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::counters::Counters;
use crate::explanation;
use crate::message::{FUNCTIONS_MAX, Message, PEERS_MAX, Rejection, encode_offer};
use crate::names::{FunctionName, NodeId};
use crate::neighbourhood::Scope;
use crate::period_rates::PeriodRates;
use crate::policy::{FunctionPolicy, Peer, Policy, Route, Trust};
use crate::settings::Settings;
use crate::status::PeerFunctionStatus;
use crate::strategy::{Known, Local, Strategy, align, is_due};

/// The strategy's memory.
#[derive(Debug)]
pub(crate) struct Recalc {
    entries: BTreeMap<NodeId, Entry>,
    /// User rates as of the last step 1.
    rates: PeriodRates,
    overloaded: BTreeSet<FunctionName>,
    /// What the last step 2 decided, but for what is local.
    applied: Policy,
    outbox: Option<Vec<u8>>,
    /// To whom this node sends, as peers know it.
    scope: Scope,
    changed: bool,
    next_step_1: Instant,
    next_step_2: Instant,
}

/// What is known about a peer that has named this node.
#[derive(Debug)]
struct Entry {
    alive: Instant,
    service: crate::service_address::ServiceAddress,
    functions: BTreeMap<FunctionName, Limits>,
    /// Whether this node is its neighbour.
    may_send: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Limits {
    /// What this node admits from the peer.
    limit_in: u64,
    /// What the peer admits from this node.
    limit_out: f64,
    weight: u64,
}

impl Recalc {
    pub(crate) fn new(settings: &Settings, now: Instant) -> Self {
        Self {
            entries: BTreeMap::new(),
            rates: PeriodRates::default(),
            overloaded: BTreeSet::new(),
            applied: Policy::default(),
            outbox: None,
            scope: Scope::default(),
            changed: false,
            next_step_1: now + settings.period,
            next_step_2: now + settings.period + settings.period / 2,
        }
    }

    fn step_1(&mut self, local: &Local, now: Instant) {
        self.expire(local, now);
        self.rates.close();
        self.overloaded.clear();
        for (name, spec) in &local.functions {
            let maxrate = spec.capacity_rps.floor();
            match self.rates.of(name) {
                Some(rate) if rate >= maxrate => {
                    self.overloaded.insert(name.clone());
                    self.limits(name).for_each(|limits| limits.limit_in = 0);
                }
                rate => self.offer(name, (maxrate - rate.map_or(0.0, |rate| rate.floor())) as u64),
            }
        }
        self.publish(local);
    }

    /// Offers the margin of an underloaded function in equal whole parts to all who have it and may send.
    fn offer(&mut self, name: &FunctionName, margin: u64) {
        let has_it = |entry: &&Entry| entry.may_send && entry.functions.contains_key(name);
        let peers = self.entries.values().filter(has_it).count() as u64;
        for entry in self.entries.values_mut() {
            if let Some(limits) = entry.functions.get_mut(name) {
                limits.weight = 0;
                limits.limit_in = if entry.may_send { margin / peers } else { 0 };
            }
        }
    }

    fn step_2(&mut self, local: &Local, now: Instant) {
        self.expire(local, now);
        for name in std::mem::take(&mut self.overloaded) {
            self.limits(&name).for_each(|limits| limits.weight = 0);
            let neighbours = self.entries.iter_mut().filter(|(id, _)| self.scope.includes(id));
            let mut offers: Vec<&mut Limits> = neighbours
                .filter_map(|(_, entry)| entry.functions.get_mut(&name))
                .collect();
            let offered: f64 = offers.iter().map(|limits| limits.limit_out).sum();
            let total = if offered > 0.0 { offered } else { 1.0 };
            for limits in &mut offers {
                limits.weight = (limits.limit_out * 100.0 / total) as u64;
            }
            self.overloaded.insert(name);
        }
        self.applied = self.decided(local);
        self.changed = true;
    }

    fn limits<'a>(&'a mut self, name: &'a FunctionName) -> impl Iterator<Item = &'a mut Limits> {
        self.entries
            .values_mut()
            .filter_map(move |entry| entry.functions.get_mut(name))
    }

    /// Expired is what has not been heard of for a period and a fifth.
    fn expire(&mut self, local: &Local, now: Instant) {
        let validity = local.settings.period + local.settings.period / 5;
        self.entries.retain(|_, entry| entry.alive + validity >= now);
    }

    fn publish(&mut self, local: &Local) {
        self.scope = local.scope(&self.scope);
        let limits = local
            .connected
            .keys()
            .take(PEERS_MAX)
            .map(|id| (id.clone(), self.offers_to(local, id)));
        self.outbox = Some(encode_offer(
            local.settings.service,
            limits.collect(),
            &self.scope,
        ));
    }

    fn offers_to(&self, local: &Local, id: &NodeId) -> BTreeMap<FunctionName, u64> {
        let entry = self.entries.get(id);
        let limit_in = |name| {
            entry
                .and_then(|entry| entry.functions.get(name))
                .map_or(0, |limits| limits.limit_in)
        };
        let names = local.functions.keys().take(FUNCTIONS_MAX);
        names.map(|name| (name.clone(), limit_in(name))).collect()
    }

    fn decided(&self, local: &Local) -> Policy {
        let told = self.entries.values().flat_map(|entry| entry.functions.keys());
        let names: BTreeSet<&FunctionName> = local.functions.keys().chain(told).collect();
        let peers = self.entries.iter().map(|(id, entry)| {
            (
                id.clone(),
                Peer {
                    service: entry.service,
                    trust: Trust::default(),
                },
            )
        });
        Policy {
            functions: names
                .into_iter()
                .map(|name| (name.clone(), self.decided_for(name)))
                .collect(),
            peers: peers.collect(),
            barred: BTreeSet::new(),
        }
    }

    fn decided_for(&self, name: &FunctionName) -> FunctionPolicy {
        let having = self
            .entries
            .iter()
            .filter_map(|(id, entry)| Some((id, entry.functions.get(name)?)));
        let having: Vec<(&NodeId, &Limits)> = having.collect();
        let total: u64 = having.iter().map(|(_, limits)| limits.weight).sum();
        let route = |weight: u64| Route {
            weight: weight as f64 / total as f64,
            cap_rps: f64::INFINITY,
        };
        let weighted = having.iter().filter(|(_, limits)| limits.weight > 0);
        let admitted = having.iter().filter(|(_, limits)| limits.limit_in > 0);
        FunctionPolicy {
            routes: weighted
                .map(|&(id, limits)| (id.clone(), route(limits.weight)))
                .collect(),
            admit: admitted
                .map(|&(id, limits)| (id.clone(), limits.limit_in as f64))
                .collect(),
            ..FunctionPolicy::default()
        }
    }
}

impl Strategy for Recalc {
    fn handle_counters(&mut self, counters: &Counters) {
        self.rates.add(counters);
    }

    fn handle_clock(&mut self, local: &Local, now: Instant, since_1970: Duration) {
        let period = local.settings.period;
        align(&mut self.next_step_1, period, Duration::ZERO, now, since_1970);
        align(&mut self.next_step_2, period, period / 2, now, since_1970);
    }

    fn handle_functions(&mut self, _local: &Local, _now: Instant) {
        self.changed = true;
    }

    fn handle_message(
        &mut self,
        local: &Local,
        now: Instant,
        from: &NodeId,
        body: &[u8],
    ) -> Result<(), Rejection> {
        let Message::Offer(mut offer) = Message::decode(body)? else {
            return Err(Rejection::OtherStrategy);
        };
        let limits = offer
            .limits
            .remove(&local.settings.node)
            .ok_or(Rejection::NotAddressed)?;
        if self.entries.len() >= PEERS_MAX && !self.entries.contains_key(from) {
            return Err(Rejection::TableFull);
        }
        let before = self
            .entries
            .remove(from)
            .map(|entry| entry.functions)
            .unwrap_or_default();
        let functions = limits.into_iter().map(|(name, limit_out)| {
            let kept = before.get(&name).copied().unwrap_or_default();
            (name, Limits { limit_out, ..kept })
        });
        let entry = Entry {
            alive: now,
            service: offer.service,
            functions: functions.collect(),
            may_send: offer.scope.includes(&local.settings.node),
        };
        self.entries.insert(from.clone(), entry);
        Ok(())
    }

    fn handle_peer_down(&mut self, _now: Instant, id: &NodeId) {
        self.entries.remove(id);
        self.applied.peers.remove(id);
        for function in self.applied.functions.values_mut() {
            function.routes.remove(id);
            function.admit.remove(id);
            let total: f64 = function.routes.values().map(|route| route.weight).sum();
            function
                .routes
                .values_mut()
                .for_each(|route| route.weight /= total);
        }
        self.changed = true;
    }

    fn handle_timeout(&mut self, local: &Local, now: Instant) {
        if is_due(&mut self.next_step_1, local.settings.period, now) {
            self.step_1(local, now);
        }
        if is_due(&mut self.next_step_2, local.settings.period, now) {
            self.step_2(local, now);
        }
    }

    fn poll_timeout(&self) -> Instant {
        self.next_step_1.min(self.next_step_2)
    }

    fn poll_publish(&mut self) -> Option<Vec<u8>> {
        self.outbox.take()
    }

    fn poll_policy(&mut self, local: &Local) -> Option<Policy> {
        std::mem::take(&mut self.changed).then(|| {
            let mut policy = self.applied.clone();
            for (name, function) in &mut policy.functions {
                (function.hosted, function.local_rps) = own_part(local, name);
            }
            for name in local.functions.keys() {
                let function = policy.functions.entry(name.clone()).or_default();
                (function.hosted, function.local_rps) = own_part(local, name);
            }
            policy
        })
    }

    fn demand_rps(&self, function: &FunctionName) -> f64 {
        self.rates.of(function).unwrap_or(0.0)
    }

    fn reasons(&self, local: &Local, function: &FunctionName) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(spec) = local.functions.get(function) {
            let demand_rps = self.demand_rps(function);
            lines.push(explanation::load(
                "this node",
                spec.capacity_rps.floor(),
                demand_rps,
            ));
            let is_overloaded = self.overloaded.contains(function);
            lines.push(if is_overloaded {
                "so it was overloaded at its last look, and weights follow what peers offer".to_owned()
            } else {
                "so it was not overloaded at its last look, and offers its margin in equal parts".to_owned()
            });
        }
        let offers = self.entries.iter().filter_map(|(id, entry)| {
            let limits = entry.functions.get(function)?;
            let offer = explanation::rate(limits.limit_out);
            Some(format!("{} offers {offer}", explanation::peer(id)))
        });
        lines.extend(offers);
        lines
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    fn known(&self) -> BTreeMap<NodeId, Known> {
        self.entries
            .iter()
            .map(|(id, entry)| (id.clone(), entry.known()))
            .collect()
    }
}

impl Entry {
    fn known(&self) -> Known {
        let functions = self.functions.iter().map(|(name, limits)| {
            let status = PeerFunctionStatus {
                offer_rps: Some(limits.limit_out),
                ..PeerFunctionStatus::default()
            };
            (name.clone(), status)
        });
        Known {
            service: self.service,
            heard: self.alive,
            functions: functions.collect(),
        }
    }
}

fn own_part(local: &Local, name: &FunctionName) -> (bool, f64) {
    local
        .functions
        .get(name)
        .map_or((false, 0.0), |spec| (true, spec.capacity_rps.floor()))
}

#[cfg(test)]
mod tests;
