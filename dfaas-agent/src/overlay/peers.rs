//! Which peers are connected, whether they still answer, and what the mind was told about them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

use super::OverlayEvent;
use crate::identity;

/// Answers that make a round-trip time: three seconds' worth.
const RTT_WINDOW: usize = 6;
/// Members remembered: many times a federation.
const MEMBERS_MAX: usize = 4096;
/// For how long several connections to one peer are kept: until both ends know of all.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// Round-trip times that differ by less are the same to whoever places load by them.
const RTT_STEP_MIN: Duration = Duration::from_micros(200);

/// The connected peers, and those whose loss is yet to be told.
#[derive(Default)]
pub(super) struct Peers {
    peers: BTreeMap<PeerId, Peer>,
    /// Who has joined the topic at any time.
    members_once: BTreeSet<PeerId>,
}

struct Peer {
    /// When it was connected.
    since: Instant,
    /// Whether it has joined the topic. Others are of the DHT alone, and of no interest to the mind.
    is_member: bool,
    connections: BTreeMap<ConnectionId, Connection>,
    rtts: VecDeque<Duration>,
    told: Told,
}

struct Connection {
    opened: Instant,
    dialled_by: Side,
    way: Way,
    /// When it last answered; `None` if it cannot.
    heard: Option<Instant>,
}

/// One of the ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Us,
    Peer,
}

/// How a connection gets to its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Direct,
    ThroughRelay,
}

/// What the mind believes about a peer.
#[derive(Clone, Copy)]
enum Told {
    Down,
    Up(Option<Duration>),
}

impl Peers {
    /// How many members are connected.
    pub(super) fn connected(&self) -> usize {
        self.peers.values().filter(|peer| peer.is_up()).count()
    }

    /// Whether `id` is connected.
    pub(super) fn is_connected(&self, id: &PeerId) -> bool {
        self.peers
            .get(id)
            .is_some_and(|peer| !peer.connections.is_empty())
    }

    /// Notes a new connection.
    pub(super) fn opened(
        &mut self,
        now: Instant,
        id: PeerId,
        connection: ConnectionId,
        (dialled_by, way): (Side, Way),
    ) {
        let peer = self.peers.entry(id).or_insert_with(|| Peer::new(now));
        if peer.connections.is_empty() {
            peer.since = now;
        }
        let state = Connection {
            opened: now,
            dialled_by,
            way,
            heard: Some(now),
        };
        peer.connections.insert(connection, state);
    }

    /// Notes who has joined the topic, of all that are connected.
    pub(super) fn joined(&mut self, members: &BTreeSet<PeerId>) {
        for (id, peer) in &mut self.peers {
            peer.is_member = members.contains(id);
            if peer.is_member && self.members_once.len() < MEMBERS_MAX {
                self.members_once.insert(*id);
            }
        }
    }

    /// Members that have been connected for so long and have not joined again. Gossip tells what it has joined on the first
    /// connection alone; where one end gave the last one up before the other, it takes the next one for a second.
    pub(super) fn lapsed(&self, now: Instant, at_most: Duration) -> Vec<PeerId> {
        let mut strangers = self.strangers(now, at_most);
        strangers.retain(|id| self.members_once.contains(id));
        strangers
    }

    /// Who has been connected for so long and has not joined.
    pub(super) fn strangers(&self, now: Instant, at_most: Duration) -> Vec<PeerId> {
        let overdue = |peer: &Peer| {
            let connected_for = now.saturating_duration_since(peer.since);
            !peer.is_member && !peer.connections.is_empty() && connected_for >= at_most
        };
        let strangers = self.peers.iter().filter(|(_, peer)| overdue(peer));
        strangers.map(|(id, _)| *id).collect()
    }

    /// Notes the end of a connection and says whether it was the last one to that peer.
    pub(super) fn closed(&mut self, id: &PeerId, connection: ConnectionId) -> bool {
        let Some(peer) = self.peers.get_mut(id) else {
            return false;
        };
        let known = peer.connections.remove(&connection).is_some();
        let last = known && peer.connections.is_empty();
        if last {
            peer.rtts.clear();
        }
        last
    }

    /// Notes that a connection answered after `rtt`.
    pub(super) fn answered(&mut self, now: Instant, id: &PeerId, connection: ConnectionId, rtt: Duration) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        if let Some(state) = peer.connections.get_mut(&connection) {
            state.heard = Some(now);
            peer.rtts.truncate(RTT_WINDOW - 1);
            peer.rtts.push_front(rtt);
        }
    }

    /// Notes that a connection cannot be pinged, and so must not be missed.
    pub(super) fn mute(&mut self, id: &PeerId, connection: ConnectionId) {
        let state = self
            .peers
            .get_mut(id)
            .and_then(|peer| peer.connections.get_mut(&connection));
        if let Some(state) = state {
            state.heard = None;
        }
    }

    /// Counts the silence of all connections from `now`, because we ourselves did not listen.
    pub(super) fn forgive(&mut self, now: Instant) {
        for peer in self.peers.values_mut() {
            for state in peer.connections.values_mut() {
                if let Some(heard) = &mut state.heard {
                    *heard = now;
                }
            }
        }
    }

    /// The connections that have been silent for so long.
    pub(super) fn silent(&self, now: Instant, at_most: Duration) -> Vec<(PeerId, ConnectionId)> {
        let mut silent = Vec::new();
        for (id, peer) in &self.peers {
            for (connection, state) in &peer.connections {
                if state
                    .heard
                    .is_some_and(|heard| now.saturating_duration_since(heard) >= at_most)
                {
                    silent.push((*id, *connection));
                }
            }
        }
        silent
    }

    /// The connections beside a better one that are ours to close, so that of any number one is left: the oldest of those
    /// that the end with the lesser identity dialled, or else the oldest; a direct one before any through a relay. Each end
    /// closes only what it dialled, so that two who do not see the same never close all.
    pub(super) fn surplus(&self, now: Instant, own: &PeerId) -> Vec<ConnectionId> {
        let several = self.peers.iter().filter(|(_, peer)| peer.connections.len() > 1);
        several
            .flat_map(|(id, peer)| peer.surplus(now, id < own))
            .collect()
    }

    /// Tells all that changed since the last time, as long as `tell` takes it; the rest is told another time.
    pub(super) fn report(&mut self, mut tell: impl FnMut(OverlayEvent) -> bool) {
        for (id, peer) in &mut self.peers {
            let Some(now) = peer.change() else {
                continue;
            };
            let id = identity::peer_name(*id);
            let event = match now {
                Told::Down => OverlayEvent::PeerDown { id },
                Told::Up(rtt) => OverlayEvent::PeerUp { id, rtt },
            };
            if !tell(event) {
                return;
            }
            peer.told = now;
        }
        self.peers
            .retain(|_, peer| !peer.connections.is_empty() || matches!(peer.told, Told::Up(_)));
    }
}

impl Peer {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            is_member: false,
            connections: BTreeMap::new(),
            rtts: VecDeque::new(),
            told: Told::Down,
        }
    }

    fn is_up(&self) -> bool {
        self.is_member && !self.connections.is_empty()
    }

    fn surplus(&self, now: Instant, yields_to_theirs: bool) -> Vec<ConnectionId> {
        let is_settled = |state: &Connection| now.saturating_duration_since(state.opened) >= SETTLED_AFTER;
        let settled = || self.connections.iter().filter(|(_, state)| is_settled(state));
        let has_direct = settled().any(|(_, state)| state.way == Way::Direct);
        let is_good = |state: &Connection| state.way == Way::Direct || !has_direct;
        let has_theirs = settled().any(|(_, state)| is_good(state) && state.dialled_by == Side::Peer);
        let ours = settled().filter(|(_, state)| state.dialled_by == Side::Us);
        let (mut good, bad): (Vec<_>, Vec<_>) = ours.partition(|(_, state)| is_good(state));
        good.sort_by_key(|(id, state)| (state.opened, **id));
        let kept = if yields_to_theirs && has_theirs { 0 } else { 1 };
        let surplus = bad.into_iter().chain(good.into_iter().skip(kept));
        surplus.map(|(id, _)| *id).collect()
    }

    /// The shortest of the last round trips: what the longer ones add is waiting for a busy processor.
    fn rtt(&self) -> Option<Duration> {
        self.rtts.iter().min().copied()
    }

    fn change(&self) -> Option<Told> {
        match (self.is_up(), self.told) {
            (false, Told::Down) => None,
            (false, Told::Up(_)) => Some(Told::Down),
            (true, Told::Down) => Some(Told::Up(self.rtt())),
            (true, Told::Up(told)) => differs(told, self.rtt()).then_some(Told::Up(self.rtt())),
        }
    }
}

/// Whether a round-trip time is news: the first one, or one that is more than a fifth off.
fn differs(told: Option<Duration>, rtt: Option<Duration>) -> bool {
    match (told, rtt) {
        (Some(told), Some(rtt)) => told.abs_diff(rtt) * 5 > told && told.abs_diff(rtt) >= RTT_STEP_MIN,
        (None, Some(_)) => true,
        (Some(_) | None, None) => false,
    }
}

#[cfg(test)]
mod tests;
