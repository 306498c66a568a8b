//! How a node that cannot be reached from outside is reached all the same: through relays.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::relay::HOP_PROTOCOL_NAME;
use libp2p::{Multiaddr, PeerId, StreamProtocol};

/// Relays used at a time: one may fail.
const RELAYS_MAX: usize = 2;
/// A relay that refused or failed is asked again after so long.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Which relays there are, and which are used.
pub(super) struct Reach {
    needs_relays: bool,
    /// Where connected nodes are that carry connections for others.
    relays: BTreeMap<PeerId, Multiaddr>,
    used: BTreeMap<PeerId, ListenerId>,
    /// When to ask those again that failed.
    retries: BTreeMap<PeerId, Instant>,
}

impl Reach {
    pub(super) fn new(needs_relays: bool) -> Self {
        Self {
            needs_relays,
            relays: BTreeMap::new(),
            used: BTreeMap::new(),
            retries: BTreeMap::new(),
        }
    }

    /// Notes whether this node can be reached from outside.
    pub(super) fn set_needs_relays(&mut self, needs_relays: bool) {
        self.needs_relays = needs_relays;
    }

    /// Notes a connected node, which may be a relay.
    pub(super) fn meet(&mut self, peer: PeerId, protocols: &[StreamProtocol], addresses: &[Multiaddr]) {
        let direct = addresses.iter().find(|address| !is_relayed(address));
        match direct {
            Some(address) if protocols.contains(&HOP_PROTOCOL_NAME) => {
                self.relays.insert(peer, address.clone());
            }
            Some(_) | None => drop(self.relays.remove(&peer)),
        }
    }

    /// Notes that a node is not connected any more.
    pub(super) fn lose(&mut self, peer: &PeerId) {
        self.relays.remove(peer);
    }

    /// The addresses to listen on now, each at a relay; [`Reach::used`] or [`Reach::failed`] has to follow.
    pub(super) fn due(&self, now: Instant) -> Vec<(PeerId, Multiaddr)> {
        if !self.needs_relays {
            return Vec::new();
        }
        let is_due = |relay: &PeerId| self.retries.get(relay).is_none_or(|retry| *retry <= now);
        let idle = self
            .relays
            .iter()
            .filter(|(relay, _)| !self.used.contains_key(relay) && is_due(relay));
        let room = RELAYS_MAX.saturating_sub(self.used.len());
        let circuit = |(relay, address): (&PeerId, &Multiaddr)| (*relay, circuit(address, *relay));
        idle.take(room).map(circuit).collect()
    }

    /// Notes that a relay is listened at.
    pub(super) fn used(&mut self, relay: PeerId, listener: ListenerId) {
        self.used.insert(relay, listener);
    }

    /// Notes that a relay cannot be listened at for now.
    pub(super) fn failed(&mut self, now: Instant, relay: PeerId) {
        self.retries.insert(relay, now + RETRY_AFTER);
    }

    /// Notes the end of a listener, which may have been at a relay.
    pub(super) fn closed(&mut self, now: Instant, listener: ListenerId) {
        let ended: BTreeSet<PeerId> = self
            .used
            .iter()
            .filter(|(_, used)| **used == listener)
            .map(|(relay, _)| *relay)
            .collect();
        for relay in ended {
            self.used.remove(&relay);
            self.failed(now, relay);
        }
    }
}

/// Whether an address leads through a relay.
pub(super) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|protocol| protocol == Protocol::P2pCircuit)
}

/// The address at a relay where others reach who listens there.
fn circuit(address: &Multiaddr, relay: PeerId) -> Multiaddr {
    let is_identity = |protocol: &Protocol<'_>| matches!(protocol, Protocol::P2p(_));
    let way: Multiaddr = address.iter().filter(|protocol| !is_identity(protocol)).collect();
    way.with(Protocol::P2p(relay)).with(Protocol::P2pCircuit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;

    #[test]
    fn a_node_that_needs_them_listens_at_two_relays() {
        let (start, mut reach) = (now(), Reach::new(false));
        let address: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
        for _ in 0..3 {
            let protocols = [HOP_PROTOCOL_NAME];
            reach.meet(PeerId::random(), &protocols, std::slice::from_ref(&address));
        }
        reach.meet(PeerId::random(), &[], std::slice::from_ref(&address));
        assert_eq!(reach.due(start), []);
        reach.set_needs_relays(true);
        let due = reach.due(start);
        assert_eq!(due.len(), 2);
        for (relay, circuit) in due {
            assert_eq!(circuit.to_string(), format!("{address}/p2p/{relay}/p2p-circuit"));
            reach.used(relay, ListenerId::next());
        }
        assert_eq!(reach.due(start), []);
    }

    #[test]
    fn a_relay_that_failed_is_asked_again_later() {
        let (start, mut reach) = (now(), Reach::new(true));
        let (relay, listener) = (PeerId::random(), ListenerId::next());
        let address: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
        reach.meet(relay, &[HOP_PROTOCOL_NAME], &[address]);
        reach.used(relay, listener);
        reach.closed(start, ListenerId::next());
        assert_eq!(reach.due(start + RETRY_AFTER), []);
        reach.closed(start, listener);
        assert_eq!(reach.due(start), []);
        assert_eq!(reach.due(start + RETRY_AFTER).len(), 1);
        reach.lose(&relay);
        assert_eq!(reach.due(start + RETRY_AFTER), []);
    }

    #[test]
    fn who_is_behind_a_relay_is_none() {
        let mut reach = Reach::new(true);
        let relay = PeerId::random();
        let address = circuit(&"/ip4/192.0.2.1/tcp/1".parse().unwrap(), relay);
        reach.meet(PeerId::random(), &[HOP_PROTOCOL_NAME], &[address]);
        assert_eq!(reach.due(now()), []);
    }
}
