//! Tokens between nodes: each node draws one for each peer, which sends it with every request.
//!
//! A token is told to its peer only when this node's data plane accepts it, and the one before is accepted until the
//! next is drawn. So no request is refused while tokens change.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{self, Debug, Formatter};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::control::Output;
use crate::message::PEERS_MAX;
use crate::names::{FunctionName, NodeId};
use crate::policy::{Peer, Policy, Trust};
use crate::settings::Settings;

/// A peer that does not take its token is told again after this time, then after twice as long.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// A node without the ability need not hear of it more often.
const RETRY_MAX: Duration = Duration::from_secs(64);
/// For so many rotations the old token is accepted of a peer that does not take the new one.
const PATIENCE: u32 = 2;
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
    fn includes(&self, peer: &NodeId) -> bool {
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
    delivery: Delivery,
    /// How long the next attempt to tell the newest token waits for an answer.
    retry: Duration,
    /// When to draw the next token, and when to forget the old one although the peer has not taken the newest.
    due: Instant,
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
        if pair.theirs != Some(token) {
            pair.theirs = Some(token);
            self.changed = true;
        }
        if !has_ours && pair.delivery == Delivery::Taken {
            // It has started anew.
            pair.delivery = Delivery::Telling(now);
            pair.retry = RETRY_MIN;
        }
        self.tell(now);
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
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let next = |pair: &Pair| match pair.delivery {
            Delivery::Telling(at) => at.min(pair.due),
            Delivery::Drawing | Delivery::Entering | Delivery::Taken => pair.due,
        };
        self.pairs.values().map(next).min()
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
        let is_closed = |peer: &Peer| !peer.trust.tokenless && peer.trust.sends.is_none();
        let closed = policy
            .peers
            .iter()
            .filter(|(_, peer)| is_closed(peer))
            .map(|(id, _)| id);
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
            let has_told = self.pairs.get(id).is_some_and(|pair| pair.theirs.is_some());
            if !is_admitted {
                Some(format!("peer {id} is not admitted"))
            } else if !has_told && !self.tokenless.includes(id) {
                Some(format!("peer {id} has told no token yet, and would refuse"))
            } else {
                None
            }
        };
        chosen.filter_map(reason).collect()
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

#[cfg(test)]
mod tests;
