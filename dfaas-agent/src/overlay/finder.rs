//! Finds members of the federation in the DHT, wherever they are.

use std::collections::HashSet;
use std::time::Instant;

use libp2p::kad::store::RecordStore;
use libp2p::kad::{self, GetProvidersOk, InboundRequest, QueryId, QueryResult, RecordKey};
use libp2p::swarm::Swarm;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tracing::debug;

use super::Discovery;
use super::rendezvous::{self, Rendezvous, Round};
use super::swarm::Behaviour;

pub(super) struct Finder {
    key: RecordKey,
    protocol: String,
    rendezvous: Rendezvous,
    /// The look that is not over yet.
    look: Option<QueryId>,
}

impl Finder {
    pub(super) fn new(now: Instant, discovery: &Discovery) -> Self {
        Self {
            key: rendezvous::key(&discovery.rendezvous),
            protocol: discovery.protocol.clone(),
            rendezvous: Rendezvous::new(now, discovery.idle, discovery.advertise_every),
            look: None,
        }
    }

    /// Notes where a node is, if it takes part in the DHT. Whoever was out of reach until now is told of us, and asked.
    pub(super) fn meet(
        &mut self,
        now: Instant,
        peer: PeerId,
        protocols: &[StreamProtocol],
        addresses: &[Multiaddr],
        swarm: &mut Swarm<Behaviour>,
    ) {
        let takes_part = protocols
            .iter()
            .any(|protocol| protocol.as_ref() == self.protocol);
        let Some(dht) = swarm.behaviour_mut().dht.as_mut().filter(|_| takes_part) else {
            return;
        };
        for address in addresses {
            dht.add_address(&peer, address.clone());
        }
        self.rendezvous.stir(now);
    }

    /// Looks for members if it is time to. Says whether it did.
    pub(super) fn handle_tick(&mut self, now: Instant, swarm: &mut Swarm<Behaviour>) -> bool {
        let Some(dht) = swarm.behaviour_mut().dht.as_mut() else {
            return false;
        };
        // Nobody is asked before somebody is there who knows anything, nor by two looks at a time.
        let knows_somebody = dht.kbuckets().next().is_some();
        if !knows_somebody || self.look.is_some() {
            return false;
        }
        let Some(round) = self.rendezvous.poll(now) else {
            return false;
        };
        if round == Round::AdvertiseAndLook
            && let Err(error) = dht.start_providing(self.key.clone())
        {
            debug!(%error, "Could not leave word in the DHT");
        }
        self.look = Some(dht.get_providers(self.key.clone()));
        true
    }

    /// Dials the members that a look found, and returns how many were not connected.
    pub(super) fn handle_event(
        &mut self,
        event: kad::Event,
        swarm: &mut Swarm<Behaviour>,
        is_connected: impl Fn(&PeerId) -> bool,
    ) -> u64 {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "libp2p's enum grows; the rest needs no answer"
        )]
        match event {
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                if self.look == Some(id) && step.last {
                    self.look = None;
                }
                if let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { key, providers })) =
                    result
                    && key == self.key
                {
                    return dial(&providers, &key, swarm, is_connected);
                }
                0
            }
            kad::Event::InboundRequest {
                request: InboundRequest::AddProvider { record: Some(record) },
            } => {
                if let Some(dht) = swarm.behaviour_mut().dht.as_mut()
                    && let Err(error) = dht.store_mut().add_provider(record)
                {
                    debug!(%error, "Could not keep word that was left here");
                }
                0
            }
            _ => 0,
        }
    }
}

fn dial(
    members: &HashSet<PeerId>,
    key: &RecordKey,
    swarm: &mut Swarm<Behaviour>,
    is_connected: impl Fn(&PeerId) -> bool,
) -> u64 {
    let own = *swarm.local_peer_id();
    let mut count = 0;
    for member in members {
        if *member == own || is_connected(member) {
            continue;
        }
        count += 1;
        // What others told of their addresses is known to the DHT while the look lasts; what they told us is in its store.
        let word = swarm.behaviour_mut().dht.as_mut().into_iter();
        let word = word.flat_map(|dht| dht.store_mut().providers(key));
        let addresses = word.filter(|word| word.provider == *member);
        let addresses: Vec<Multiaddr> = addresses.flat_map(|word| word.addresses).collect();
        let dial = DialOpts::peer_id(*member)
            .condition(PeerCondition::NotDialing)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .allocate_new_port()
            .build();
        match swarm.dial(dial) {
            Ok(()) => debug!(%member, "Found a member"),
            Err(error) => debug!(%member, %error, "Could not dial a member"),
        }
    }
    count
}
