//! Water-filling: every node computes the same allocation from the newest states of all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::counters::Counters;
use crate::explanation;
use crate::message::{
    FUNCTIONS_MAX, FunctionState, Message, NodeState, PEERS_MAX, RATE_RPS_MAX, Rejection, SERVICE_TIME_S_MAX,
};
use crate::meter::{Meter, to_milli};
use crate::names::{FunctionName, NodeId};
use crate::neighbourhood::{EVERYONE, Scope};
use crate::policy::{FunctionPolicy, Policy};
use crate::rtt_band::RttBand;
use crate::settings::Settings;
use crate::status::PeerFunctionStatus;
use crate::strategy::{Known, Local, Strategy, next_after};

#[cfg(test)]
pub(crate) use self::allocation::Allocation;
pub(crate) use self::allocation::{Allocations, Load};
pub(crate) use self::distances::Distances;
use self::view::View;

mod allocation;
mod distances;
mod view;

/// How often counters are looked at within a period, to notice a surge before the period ends.
const SAMPLES_PER_PERIOD: u32 = 10;
/// How many periods of its sender a state is believed: a message may be lost and the next come late, and yet nothing
/// is sent to a dead node after three periods, late timers included.
const STALE_PERIODS: f64 = 2.5;
/// How many own periods the version of a vanished node is remembered, so that a delayed message cannot revive it.
const FORGET_PERIODS: u32 = 10;

/// How many own periods a peer has to become one to which something can be sent, before the others hear that it is none.
const PAIRING_PERIODS: u32 = 2;

/// Most nodes among which every message is acted upon at once, within a millisecond. Among more, decisions cost so much
/// and messages come so often that those of a sample share one decision.
const DECIDE_AT_ONCE_NODES_MAX: usize = 32;

/// Most nodes among which each sample has a decision. Among more, one in five has: decisions cost more than they bring
/// when a thousand messages come within each period.
const DECIDE_EACH_SAMPLE_NODES_MAX: usize = 256;
const SAMPLES_PER_DECISION: u32 = 5;

/// The strategy's memory.
#[derive(Debug)]
pub(crate) struct WaterFilling {
    meters: BTreeMap<FunctionName, Meter>,
    /// Time covered by counters that are not yet in a sample.
    pending: Duration,
    nodes: BTreeMap<NodeId, Node>,
    /// The functions hosted here or by a live peer; absent where they may have changed.
    names: Option<BTreeSet<FunctionName>>,
    /// This node's state as the peers know it.
    published: Option<NodeState>,
    /// The latency bands of peers, as measured.
    measured: BTreeMap<NodeId, RttBand>,
    /// How far the live nodes are from each other; absent where that may have changed.
    distances: Option<Distances>,
    sequence: u64,
    outbox: Option<Vec<u8>>,
    /// A reason to publish before the period ends, acted upon with the next sample.
    publish_soon: bool,
    changed: bool,
    /// A reason to decide with the next sample.
    decide_soon: bool,
    samples: u32,
    next_sample: Instant,
    next_period: Instant,
}

/// What is known about another node.
#[derive(Debug)]
struct Node {
    version: (u64, u64),
    /// When it was heard for the first time.
    met: Instant,
    heard: Instant,
    /// Absent once stale or lost.
    state: Option<NodeState>,
    lost: Option<Instant>,
}

impl WaterFilling {
    pub(crate) fn new(settings: &Settings, now: Instant) -> Self {
        Self {
            meters: BTreeMap::new(),
            pending: Duration::ZERO,
            nodes: BTreeMap::new(),
            names: None,
            published: None,
            measured: BTreeMap::new(),
            distances: None,
            sequence: 0,
            outbox: None,
            publish_soon: false,
            changed: false,
            decide_soon: false,
            samples: 0,
            next_sample: now + settings.period / SAMPLES_PER_PERIOD,
            next_period: now + settings.period,
        }
    }

    /// Ends a sample; tells whether it shows a surge.
    fn close_sample(&mut self, local: &Local) -> bool {
        if self.pending.is_zero() {
            return false;
        }
        let elapsed = std::mem::take(&mut self.pending);
        let mut surge = false;
        for meter in self.meters.values_mut() {
            surge |= meter.close_sample(elapsed, local.settings.period);
        }
        surge
    }

    fn close_period(&mut self, local: &Local) {
        for meter in self.meters.values_mut() {
            meter.close_period(local.settings.period);
        }
        let known = self.take_names(local);
        self.meters.retain(|name, _| known.contains(name));
        // A surge is told from the quiet before it, so the quiet must be measured too.
        for name in &known {
            if !self.meters.contains_key(name) {
                self.meters.insert(name.clone(), Meter::default());
            }
        }
        self.names = Some(known);
    }

    fn publish(&mut self, local: &Local, now: Instant) {
        self.sequence += 1;
        self.measure(local);
        let (band, bands) = self.told_bands(local);
        let names = self.take_names(local);
        let state = NodeState {
            version: (local.settings.incarnation, self.sequence),
            service: local.settings.service,
            period: local.settings.period,
            functions: self.own_functions(local, &names),
            band,
            bands,
            scope: local.scope(self.scope()),
            admitted: local.admitted.told(&local.connected),
            unreachable: self.unreachable(local, now),
        };
        self.names = Some(names);
        self.outbox = Some(state.encode());
        let before = self.published.as_ref();
        if !before.is_some_and(|before| before.is_placed_as(&state)) {
            self.distances = None;
        }
        self.published = Some(state);
        self.publish_soon = false;
        self.changed = true;
    }

    /// Whom this node has heard for some time and cannot send to: it is not connected, its token or its address is not known.
    fn unreachable(&self, local: &Local, now: Instant) -> BTreeSet<NodeId> {
        let grace = local.settings.period * PAIRING_PERIODS;
        let is_due = |node: &Node| node.state.is_some() && node.met + grace <= now;
        let overdue = self
            .nodes
            .iter()
            .filter(|&(id, node)| is_due(node) && !local.reaches(id));
        overdue.map(|(id, _)| id.clone()).collect()
    }

    /// What this node hosts, and what its users ask for although it does not.
    fn own_functions(
        &self,
        local: &Local,
        names: &BTreeSet<FunctionName>,
    ) -> BTreeMap<FunctionName, FunctionState> {
        let state = |name: &FunctionName| FunctionState {
            capacity_rps: local
                .functions
                .get(name)
                .map_or(0.0, |spec| to_milli(spec.capacity_rps)),
            demand_rps: self.demand_rps(name).min(RATE_RPS_MAX),
            service_time_p95_s: self.service_time_s(name),
        };
        let is_worth_telling = |name: &FunctionName| {
            local.functions.contains_key(name)
                || self.meters.get(name).is_some_and(|meter| meter.rate_rps() > 0.0)
        };
        names
            .iter()
            .filter(|name| is_worth_telling(name))
            .take(FUNCTIONS_MAX)
            .map(|name| (name.clone(), state(name)))
            .collect()
    }

    fn service_time_s(&self, name: &FunctionName) -> Option<f64> {
        let time_s = self
            .meters
            .get(name)?
            .service_time_p95?
            .as_secs_f64()
            .min(SERVICE_TIME_S_MAX);
        // Microseconds are enough, and short in a message.
        Some((time_s * 1e6).round() / 1e6)
    }

    fn measure(&mut self, local: &Local) {
        let measured = local.connected.iter().filter_map(|(id, rtt)| Some((id, (*rtt)?)));
        let bands = measured.map(|(id, rtt)| {
            let before = self.measured.get(id).copied();
            (id.clone(), RttBand::of(rtt, before))
        });
        self.measured = bands.collect();
    }

    /// The band that most peers have, and those that have others. Nothing measured is told as the farthest.
    fn told_bands(&self, local: &Local) -> (RttBand, BTreeMap<NodeId, RttBand>) {
        let band = |id| self.measured.get(id).copied().unwrap_or(RttBand::FARTHEST);
        let mut counts: BTreeMap<RttBand, usize> = BTreeMap::new();
        for id in local.connected.keys() {
            *counts.entry(band(id)).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|&(_, count)| count);
        let usual = most.map_or(RttBand::FARTHEST, |(band, _)| band);
        let bands = local.connected.keys().map(|id| (id.clone(), band(id)));
        (usual, bands.filter(|&(_, band)| band != usual).collect())
    }

    /// The functions hosted here or by a live peer, to be put back after use.
    fn take_names(&mut self, local: &Local) -> BTreeSet<FunctionName> {
        self.names.take().unwrap_or_else(|| self.find_names(local))
    }

    /// As many as one node may list, its own before others.
    fn find_names(&self, local: &Local) -> BTreeSet<FunctionName> {
        let states = self.nodes.values().filter_map(|node| node.state.as_ref());
        // Of thousands of nodes, most host what the one before does.
        let mut before: Option<&NodeState> = None;
        let others = states.filter(|&state| {
            let before = before.replace(state);
            !before.is_some_and(|before| before.hosted().eq(state.hosted()))
        });
        let elsewhere: BTreeSet<_> = others
            .flat_map(NodeState::hosted)
            .filter(|name| !local.functions.contains_key(*name))
            .collect();
        let room = FUNCTIONS_MAX.saturating_sub(local.functions.len());
        local
            .functions
            .keys()
            .chain(elsewhere.into_iter().take(room))
            .cloned()
            .collect()
    }

    fn expire(&mut self, local: &Local, now: Instant) {
        let forget_after = local.settings.period * FORGET_PERIODS;
        for node in self.nodes.values_mut() {
            if node.stale_at().is_some_and(|at| at <= now) {
                node.state = None;
                self.distances = None;
                self.names = None;
                self.changed = true;
            }
        }
        self.nodes
            .retain(|_, node| node.state.is_some() || now < node.heard + forget_after);
    }

    /// The states of all live nodes in the order of their ids, this one's published one among them.
    fn live<'a>(&'a self, local: &'a Local) -> Vec<(&'a NodeId, &'a NodeState)> {
        let peers = self
            .nodes
            .iter()
            .filter_map(|(id, node)| Some((id, node.state.as_ref()?)));
        let own = self.published.as_ref().map(|state| (&local.settings.node, state));
        peers.chain(own).collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    fn policy(&self, local: &Local, names: &BTreeSet<FunctionName>, distances: &Distances) -> Policy {
        let live = self.live(local);
        let view = View::new(live, &local.settings.node, distances);
        let loads = view.loads(names);
        let functions = names.iter().zip(loads).map(|(name, loads)| {
            let spec = local.functions.get(name);
            let policy = FunctionPolicy {
                // Local first: a node's own users may use all its capacity; peers are offered only what they left.
                local_rps: spec.map_or(0.0, |spec| spec.capacity_rps),
                hosted: spec.is_some(),
                ..view.exchange(&loads)
            };
            (name.clone(), policy)
        });
        Policy {
            functions: functions.collect(),
            peers: view.peers(),
            barred: BTreeSet::new(),
        }
    }
}

impl Strategy for WaterFilling {
    fn handle_counters(&mut self, counters: &Counters) {
        self.pending += counters.elapsed;
        for (name, counted) in &counters.functions {
            // The data plane counts what the policy names, so more than this is a mistake of the shell.
            if self.meters.len() >= 2 * FUNCTIONS_MAX && !self.meters.contains_key(name) {
                continue;
            }
            let meter = self.meters.entry(name.clone()).or_default();
            meter.add(counted.user);
            meter.service_time_p95 = counted.service_time_p95.or(meter.service_time_p95);
        }
    }

    fn handle_functions(&mut self, local: &Local, now: Instant) {
        self.names = None;
        self.publish(local, now);
    }

    fn handle_message(
        &mut self,
        local: &Local,
        now: Instant,
        from: &NodeId,
        body: &[u8],
    ) -> Result<(), Rejection> {
        let Message::State(state) = Message::decode(body)? else {
            return Err(Rejection::OtherStrategy);
        };
        match self.nodes.get(from) {
            Some(node) => node.check(state.version, now, local.settings.period)?,
            None if self.nodes.len() >= PEERS_MAX => return Err(Rejection::TableFull),
            // A newcomer must hear of this node before its next period to send it anything.
            None => self.publish_soon = true,
        }
        // Most states of a quiet federation repeat the last one and decide nothing.
        let before = self.nodes.get(from).and_then(|node| node.state.as_ref());
        if !before.is_some_and(|before| before.says_the_same_as(&state)) {
            self.changed |= self.nodes.len() <= DECIDE_AT_ONCE_NODES_MAX;
            self.decide_soon = true;
        }
        if !before.is_some_and(|before| before.is_placed_as(&state)) {
            self.distances = None;
        }
        if !before.is_some_and(|before| before.hosted().eq(state.hosted())) {
            self.names = None;
        }
        let node = Node {
            version: state.version,
            met: self.nodes.get(from).map_or(now, |node| node.met),
            heard: now,
            state: Some(state),
            lost: None,
        };
        self.nodes.insert(from.clone(), node);
        Ok(())
    }

    fn handle_peer_up(&mut self, _local: &Local, _now: Instant, id: &NodeId) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.lost = None;
        }
        self.publish_soon = true;
    }

    fn handle_peer_down(&mut self, now: Instant, id: &NodeId) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.state = None;
            node.lost = Some(now);
            self.distances = None;
            self.names = None;
            self.changed = true;
        }
    }

    fn handle_admitted(&mut self) {
        self.publish_soon = true;
    }

    fn handle_timeout(&mut self, local: &Local, now: Instant) {
        self.expire(local, now);
        let period = local.settings.period;
        if now < self.next_sample && now < self.next_period {
            return;
        }
        self.next_sample = next_after(self.next_sample, period / SAMPLES_PER_PERIOD, now);
        self.samples = self.samples.wrapping_add(1);
        if self.nodes.len() <= DECIDE_EACH_SAMPLE_NODES_MAX
            || self.samples.is_multiple_of(SAMPLES_PER_DECISION)
        {
            self.changed |= std::mem::take(&mut self.decide_soon);
        }
        let mut due = self.close_sample(local) || self.publish_soon;
        if now >= self.next_period {
            self.next_period = next_after(self.next_period, period, now);
            self.next_sample = now + period / SAMPLES_PER_PERIOD;
            self.close_period(local);
            due = true;
        }
        if due {
            self.publish(local, now);
        }
    }

    fn poll_timeout(&self) -> Instant {
        let expiries = self.nodes.values().filter_map(Node::stale_at);
        expiries
            .chain([self.next_period])
            .fold(self.next_sample, Instant::min)
    }

    fn poll_publish(&mut self) -> Option<Vec<u8>> {
        self.outbox.take()
    }

    fn poll_policy(&mut self, local: &Local) -> Option<Policy> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.decide_soon = false;
        let distances = self
            .distances
            .take()
            .unwrap_or_else(|| Distances::told(&self.live(local)));
        let names = self.take_names(local);
        let policy = self.policy(local, &names, &distances);
        (self.names, self.distances) = (Some(names), Some(distances));
        Some(policy)
    }

    fn demand_rps(&self, function: &FunctionName) -> f64 {
        self.meters.get(function).map_or(0.0, Meter::rate_rps)
    }

    fn reasons(&self, local: &Local, function: &FunctionName) -> Vec<String> {
        // All nodes decide from what this one has told, not from what it has measured since.
        let own = self
            .published
            .as_ref()
            .map(|state| ("this node".to_owned(), state));
        let states = self
            .nodes
            .iter()
            .filter_map(|(id, node)| Some((explanation::peer(id), node.state.as_ref()?)));
        let loads = own.into_iter().chain(states).filter_map(|(who, state)| {
            let load = state.functions.get(function)?;
            Some(explanation::load(&who, load.capacity_rps, load.demand_rps))
        });
        let lines: Vec<String> = loads.collect();
        if lines.is_empty() && local.functions.contains_key(function) {
            return vec!["this node has told nobody of it yet".to_owned()];
        }
        lines
    }

    fn scope(&self) -> &Scope {
        self.published.as_ref().map_or(&EVERYONE, |state| &state.scope)
    }

    fn known(&self) -> BTreeMap<NodeId, Known> {
        let live = self
            .nodes
            .iter()
            .filter_map(|(id, node)| Some((id, node.heard, node.state.as_ref()?)));
        live.map(|(id, heard, state)| (id.clone(), known(heard, state)))
            .collect()
    }
}

impl Node {
    fn stale_at(&self) -> Option<Instant> {
        self.state
            .as_ref()
            .map(|state| self.heard + state.period.mul_f64(STALE_PERIODS))
    }

    /// Checks whether a state of this version may replace what is known.
    fn check(&self, version: (u64, u64), now: Instant, hold: Duration) -> Result<(), Rejection> {
        if version <= self.version {
            return Err(Rejection::Outdated);
        }
        // What a lost node said last may still be on its way through others. A restarted one is new.
        let restarted = version.0 > self.version.0;
        match self.lost {
            Some(lost) if !restarted && now < lost + hold => Err(Rejection::SenderGone),
            _ => Ok(()),
        }
    }
}

fn known(heard: Instant, state: &NodeState) -> Known {
    let functions = state.functions.iter().map(|(name, function)| {
        let status = PeerFunctionStatus {
            capacity_rps: Some(function.capacity_rps),
            demand_rps: Some(function.demand_rps),
            offer_rps: None,
            service_time_p95_s: function.service_time_p95_s,
        };
        (name.clone(), status)
    });
    Known {
        service: state.service,
        heard,
        functions: functions.collect(),
    }
}
