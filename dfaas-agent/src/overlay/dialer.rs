//! Whom to dial and when: the bootstrap addresses for ever, peers once met for a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};

const DELAY_MIN: Duration = Duration::from_millis(250);
/// A connection that lasted so long was a good one: its peer is dialled at once when it is lost.
const STABLE_AFTER: Duration = Duration::from_secs(5);
/// A lost peer that is not in the bootstrap list is given up after so long. It may still dial us.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Peers remembered beside the bootstrap list: more than the thousand that a node keeps, and some 400 KiB.
const MET_MAX: usize = 2048;
/// Addresses remembered per peer; a host has a few interfaces, each with TCP and QUIC.
const ADDRESSES_MAX: usize = 16;

/// The addresses of all known peers, each with its back-off.
pub(super) struct Dialer {
    bootstrap: Vec<Target>,
    met: BTreeMap<PeerId, Target>,
    delay_max: Duration,
}

/// Somebody to be connected to.
struct Target {
    addresses: Vec<Multiaddr>,
    /// The identity demanded by the address.
    wanted: Option<PeerId>,
    /// Who answered last, or who must.
    peer: Option<PeerId>,
    due: Instant,
    delay: Duration,
    dialling: Option<ConnectionId>,
    opened: Option<Instant>,
    lost: Instant,
}

impl Dialer {
    /// Starts with the bootstrap list, due at once. Nobody waits longer than `delay_max` for the next attempt.
    pub(super) fn new(now: Instant, bootstrap: &[Multiaddr], delay_max: Duration) -> Self {
        let target = |address: &Multiaddr| Target::new(now, vec![address.clone()], named_peer(address));
        Self {
            bootstrap: bootstrap.iter().map(target).collect(),
            met: BTreeMap::new(),
            delay_max,
        }
    }

    /// Remembers where `peer` can be reached; one that is new is dialled at once unless connected.
    pub(super) fn learn(
        &mut self,
        now: Instant,
        peer: PeerId,
        addresses: impl IntoIterator<Item = Multiaddr>,
    ) {
        if self.met.len() >= MET_MAX && !self.met.contains_key(&peer) {
            return;
        }
        let target = self
            .met
            .entry(peer)
            .or_insert_with(|| Target::new(now, Vec::new(), Some(peer)));
        for address in addresses {
            for known in &mut self.bootstrap {
                if known.peer.is_none() && known.addresses.contains(&address) {
                    known.peer = Some(peer);
                }
            }
            if !target.addresses.contains(&address) {
                target.addresses.insert(0, address);
            }
        }
        target.addresses.truncate(ADDRESSES_MAX);
    }

    /// The dials to make now.
    pub(super) fn due(&mut self, now: Instant, is_connected: impl Fn(&PeerId) -> bool) -> Vec<DialOpts> {
        self.met.retain(|peer, target| {
            target.dialling.is_some()
                || is_connected(peer)
                || now.saturating_duration_since(target.lost) < FORGET_AFTER
        });
        let mut busy: Vec<PeerId> = self
            .targets()
            .filter(|t| t.dialling.is_some())
            .filter_map(|t| t.peer)
            .collect();
        let mut dials = Vec::new();
        for target in self.targets() {
            let reached = target
                .peer
                .is_some_and(|peer| is_connected(&peer) || busy.contains(&peer));
            let idle = target.dialling.is_none() && !target.addresses.is_empty();
            if idle && !reached && target.due <= now {
                dials.push(target.dial());
                busy.extend(target.peer);
            }
        }
        dials
    }

    /// Notes that `connection` to `peer` is open.
    pub(super) fn opened(&mut self, now: Instant, peer: PeerId, connection: ConnectionId) {
        for target in self.targets() {
            if target.dialling == Some(connection) {
                target.dialling = None;
                target.peer = Some(peer);
            }
            if target.peer == Some(peer) {
                target.opened.get_or_insert(now);
            }
        }
    }

    /// Notes that the last connection to `peer` is gone.
    pub(super) fn lost(&mut self, now: Instant, peer: PeerId) {
        let delay_max = self.delay_max;
        for target in self.targets().filter(|target| target.peer == Some(peer)) {
            let lasted = target
                .opened
                .take()
                .map(|opened| now.saturating_duration_since(opened));
            if lasted.is_some_and(|lasted| lasted >= STABLE_AFTER) {
                target.delay = DELAY_MIN;
            }
            target.lost = now;
            target.back_off(now, delay_max);
        }
    }

    /// Notes that a dial came to nothing. Says which addresses, the first time in a row for one of the bootstrap list.
    pub(super) fn failed(&mut self, now: Instant, connection: ConnectionId) -> Option<&[Multiaddr]> {
        let (bootstrap, delay_max) = (self.bootstrap.len(), self.delay_max);
        let (index, target) = self
            .targets()
            .enumerate()
            .find(|(_, target)| target.dialling == Some(connection))?;
        let first = target.delay == DELAY_MIN;
        target.dialling = None;
        target.peer = target.wanted;
        target.back_off(now, delay_max);
        (first && index < bootstrap).then_some(&target.addresses)
    }

    /// Forgets the target of a dial that would reach or reached ourselves.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.bootstrap
            .retain(|target| target.dialling != Some(connection));
        self.met.retain(|_, target| target.dialling != Some(connection));
    }

    /// Forgets where somebody is who turned out to be of no interest, and says whether he may be sent away: who is in
    /// the bootstrap list may stay, since he knows others.
    pub(super) fn forget_stranger(&mut self, peer: &PeerId) -> bool {
        self.met.remove(peer);
        !self.bootstrap.iter().any(|target| target.peer == Some(*peer))
    }

    fn targets(&mut self) -> impl Iterator<Item = &mut Target> {
        self.bootstrap.iter_mut().chain(self.met.values_mut())
    }
}

impl Target {
    fn new(now: Instant, addresses: Vec<Multiaddr>, wanted: Option<PeerId>) -> Self {
        Self {
            addresses,
            wanted,
            peer: wanted,
            due: now,
            delay: DELAY_MIN,
            dialling: None,
            opened: None,
            lost: now,
        }
    }

    /// A new local port each time: the port of a cut connection stays taken until the kernel gives it up, and an agent
    /// that finds itself in its bootstrap list would connect a socket to itself.
    fn dial(&mut self) -> DialOpts {
        let dial = match (self.wanted, self.addresses.first()) {
            (None, Some(address)) => DialOpts::unknown_peer_id()
                .address(address.clone())
                .allocate_new_port()
                .build(),
            (Some(peer), _) => DialOpts::peer_id(peer)
                .condition(PeerCondition::Always)
                .addresses(self.addresses.clone())
                .allocate_new_port()
                .build(),
            (None, None) => {
                unreachable!("a target without a peer is of the bootstrap list and has an address")
            }
        };
        self.dialling = Some(dial.connection_id());
        dial
    }

    fn back_off(&mut self, now: Instant, delay_max: Duration) {
        self.due = now + self.delay;
        self.delay = (self.delay * 2).min(delay_max);
    }
}

/// The peer that the `/p2p/ID` at the end of an address names.
fn named_peer(address: &Multiaddr) -> Option<PeerId> {
    let Protocol::P2p(peer) = address.iter().last()? else {
        return None;
    };
    Some(peer)
}

#[cfg(test)]
mod tests;
