//! Tokens between nodes: each node draws one for each peer, which sends it with every request.
//!
//! A token is told to its peer only when this node's data plane accepts it, and the one before is accepted until the
//! next is drawn. So no request is refused while tokens change.
//!
//! Nothing is sent to where a peer says that it takes requests before a request with its token has been answered from there:
//! nobody else knows that token, so nobody can have others send requests to a third.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{self, Debug, Formatter};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::control::Output;
use crate::message::PEERS_MAX;
use crate::names::{FunctionName, NodeId};
use crate::policy::{Peer, Policy, Trust};
use crate::service_address::ServiceAddress;
use crate::settings::Settings;

/// A peer that does not take its token is told again after this time, then after twice as long.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// A node without the ability need not hear of it more often.
const RETRY_MAX: Duration = Duration::from_secs(64);
/// For so many rotations the old token is accepted of a peer that does not take the new one.
const PATIENCE: u32 = 2;
/// So many changes of its token a peer may tell at once, and then one a second: each costs a new policy.
const CHANGES_MAX: f64 = 4.0;
const CHANGES_PER_SECOND: f64 = 1.0;
const TOKEN_BYTES: usize = 16;

/// The secret that proves to one node who sent a request: 128 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token([u8; TOKEN_BYTES]);

/// A text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("text is not a token of {} hexadecimal digits", 2 * TOKEN_BYTES)]
pub struct NotAToken;

impl Token {
    /// Makes a token of random bytes.
    pub const fn new(random: [u8; TOKEN_BYTES]) -> Self {
        Self(random)
    }

    /// The token as it stands in a request.
    pub fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Debug for Token {
    /// Without the secret, which has no place in a log.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl TryFrom<String> for Token {
    type Error = NotAToken;

    fn try_from(text: String) -> Result<Self, NotAToken> {
        let is_lower_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 2 * TOKEN_BYTES || !text.bytes().all(|byte| is_lower_hex(&byte)) {
            return Err(NotAToken);
        }
        let number = u128::from_str_radix(&text, 16).map_err(|_| NotAToken)?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.text()
    }
}

impl Serialize for Token {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Which peers need no token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tokenless {
    /// None but these.
    Only(BTreeSet<NodeId>),
    /// All: an identity is enough, as among Go agents.
    All,
}

impl Default for Tokenless {
    fn default() -> Self {
        Self::Only(BTreeSet::new())
    }
}

impl Tokenless {
    pub(crate) fn includes(&self, peer: &NodeId) -> bool {
        match self {
            Self::Only(peers) => peers.contains(peer),
            Self::All => true,
        }
    }
}

/// The tokens of this node and its connected peers.
#[derive(Debug)]
pub(crate) struct Pairing {
    rotation: Duration,
    tokenless: Tokenless,
    /// Where this node itself takes requests.
    own: ServiceAddress,
    /// All, if the operator has not said whom.
    admitted: Option<BTreeSet<NodeId>>,
    /// Who was struck off while requests went between it and this node.
    struck: BTreeSet<NodeId>,
    pairs: BTreeMap<NodeId, Pair>,
    outbox: VecDeque<Output>,
    changed: bool,
}

/// The tokens between this node and a peer.
#[derive(Debug)]
struct Pair {
    /// What the peer may send: the newest, and the one before.
    ours: [Option<Token>; 2],
    /// What the peer wants to be sent.
    theirs: Option<Token>,
    /// What it wants to be sent since, if it has told that too soon.
    next: Option<Token>,
    changes: Changes,
    /// Where it says that it takes requests.
    service: Option<ServiceAddress>,
    proof: Proof,
    /// How long to wait after the next probe that is not answered.
    probe_again: Duration,
    delivery: Delivery,
    /// How long the next attempt to tell the newest token waits for an answer.
    retry: Duration,
    /// When to draw the next token, and when to forget the old one although the peer has not taken the newest.
    due: Instant,
}

/// How many more changes of a token are taken at once.
#[derive(Debug, Clone, Copy)]
struct Changes {
    left: f64,
    at: Instant,
}

/// Whether a peer is where it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// It has not been asked there.
    Missing,
    /// It is being asked.
    Awaited,
    /// It did not answer, and is asked again at this time.
    Refused(Instant),
    /// It answered as only it can.
    Given,
}

/// How far the newest token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    /// It is being drawn.
    Drawing,
    /// The data plane does not accept it yet.
    Entering,
    /// It was told, or is to be told, and is told again at this time.
    Telling(Instant),
    /// The peer has it.
    Taken,
}

impl Pairing {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            own: settings.service,
            rotation: settings.token_rotation,
            tokenless: settings.tokenless.clone(),
            admitted: None,
            struck: BTreeSet::new(),
            pairs: BTreeMap::new(),
            outbox: VecDeque::new(),
            changed: false,
        }
    }

    pub(crate) fn handle_peer_up(&mut self, now: Instant, id: &NodeId) {
        if self.pairs.contains_key(id) || self.pairs.len() >= PEERS_MAX {
            return;
        }
        let pair = Pair {
            ours: [None; 2],
            theirs: None,
            next: None,
            changes: Changes {
                left: CHANGES_MAX,
                at: now,
            },
            service: None,
            proof: Proof::Missing,
            probe_again: RETRY_MIN,
            delivery: Delivery::Drawing,
            retry: RETRY_MIN,
            due: now + self.rotation,
        };
        self.pairs.insert(id.clone(), pair);
        self.outbox.push_back(Output::DrawToken { peer: id.clone() });
    }

    pub(crate) fn handle_peer_down(&mut self, id: &NodeId) {
        self.changed |= self.pairs.remove(id).is_some();
    }

    /// Others are admitted than while `policy` was decided.
    pub(crate) fn handle_admitted(&mut self, peers: BTreeSet<NodeId>, policy: &Policy) {
        self.struck.extend(policy.peers.keys().cloned());
        self.struck.retain(|id| !peers.contains(id));
        self.pairs.retain(|id, _| peers.contains(id));
        self.admitted = Some(peers);
        self.changed = true;
    }

    /// A token that was asked for.
    pub(crate) fn handle_drawn(&mut self, now: Instant, peer: &NodeId, token: Token) {
        let Some(pair) = self.pairs.get_mut(peer) else {
            return;
        };
        if pair.delivery != Delivery::Drawing {
            return;
        }
        pair.ours = [Some(token), pair.ours[0]];
        pair.delivery = Delivery::Entering;
        pair.retry = RETRY_MIN;
        pair.due = now + self.rotation * PATIENCE;
        self.changed = true;
    }

    /// The data plane follows this policy.
    pub(crate) fn handle_in_force(&mut self, now: Instant, policy: &Policy) {
        for (id, pair) in &mut self.pairs {
            let is_in_force = |peer: &Peer| peer.trust.accepts == pair.ours;
            if pair.delivery == Delivery::Entering && policy.peers.get(id).is_some_and(is_in_force) {
                pair.delivery = Delivery::Telling(now);
            }
        }
        self.tell(now);
    }

    /// A peer told its token, and whether it has ours.
    pub(crate) fn handle_told(&mut self, now: Instant, from: &NodeId, token: Token, has_ours: bool) {
        let Some(pair) = self.pairs.get_mut(from) else {
            return;
        };
        pair.next = Some(token).filter(|_| pair.theirs != Some(token));
        self.changed |= pair.take_next(now);
        if !has_ours && pair.delivery == Delivery::Taken {
            // It has started anew.
            pair.delivery = Delivery::Telling(now);
            pair.retry = RETRY_MIN;
        }
        self.tell(now);
        self.probe();
    }

    /// A peer was asked where it says that it takes requests, and answered as only it can, or did not.
    pub(crate) fn handle_probed(
        &mut self,
        now: Instant,
        peer: &NodeId,
        service: ServiceAddress,
        is_there: bool,
    ) {
        let Some(pair) = self.pairs.get_mut(peer) else {
            return;
        };
        if pair.proof != Proof::Awaited || pair.service != Some(service) {
            return;
        }
        if is_there {
            pair.proof = Proof::Given;
            pair.probe_again = RETRY_MIN;
            self.changed = true;
        } else {
            pair.proof = Proof::Refused(now + pair.probe_again);
            pair.probe_again = (pair.probe_again * 2).min(RETRY_MAX);
        }
    }

    /// Takes note of where peers say that they take requests.
    pub(crate) fn note_services(&mut self, peers: &BTreeMap<NodeId, Peer>) {
        let mut is_new = false;
        for (id, peer) in peers {
            if let Some(pair) = self.pairs.get_mut(id)
                && pair.service != Some(peer.service)
            {
                pair.service = Some(peer.service);
                pair.proof = Proof::Missing;
                is_new = true;
            }
        }
        if is_new {
            self.probe();
        }
    }

    /// The peers to which requests may go.
    pub(crate) fn open(&self) -> impl Iterator<Item = &NodeId> {
        let pairs = self.pairs.iter();
        pairs
            .filter(|(id, pair)| self.obstacle(id, Some(pair)).is_none())
            .map(|(id, _)| id)
    }

    /// A peer has taken a token of ours.
    pub(crate) fn handle_taken(&mut self, now: Instant, by: &NodeId, token: Token) {
        let Some(pair) = self.pairs.get_mut(by) else {
            return;
        };
        if matches!(pair.delivery, Delivery::Telling(_)) && pair.ours[0] == Some(token) {
            pair.delivery = Delivery::Taken;
            pair.due = now + self.rotation;
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for (id, pair) in &mut self.pairs {
            self.changed |= pair.take_next(now);
            if matches!(pair.proof, Proof::Refused(at) if at <= now) {
                pair.proof = Proof::Missing;
            }
            if now < pair.due {
                continue;
            }
            pair.due = now + self.rotation;
            if pair.delivery == Delivery::Taken {
                pair.delivery = Delivery::Drawing;
                self.outbox.push_back(Output::DrawToken { peer: id.clone() });
            } else if pair.ours[1].take().is_some() {
                self.changed = true;
            }
        }
        self.tell(now);
        self.probe();
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.pairs.values().map(Pair::due).min()
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// Whether a policy made before would be another now; told once.
    pub(crate) fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Adds to a policy who has to prove what, and takes the routes out that lead to where nothing can be proven.
    pub(crate) fn apply(&self, policy: &mut Policy) {
        if let Some(admitted) = &self.admitted {
            let barred = policy.peers.extract_if(.., |id, _| !admitted.contains(id));
            policy.barred = barred.map(|(id, _)| id).collect();
            policy.barred.extend(self.struck.iter().cloned());
            for function in policy.functions.values_mut() {
                function.admit.retain(|id, _| admitted.contains(id));
            }
        }
        for (id, peer) in &mut policy.peers {
            let pair = self.pairs.get(id);
            peer.trust = Trust {
                sends: pair.and_then(|pair| pair.theirs),
                accepts: pair.map_or([None; 2], |pair| pair.ours),
                tokenless: self.tokenless.includes(id),
            };
        }
        let is_closed = |id: &NodeId, peer: &Peer| {
            // A peer without a token cannot be asked for a proof.
            self.own.meets(&peer.service) || self.obstacle(id, self.pairs.get(id)).is_some()
        };
        let closed = policy.peers.iter().filter(|(id, peer)| is_closed(id, peer));
        let closed = closed.map(|(id, _)| id);
        // Mostly there are none, and routes of thousands of peers need no look.
        let closed: Vec<&NodeId> = closed.chain(&policy.barred).collect();
        for function in policy.functions.values_mut() {
            let before = function.routes.len();
            for &id in &closed {
                function.routes.remove(id);
            }
            if function.routes.len() < before {
                function.level_weights();
            }
        }
    }

    /// Why nothing is sent to peers that a strategy has chosen for a function.
    pub(crate) fn reasons(&self, decided: &Policy, function: &FunctionName) -> Vec<String> {
        let routes = decided.functions.get(function).map(|policy| &policy.routes);
        let chosen = routes.into_iter().flat_map(BTreeMap::keys);
        let reason = |id: &NodeId| {
            let is_admitted = self.admitted.as_ref().is_none_or(|ids| ids.contains(id));
            let service = decided.peers.get(id).map(|peer| peer.service);
            if !is_admitted {
                Some(format!("peer {id} is not admitted"))
            } else if let Some(service) = service.filter(|service| self.own.meets(service)) {
                Some(format!(
                    "peer {id} tells {service}, which is this node's own address"
                ))
            } else {
                let obstacle = self.obstacle(id, self.pairs.get(id))?;
                Some(format!("peer {id} {obstacle}"))
            }
        };
        chosen.filter_map(reason).collect()
    }

    /// Why nothing can be sent to a peer, if that is so.
    fn obstacle(&self, id: &NodeId, pair: Option<&Pair>) -> Option<String> {
        if self.tokenless.includes(id) {
            return None;
        }
        let Some(pair) = pair.filter(|pair| pair.theirs.is_some()) else {
            return Some("has told no token yet, and would refuse".to_owned());
        };
        let service = pair.service?;
        match pair.proof {
            _ if self.own.meets(&service) => {
                Some(format!("tells {service}, which is this node's own address"))
            }
            Proof::Given => None,
            Proof::Missing | Proof::Awaited => {
                Some(format!("is being asked at {service} whether it is there"))
            }
            Proof::Refused(_) => Some(format!(
                "does not answer at {service}, where it says that it takes requests"
            )),
        }
    }

    /// Asks peers where they say that they take requests, if they have not been asked.
    fn probe(&mut self) {
        for (id, pair) in &mut self.pairs {
            let (Proof::Missing, Some(token), Some(service)) = (pair.proof, pair.theirs, pair.service) else {
                continue;
            };
            if self.own.meets(&service) || self.tokenless.includes(id) {
                continue;
            }
            pair.proof = Proof::Awaited;
            self.outbox.push_back(Output::Probe {
                peer: id.clone(),
                service,
                token,
            });
        }
    }

    /// Tells the tokens that are due.
    fn tell(&mut self, now: Instant) {
        for (id, pair) in &mut self.pairs {
            let (Delivery::Telling(at), Some(token)) = (pair.delivery, pair.ours[0]) else {
                continue;
            };
            if now < at {
                continue;
            }
            pair.delivery = Delivery::Telling(now + pair.retry);
            pair.retry = (pair.retry * 2).min(RETRY_MAX);
            self.outbox.push_back(Output::SendToken {
                to: id.clone(),
                token,
                has_theirs: pair.theirs.is_some(),
            });
        }
    }
}

impl Pair {
    /// When something is to be done.
    fn due(&self) -> Instant {
        let delivery = match self.delivery {
            Delivery::Telling(at) => at.min(self.due),
            Delivery::Drawing | Delivery::Entering | Delivery::Taken => self.due,
        };
        let change = self.next.map(|_| self.changes.possible_at());
        let probe = match self.proof {
            Proof::Refused(at) => Some(at),
            Proof::Missing | Proof::Awaited | Proof::Given => None,
        };
        [change, probe].into_iter().flatten().fold(delivery, Instant::min)
    }

    /// Takes the token that the peer told last, if it has not changed it too often.
    fn take_next(&mut self, now: Instant) -> bool {
        let Some(token) = self.next.filter(|_| self.changes.take(now)) else {
            return false;
        };
        (self.theirs, self.next) = (Some(token), None);
        true
    }
}

impl Changes {
    fn take(&mut self, now: Instant) -> bool {
        let waited = now.saturating_duration_since(self.at).as_secs_f64();
        let left = (self.left + waited * CHANGES_PER_SECOND).min(CHANGES_MAX);
        let may = left >= 1.0;
        if may {
            *self = Self {
                left: left - 1.0,
                at: now,
            };
        }
        may
    }

    fn possible_at(&self) -> Instant {
        // Rounded up, so that there is a whole one then.
        let missing_s = (1.0 - self.left).max(0.0) / CHANGES_PER_SECOND;
        self.at + Duration::from_secs_f64(missing_s) + Duration::from_micros(1)
    }
}

#[cfg(test)]
mod tests;
