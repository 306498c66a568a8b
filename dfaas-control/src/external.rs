//! External: a service outside decides. Once a period it is told what this node observes, and answers with weights and
//! limits. While it does not answer, or answers what cannot be, its last good answer stays in force.
//!
//! Nodes tell each other what water-filling tells, under a type of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::counters::{Counters, FunctionCounters};
use crate::message::{FUNCTIONS_MAX, FunctionState, Message, NodeState, PEERS_MAX, RATE_RPS_MAX, Rejection};
use crate::meter::to_milli;
use crate::names::{FunctionName, NodeId};
use crate::neighbourhood::Scope;
use crate::node_usage::NodeUsage;
use crate::period_rates::PeriodRates;
use crate::policy::{FunctionPolicy, Peer, Policy, Route, Trust};
use crate::rtt_band::RttBand;
use crate::status::PeerFunctionStatus;
use crate::strategy::{Known, Local, Strategy, is_due};

use self::advice::Advice;

mod advice;

/// As under water-filling.
const STALE_PERIODS: f64 = 2.5;

/// Where periods are short, a host that is busy for a moment is not gone: as with periods of a second.
const STALE_MIN: Duration = Duration::from_millis(2500);

/// The strategy's memory.
#[derive(Debug)]
pub(crate) struct External {
    nodes: BTreeMap<NodeId, (Instant, NodeState)>,
    rates: PeriodRates,
    counted: Counters,
    usage: Option<NodeUsage>,
    sequence: u64,
    outbox: Option<Vec<u8>>,
    /// To whom this node sends, as peers know it.
    scope: Scope,
    question: Option<Vec<u8>>,
    advice: BTreeMap<FunctionName, Advice>,
    /// Why the last answer was of no use.
    fault: Option<String>,
    changed: bool,
    next_round: Instant,
}

/// What the service is told.
#[derive(Debug, Serialize)]
struct Observation<'a> {
    node: &'a NodeId,
    /// Grows from one question to the next.
    sequence: u64,
    period_s: f64,
    functions: BTreeMap<&'a FunctionName, FunctionObservation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<NodeUsage>,
    peers: BTreeMap<&'a NodeId, PeerObservation<'a>>,
}

#[derive(Debug, Serialize)]
struct FunctionObservation<'a> {
    hosted: bool,
    capacity_rps: f64,
    demand_rps: f64,
    local_rps: f64,
    forwarded_rps: BTreeMap<&'a NodeId, f64>,
    admitted_rps: BTreeMap<&'a NodeId, f64>,
    refused_rps: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_time_p95_s: Option<f64>,
}

#[derive(Debug, Serialize)]
struct PeerObservation<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_ms: Option<f64>,
    functions: BTreeMap<&'a FunctionName, PeerFunctionStatus>,
}

fn stale_after(period: Duration) -> Duration {
    period.mul_f64(STALE_PERIODS).max(STALE_MIN)
}

impl External {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            nodes: BTreeMap::new(),
            rates: PeriodRates::default(),
            counted: Counters::default(),
            usage: None,
            sequence: 0,
            outbox: None,
            scope: Scope::default(),
            question: None,
            advice: BTreeMap::new(),
            fault: None,
            changed: false,
            next_round: now,
        }
    }

    fn begin_round(&mut self, local: &Local, now: Instant) {
        let before = self.nodes.len();
        self.nodes
            .retain(|_, (heard, state)| *heard + stale_after(state.period) > now);
        self.changed |= self.nodes.len() != before;
        self.rates.close();
        let counted = std::mem::take(&mut self.counted);
        self.sequence += 1;
        self.question = Some(self.observation(local, &counted));
        self.scope = local.scope(&self.scope);
        self.outbox = Some(self.own_state(local).encode_external());
    }

    fn own_state(&self, local: &Local) -> NodeState {
        let state = |name: &FunctionName, capacity_rps: f64| FunctionState {
            capacity_rps: to_milli(capacity_rps),
            demand_rps: self.demand_rps(name).min(RATE_RPS_MAX),
            service_time_p95_s: None,
        };
        let functions = local.functions.iter().take(FUNCTIONS_MAX);
        NodeState {
            version: (local.settings.incarnation, self.sequence),
            service: local.settings.service,
            period: local.settings.period,
            functions: functions
                .map(|(name, spec)| (name.clone(), state(name, spec.capacity_rps)))
                .collect(),
            band: RttBand::FARTHEST,
            bands: BTreeMap::new(),
            scope: self.scope.clone(),
            admitted: local.admitted.told(&local.connected),
            unreachable: BTreeSet::new(),
        }
    }

    fn observation(&self, local: &Local, counted: &Counters) -> Vec<u8> {
        let nothing = FunctionCounters::default();
        let elapsed_s = counted.elapsed.as_secs_f64();
        let functions = self.functions(local).into_iter().map(|(name, capacity_rps)| {
            let counts = counted.functions.get(name).unwrap_or(&nothing);
            (name, observed(counts, elapsed_s, capacity_rps))
        });
        let peers = self.nodes.iter().map(|(id, (_, state))| {
            let rtt = local.connected.get(id).copied().flatten();
            let functions = state.functions.iter().map(|(name, state)| (name, told(state)));
            let peer = PeerObservation {
                rtt_ms: rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
                functions: functions.collect(),
            };
            (id, peer)
        });
        let observation = Observation {
            node: &local.settings.node,
            sequence: self.sequence,
            period_s: local.settings.period.as_secs_f64(),
            functions: functions.collect(),
            usage: self.usage,
            peers: peers.collect(),
        };
        serde_json::to_vec(&observation).expect("text keys and finite numbers are always JSON")
    }

    /// What this node or a peer hosts, with this node's capacity for it, if it hosts it.
    fn functions<'a>(&'a self, local: &'a Local) -> BTreeMap<&'a FunctionName, Option<f64>> {
        let told = self.nodes.values().flat_map(|(_, state)| state.functions.keys());
        let elsewhere = told.take(FUNCTIONS_MAX).map(|name| (name, None));
        let own = local
            .functions
            .iter()
            .map(|(name, spec)| (name, Some(spec.capacity_rps)));
        elsewhere.chain(own).collect()
    }

    fn policy(&self, local: &Local) -> Policy {
        let functions = self.functions(local).into_iter().map(|(name, capacity_rps)| {
            let decided = self.advice.get(name).cloned().unwrap_or_default();
            (name.clone(), self.followed(local, decided, capacity_rps))
        });
        let peers = self.nodes.iter().map(|(id, (_, state))| {
            let service = state.service;
            let trust = Trust::default();
            (id.clone(), Peer { service, trust })
        });
        Policy {
            functions: functions.collect(),
            peers: peers.collect(),
            barred: BTreeSet::new(),
        }
    }

    fn may_send(&self, local: &Local, id: &NodeId) -> bool {
        let node = self.nodes.get(id);
        node.is_some_and(|(_, state)| state.scope.includes(&local.settings.node))
    }

    /// Advice, as far as its peers are there and are neighbours. Without any, a node serves up to its capacity.
    fn followed(&self, local: &Local, advice: Advice, capacity_rps: Option<f64>) -> FunctionPolicy {
        let hosted = capacity_rps.is_some();
        let here = if hosted { advice.here } else { 0.0 };
        let routes: Vec<_> = advice
            .routes
            .into_iter()
            .filter(|(id, _)| self.nodes.contains_key(id) && self.scope.includes(id))
            .collect();
        let total = here + routes.iter().map(|(_, route)| route.weight).sum::<f64>();
        let share = |weight: f64| if total > 0.0 { weight / total } else { 0.0 };
        let routes = routes.into_iter().map(|(id, route)| {
            let route = Route {
                weight: share(route.weight),
                cap_rps: route.cap_rps.unwrap_or(f64::INFINITY),
            };
            (id, route)
        });
        let local_rps = advice.local_rps.or(capacity_rps).unwrap_or(0.0);
        let admit = advice
            .admit
            .into_iter()
            .filter(|(id, _)| self.may_send(local, id));
        FunctionPolicy {
            local_rps: if hosted { local_rps } else { 0.0 },
            hosted,
            here: share(here),
            routes: routes.collect(),
            admit: admit.collect(),
        }
    }
}

impl Strategy for External {
    fn handle_counters(&mut self, counters: &Counters) {
        self.rates.add(counters);
        self.counted.add(counters);
    }

    fn handle_usage(&mut self, usage: &NodeUsage) {
        self.usage = Some(*usage);
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
        let Message::External(state) = Message::decode(body)? else {
            return Err(Rejection::OtherStrategy);
        };
        match self.nodes.get(from) {
            Some((_, known)) if state.version <= known.version => return Err(Rejection::Outdated),
            Some(_) => {}
            None if self.nodes.len() >= PEERS_MAX => return Err(Rejection::TableFull),
            None => self.changed = true,
        }
        self.nodes.insert(from.clone(), (now, state));
        Ok(())
    }

    fn handle_peer_down(&mut self, _now: Instant, id: &NodeId) {
        self.nodes.remove(id);
        self.changed = true;
    }

    fn handle_timeout(&mut self, local: &Local, now: Instant) {
        if is_due(&mut self.next_round, local.settings.period, now) {
            self.begin_round(local, now);
        }
    }

    fn poll_timeout(&self) -> Instant {
        self.next_round
    }

    fn poll_publish(&mut self) -> Option<Vec<u8>> {
        self.outbox.take()
    }

    fn poll_policy(&mut self, local: &Local) -> Option<Policy> {
        std::mem::take(&mut self.changed).then(|| self.policy(local))
    }

    fn poll_question(&mut self) -> Option<Vec<u8>> {
        self.question.take()
    }

    fn handle_answer(&mut self, _local: &Local, answer: Option<&[u8]>) {
        match answer
            .ok_or_else(|| "there was none in time".to_owned())
            .and_then(advice::read)
        {
            Ok(advice) => {
                self.advice.extend(advice);
                self.fault = None;
                self.changed = true;
            }
            Err(fault) => self.fault = Some(fault),
        }
    }

    fn demand_rps(&self, function: &FunctionName) -> f64 {
        self.rates.of(function).unwrap_or(0.0)
    }

    fn reasons(&self, _local: &Local, function: &FunctionName) -> Vec<String> {
        let mut lines = vec![match self.advice.get(function) {
            Some(_) => "the service's last good answer says so".to_owned(),
            None => {
                "the service has said nothing about it, so this node serves up to its capacity".to_owned()
            }
        }];
        lines.extend(
            self.fault
                .as_ref()
                .map(|fault| format!("its last answer was of no use: {fault}")),
        );
        lines
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    fn known(&self) -> BTreeMap<NodeId, Known> {
        let known = self.nodes.iter().map(|(id, (heard, state))| {
            let functions = state.functions.iter();
            let known = Known {
                service: state.service,
                heard: *heard,
                functions: functions
                    .map(|(name, state)| (name.clone(), told(state)))
                    .collect(),
            };
            (id.clone(), known)
        });
        known.collect()
    }
}

fn told(state: &FunctionState) -> PeerFunctionStatus {
    PeerFunctionStatus {
        capacity_rps: Some(state.capacity_rps),
        demand_rps: Some(state.demand_rps),
        offer_rps: None,
        service_time_p95_s: state.service_time_p95_s,
    }
}

fn observed(counts: &FunctionCounters, elapsed_s: f64, capacity_rps: Option<f64>) -> FunctionObservation<'_> {
    let rate = |count: u64| {
        if elapsed_s > 0.0 {
            count as f64 / elapsed_s
        } else {
            0.0
        }
    };
    let rates = |counts: &'_ BTreeMap<NodeId, u64>| -> Vec<f64> {
        counts.values().map(|&count| rate(count)).collect()
    };
    FunctionObservation {
        hosted: capacity_rps.is_some(),
        capacity_rps: capacity_rps.unwrap_or(0.0),
        demand_rps: rate(counts.user),
        local_rps: rate(counts.local),
        forwarded_rps: counts.forwarded.keys().zip(rates(&counts.forwarded)).collect(),
        admitted_rps: counts.admitted.keys().zip(rates(&counts.admitted)).collect(),
        refused_rps: rate(counts.refused),
        service_time_p95_s: counts.service_time_p95.map(|time: Duration| time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests;
