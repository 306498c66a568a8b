//! The core that a shell drives: inputs and time go in, messages and policies come out.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::counters::Counters;
use crate::explanation::{self, Explanation};
use crate::function_spec::FunctionSpec;
use crate::lineup::{Lineup, Seat, SwitchError};
use crate::message::{PEERS_MAX, Rejection, is_rate};
use crate::names::{FunctionName, NodeId};
use crate::neighbourhood::Scope;
use crate::node_usage::NodeUsage;
use crate::pairing::{Pairing, Token};
use crate::policy::Policy;
use crate::service_address::ServiceAddress;
use crate::settings::Settings;
use crate::status::{FunctionStatus, PeerStatus, ShadowStatus, Status};
use crate::strategy::{Local, StrategyKind};
use crate::text;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// The data plane was read.
    Counters(Counters),
    /// The platform listed its functions: all of them.
    Functions(BTreeMap<FunctionName, FunctionSpec>),
    /// A message arrived.
    Message {
        /// Its signed origin.
        from: NodeId,
        /// Its bytes.
        #[serde(with = "text")]
        body: Vec<u8>,
    },
    /// What this node uses was measured.
    Usage(NodeUsage),
    /// The service that a strategy asked has answered, or has not in time.
    Answer {
        /// The strategy that asked.
        strategy: StrategyKind,
        /// The answer.
        #[serde(with = "text::option")]
        body: Option<Vec<u8>>,
    },
    /// There is a connection to a peer, or its round-trip time was measured.
    PeerUp {
        /// The peer.
        id: NodeId,
        /// The round-trip time, once measured.
        rtt: Option<Duration>,
    },
    /// The last connection to a peer is gone.
    PeerDown {
        /// The peer.
        id: NodeId,
    },
    /// A token was drawn for a peer, as [`Output::DrawToken`] asked for.
    TokenDrawn {
        /// The peer.
        peer: NodeId,
        /// What only this node and the peer are to know.
        token: Token,
    },
    /// A peer told what it wants to be sent with requests.
    TokenTold {
        /// The peer, which has proven that it is.
        from: NodeId,
        /// Its token for this node.
        token: Token,
        /// Whether it has a token of this node.
        has_ours: bool,
    },
    /// A peer has taken a token of [`Output::SendToken`].
    TokenTaken {
        /// The peer.
        by: NodeId,
        /// The token.
        token: Token,
    },
    /// A peer was asked as [`Output::Probe`] wanted.
    Probed {
        /// The peer.
        peer: NodeId,
        /// Where it was asked.
        service: ServiceAddress,
        /// Whether it answered as only a node does that knows the token.
        is_there: bool,
    },
    /// The operator admits these peers and no others. Without such a word, all are admitted.
    Admitted(BTreeSet<NodeId>),
    /// The data plane, all of it, follows the last policy of [`Output::Apply`].
    InForce,
    /// How long ago 1970 began. Feed it at the start, and from time to time: Recalc acts at multiples of the period, when
    /// the Go agents do. Without it, the period begins with this node.
    Clock(Duration),
}

impl Input {
    /// The same with tokens that open nothing. What is decided about requests does not depend on which tokens they are.
    #[must_use]
    pub fn without_secrets(mut self) -> Self {
        match &mut self {
            Self::TokenDrawn { token, .. }
            | Self::TokenTold { token, .. }
            | Self::TokenTaken { token, .. } => {
                *token = Token::new(Default::default());
            }
            Self::Counters(_)
            | Self::Functions(_)
            | Self::Message { .. }
            | Self::Usage(_)
            | Self::Answer { .. }
            | Self::PeerUp { .. }
            | Self::PeerDown { .. }
            | Self::Probed { .. }
            | Self::Admitted(_)
            | Self::InForce
            | Self::Clock(_) => {}
        }
        self
    }
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Output {
    /// Send these bytes to all peers.
    Publish(Vec<u8>),
    /// Ask the service that a strategy consults, and feed one [`Input::Answer`] for it.
    Ask {
        /// The strategy.
        strategy: StrategyKind,
        /// The question.
        body: Vec<u8>,
    },
    /// Make the data plane follow this policy instead of the one before, and say so with [`Input::InForce`].
    Apply(Arc<Policy>),
    /// Draw 128 bits at random and feed them as [`Input::TokenDrawn`].
    DrawToken {
        /// The peer that they are for.
        peer: NodeId,
    },
    /// Tell a connected peer its token, so that nobody else hears it.
    SendToken {
        /// The peer.
        to: NodeId,
        /// The token.
        token: Token,
        /// Whether there is a token of the peer; if not, the peer tells it.
        has_theirs: bool,
    },
    /// Ask for `/` where a peer says that it takes requests, as a node would that forwards a request, and feed one
    /// [`Input::Probed`] for it.
    Probe {
        /// The peer.
        peer: NodeId,
        /// Where to ask.
        service: ServiceAddress,
        /// What to send along.
        token: Token,
    },
}

/// The mind of a node.
///
/// Its shell does this for ever:
///
/// 1. Wait for something to happen, or until [`Control::poll_timeout`].
/// 2. If it is time, read the data plane, feed [`Input::Counters`] and call [`Control::handle_timeout`]. Counters may
///    be fed at any other time too; what matters is that each request is told once and that `elapsed` adds up.
/// 3. If something happened, feed it by [`Control::handle_input`].
/// 4. Drain [`Control::poll_output`]. Decisions are made there, so feeding many inputs before draining costs one
///    decision.
#[derive(Debug)]
pub struct Control {
    local: Local,
    lineup: Lineup,
    pairing: Pairing,
    /// Who is connected and not admitted. None of it reaches a strategy.
    waiting: BTreeMap<NodeId, Option<Duration>>,
    /// The policy in force.
    policy: Arc<Policy>,
    accepted: u64,
    rejected: BTreeMap<Rejection, u64>,
}

impl Control {
    /// Makes the mind of a node that hosts nothing and knows nobody yet.
    ///
    /// # Panics
    ///
    /// Panics if [`Settings::errors`] is not empty: the shell must have checked.
    pub fn new(settings: Settings, now: Instant) -> Self {
        assert!(
            settings.errors().is_empty(),
            "settings were not checked: {settings:?}"
        );
        let local = Local {
            settings,
            functions: BTreeMap::new(),
            connected: BTreeMap::new(),
            admitted: Scope::default(),
            open: BTreeSet::new(),
        };
        Self {
            pairing: Pairing::new(&local.settings),
            lineup: Lineup::new(&local, now),
            local,
            waiting: BTreeMap::new(),
            policy: Arc::default(),
            accepted: 0,
            rejected: BTreeMap::new(),
        }
    }

    /// Begins to replace the strategy. Nothing is lost meanwhile: the new one first learns and tells beside the old one,
    /// and takes over some periods later.
    ///
    /// # Errors
    ///
    /// Fails while the strategy is being replaced already.
    pub fn switch(&mut self, now: Instant, strategy: StrategyKind) -> Result<(), SwitchError> {
        self.lineup.switch(&mut self.local, now, strategy)
    }

    /// The strategy whose decisions are in force.
    pub fn strategy(&self) -> StrategyKind {
        self.lineup.acting.kind
    }

    /// Feeds one input. Drain [`Control::poll_output`] afterwards.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Counters(counters) => self.lineup.handle_counters(&counters),
            Input::Usage(usage) => self.lineup.handle_usage(&usage),
            Input::Answer { strategy, body } => {
                self.lineup.handle_answer(&self.local, strategy, body.as_deref());
            }
            Input::Functions(functions) => self.handle_functions(now, functions),
            Input::Message { from, body } => self.handle_message(now, &from, &body),
            Input::PeerUp { id, rtt } => self.handle_peer_up(now, id, rtt),
            Input::PeerDown { id } => self.handle_peer_down(now, &id),
            Input::TokenDrawn { peer, token } => self.pairing.handle_drawn(now, &peer, token),
            Input::TokenTold {
                from,
                token,
                has_ours,
            } => {
                self.pairing.handle_told(now, &from, token, has_ours);
            }
            Input::TokenTaken { by, token } => self.pairing.handle_taken(now, &by, token),
            Input::Probed {
                peer,
                service,
                is_there,
            } => self.pairing.handle_probed(now, &peer, service, is_there),
            Input::Admitted(peers) => self.handle_admitted(now, peers),
            Input::InForce => self.pairing.handle_in_force(now, &self.policy),
            Input::Clock(since_1970) => self.lineup.handle_clock(&self.local, now, since_1970),
        }
    }

    /// Tells that time has passed. Harmless if called early.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.pairing.handle_timeout(now);
        self.local.open = self.pairing.open().cloned().collect();
        self.lineup.handle_timeout(&mut self.local, now);
    }

    /// When to call [`Control::handle_timeout`] next. Water-filling asks for it ten times a period, to see a surge
    /// before the period ends; fed less often, it only reacts later.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let lineup = self.lineup.poll_timeout();
        let pairing = self.pairing.poll_timeout();
        Some(pairing.map_or(lineup, |at| at.min(lineup)))
    }

    /// The next thing to do, if there is any.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(body) = self.lineup.poll_publish() {
            return Some(Output::Publish(body));
        }
        if let Some((strategy, body)) = self.lineup.poll_question() {
            return Some(Output::Ask { strategy, body });
        }
        if let Some(output) = self.pairing.poll_output() {
            return Some(output);
        }
        let is_decided = self.lineup.poll_decision(&self.local);
        if !self.pairing.take_change() && !is_decided {
            return None;
        }
        let mut policy = self.lineup.decided();
        self.pairing.note_services(&policy.peers);
        self.pairing.apply(&mut policy);
        if policy == *self.policy {
            return self.pairing.poll_output();
        }
        self.policy = Arc::new(policy);
        Some(Output::Apply(Arc::clone(&self.policy)))
    }

    /// Why requests for a function go where they go; nothing if no node is known to run it.
    pub fn explain(&self, function: &FunctionName) -> Option<Explanation> {
        let policy = self.policy.functions.get(function)?;
        let mut because = self.lineup.acting.strategy.reasons(&self.local, function);
        because.extend(self.neighbours_reason());
        because.extend(self.lineup.handover_reason());
        because.extend(self.pairing.reasons(&self.lineup.decided(), function));
        Some(Explanation {
            function: function.clone(),
            strategy: self.lineup.acting.kind,
            because,
            therefore: explanation::decisions(policy),
        })
    }

    /// What the node thinks.
    pub fn status(&self, now: Instant) -> Status {
        let settings = &self.local.settings;
        Status {
            node: settings.node.clone(),
            incarnation: settings.incarnation,
            service: settings.service,
            strategy: settings.strategy,
            coming: self.lineup.coming(),
            shadow: self.shadow(),
            neighbours: self.lineup.acting.strategy.scope().clone(),
            period_s: settings.period.as_secs_f64(),
            functions: self.function_statuses(&self.policy, &self.lineup.acting),
            peers: self.peer_statuses(now),
            accepted: self.accepted,
            rejected: self.rejected.clone(),
        }
    }

    fn handle_functions(&mut self, now: Instant, mut functions: BTreeMap<FunctionName, FunctionSpec>) {
        // Whoever builds a spec by hand must not make peers reject all this node says.
        for spec in functions.values_mut().filter(|spec| !is_rate(spec.capacity_rps)) {
            spec.capacity_rps = 0.0;
        }
        if functions != self.local.functions {
            self.local.functions = functions;
            self.lineup.handle_functions(&self.local, now);
        }
    }

    fn handle_message(&mut self, now: Instant, from: &NodeId, body: &[u8]) {
        let result = if *from == self.local.settings.node {
            Err(Rejection::OwnMessage)
        } else if !self.local.admitted.includes(from) {
            Err(Rejection::NotAdmitted)
        } else {
            self.lineup.handle_message(&self.local, now, from, body)
        };
        match result {
            Ok(()) => self.accepted += 1,
            Err(rejection) => *self.rejected.entry(rejection).or_insert(0) += 1,
        }
    }

    fn handle_peer_up(&mut self, now: Instant, id: NodeId, rtt: Option<Duration>) {
        if id == self.local.settings.node {
            return;
        }
        if !self.local.admitted.includes(&id) {
            if self.waiting.len() < PEERS_MAX || self.waiting.contains_key(&id) {
                self.waiting.insert(id, rtt);
            }
            return;
        }
        let full = self.local.connected.len() >= PEERS_MAX;
        match self.local.connected.entry(id.clone()) {
            Entry::Occupied(mut link) => {
                let before = *link.get();
                link.insert(rtt.or(before));
            }
            // Its messages count all the same; only its latency stays unknown.
            Entry::Vacant(_) if full => {}
            Entry::Vacant(link) => {
                link.insert(rtt);
                self.lineup.handle_peer_up(&self.local, now, &id);
                self.pairing.handle_peer_up(now, &id);
            }
        }
    }

    /// Forgets who is not admitted any more, and meets those that are now.
    fn handle_admitted(&mut self, now: Instant, peers: BTreeSet<NodeId>) {
        self.local.admitted = peers.iter().cloned().collect();
        let struck = self.local.connected.extract_if(.., |id, _| !peers.contains(id));
        let struck: Vec<(NodeId, Option<Duration>)> = struck.collect();
        for (id, _) in &struck {
            self.handle_peer_down(now, id);
        }
        for id in self.lineup.known().iter().filter(|id| !peers.contains(id)) {
            self.lineup.handle_peer_down(now, id);
        }
        let met: Vec<_> = self.waiting.extract_if(.., |id, _| peers.contains(id)).collect();
        self.waiting.extend(struck);
        self.pairing.handle_admitted(peers, &self.policy);
        for (id, rtt) in met {
            self.handle_peer_up(now, id, rtt);
        }
        self.lineup.handle_admitted();
    }

    fn handle_peer_down(&mut self, now: Instant, id: &NodeId) {
        self.waiting.remove(id);
        self.local.connected.remove(id);
        self.lineup.handle_peer_down(now, id);
        self.pairing.handle_peer_down(id);
    }

    fn neighbours_reason(&self) -> Option<String> {
        let scope = self.lineup.acting.strategy.scope();
        (!scope.is_everyone()).then(|| format!("this node sends to its neighbours only, which are {scope}"))
    }

    fn shadow(&self) -> Option<ShadowStatus> {
        let shadow = self.lineup.shadow.as_ref()?;
        Some(ShadowStatus {
            strategy: shadow.kind,
            functions: self.function_statuses(&shadow.policy, shadow),
        })
    }

    fn function_statuses(&self, policy: &Policy, seat: &Seat) -> BTreeMap<FunctionName, FunctionStatus> {
        let statuses = policy.functions.iter().map(|(name, policy)| {
            let status = FunctionStatus {
                hosted: policy.hosted,
                capacity_rps: self
                    .local
                    .functions
                    .get(name)
                    .map_or(0.0, |spec| spec.capacity_rps),
                demand_rps: seat.strategy.demand_rps(name),
                local_rps: policy.local_rps,
                here: policy.here,
                routes: policy.routes.clone(),
                admit: policy.admit.clone(),
            };
            (name.clone(), status)
        });
        statuses.collect()
    }

    fn peer_statuses(&self, now: Instant) -> BTreeMap<NodeId, PeerStatus> {
        let mut peers: BTreeMap<NodeId, PeerStatus> = BTreeMap::new();
        for (id, rtt) in &self.local.connected {
            let peer = peers.entry(id.clone()).or_default();
            peer.connected = true;
            peer.rtt_ms = rtt.map(|rtt| rtt.as_secs_f64() * 1e3);
        }
        for (id, known) in self.lineup.acting.strategy.known() {
            let peer = peers.entry(id).or_default();
            peer.service = Some(known.service);
            peer.age_s = Some(now.saturating_duration_since(known.heard).as_secs_f64());
            peer.functions = known.functions;
        }
        let scope = self.lineup.acting.strategy.scope();
        for (id, peer) in &mut peers {
            peer.neighbour = scope.includes(id);
        }
        peers
    }
}

#[cfg(test)]
mod tests;
