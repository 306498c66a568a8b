//! The task that owns the swarm: wait for one thing, hand it to the part that knows, act on what it says.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use dfaas_control::NodeId;
use futures_util::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::ListenerId;
use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance, PublishError};
use libp2p::swarm::{ConnectionId, DialError, ListenError, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, autonat, identify, mdns, ping};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tracing::{debug, info, warn};

use super::addresses::{address_of, is_credible, is_loopback};
use super::admission::Admission;
use super::conduct::{Conduct, Verdict};
use super::dialer::Dialer;
use super::finder::Finder;
use super::peers::{Peers, Side, Way};
use super::reach::{Reach, is_relayed};
use super::swarm::{self, Behaviour, BehaviourEvent};
use super::tokens::{self, News, Taken, Telling, Tokens};
use super::{BehindNat, LISTEN_TIMEOUT, OverlayConfig, OverlayEvent, Shared, Tuning};
use crate::{clock, identity};

/// How often silence and due dials are looked for.
const TICK: Duration = Duration::from_millis(100);
/// A tick that comes this late means that the machine slept or starved us, so silence proves nothing.
const TICK_LATE: Duration = Duration::from_secs(1);
/// Hosts remembered for which a warning was given; more would be no news.
const UNPROVEN_MAX: usize = 256;
/// Places in the event queue that messages leave to news of peers.
const RESERVED_FOR_PEERS: usize = 128;

/// What the handles want.
pub(super) type Orders = (
    mpsc::Receiver<Vec<u8>>,
    mpsc::Receiver<Telling>,
    watch::Receiver<BTreeSet<NodeId>>,
);

pub(super) struct Task {
    swarm: Swarm<Behaviour>,
    topic: IdentTopic,
    publishes: mpsc::Receiver<Vec<u8>>,
    tellings: mpsc::Receiver<Telling>,
    admissions: watch::Receiver<BTreeSet<NodeId>>,
    admission: Admission,
    events: mpsc::Sender<OverlayEvent>,
    shared: Arc<Shared>,
    tokens: Tokens,
    dialer: Dialer,
    peers: Peers,
    finder: Option<Finder>,
    conduct: Conduct,
    reach: Reach,
    /// Until when.
    banned: BTreeMap<PeerId, Instant>,
    /// Hosts that were warned of.
    unproven: BTreeSet<IpAddr>,
    is_private: bool,
    tuning: Tuning,
    /// Connections that do not leave this host.
    seen: HashMap<ConnectionId, IpAddr>,
    ticked: Instant,
}

impl Task {
    pub(super) fn new(
        config: &OverlayConfig,
        (publishes, tellings, admissions): Orders,
        events: mpsc::Sender<OverlayEvent>,
        shared: Arc<Shared>,
    ) -> Result<Self> {
        let now = clock::now();
        let topic = IdentTopic::new(config.topic.as_str());
        Ok(Self {
            swarm: swarm::build(config)?,
            topic,
            publishes,
            tellings,
            admissions,
            admission: Admission::default(),
            events,
            shared,
            tokens: Tokens::default(),
            dialer: Dialer::new(now, &config.bootstrap, config.tuning.dial_delay_max),
            peers: Peers::default(),
            finder: config
                .discovery
                .as_ref()
                .map(|discovery| Finder::new(now, discovery)),
            conduct: Conduct::new(config.tuning.message_rate_max),
            reach: Reach::new(config.behind_nat == BehindNat::Yes),
            banned: BTreeMap::new(),
            unproven: BTreeSet::new(),
            is_private: config.swarm_key.is_some(),
            tuning: config.tuning.clone(),
            seen: HashMap::new(),
            ticked: now,
        })
    }

    /// Listens on all `addresses` and waits until each says so.
    pub(super) async fn listen(&mut self, addresses: &[Multiaddr]) -> Result<()> {
        let mut waiting = HashSet::new();
        for address in addresses {
            let listener = self.swarm.listen_on(address.clone());
            waiting.insert(listener.with_context(|| format!("listen on {address}"))?);
        }
        tokio::time::timeout(LISTEN_TIMEOUT, self.await_listeners(waiting))
            .await
            .with_context(|| format!("wait {LISTEN_TIMEOUT:?} for the overlay to listen"))?
    }

    async fn await_listeners(&mut self, mut waiting: HashSet<ListenerId>) -> Result<()> {
        while !waiting.is_empty() {
            let event = self.swarm.select_next_some().await;
            if let SwarmEvent::NewListenAddr { listener_id, .. } = &event {
                waiting.remove(listener_id);
            }
            if let SwarmEvent::ListenerClosed {
                addresses, reason, ..
            } = event
            {
                reason.with_context(|| format!("listen on {addresses:?}"))?;
                bail!("listener on {addresses:?} closed");
            }
            self.handle_event(clock::now(), event);
        }
        Ok(())
    }

    /// Runs until it is told to stop or nobody holds a handle.
    pub(super) async fn run(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.ticked = clock::now();
        loop {
            tokio::select! {
                () = self.shared.stop.notified() => break,
                body = self.publishes.recv() => match body {
                    Some(body) => self.publish(body),
                    None => break,
                },
                Ok(()) = self.admissions.changed() => self.admit(),
                Some(telling) = self.tellings.recv() => self.tell_token(&telling),
                _ = ticks.tick() => self.handle_tick(clock::now()),
                event = self.swarm.select_next_some() => self.handle_event(clock::now(), event),
            }
        }
        debug!("Overlay ended");
    }

    fn publish(&mut self, body: Vec<u8>) {
        match self.swarm.behaviour_mut().gossip.publish(self.topic.hash(), body) {
            Ok(_) => self.shared.published.increment(),
            Err(PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) => {}
            Err(error) => {
                warn!(%error, "Dropped a message to publish");
                self.shared.dropped.increment();
            }
        }
    }

    fn tell_token(&mut self, telling: &Telling) {
        // Its identity came from the overlay, so it is one.
        let Ok(peer) = telling.to.as_str().parse() else {
            return;
        };
        if self.peers.is_connected(&peer) {
            let behaviour = &mut self.swarm.behaviour_mut().tokens;
            self.tokens.tell(behaviour, &peer, telling);
        }
    }

    fn handle_token(&mut self, event: tokens::Event) {
        match self.tokens.handle(event) {
            News::Nothing => {}
            News::Told(OverlayEvent::TokenTold { from, .. }, _) if !self.admits(&from) => {
                self.shared.unadmitted.increment();
            }
            News::Told(event, channel) => {
                let has_room = self.events.capacity() > RESERVED_FOR_PEERS;
                if has_room && self.tell(event) {
                    // Whoever has gone meanwhile tells it again.
                    let _gone = self.swarm.behaviour_mut().tokens.send_response(channel, Taken {});
                } else {
                    self.shared.dropped.increment();
                }
            }
            News::Taken(event) => {
                self.tell(event);
            }
        }
    }

    fn handle_tick(&mut self, now: Instant) {
        if now.saturating_duration_since(self.ticked) >= TICK_LATE {
            self.peers.forgive(now);
        }
        self.ticked = now;
        for (peer, connection) in self.peers.silent(now, self.tuning.silence) {
            info!(%peer, "Gave up a silent connection");
            self.swarm.close_connection(connection);
            // Closing waits for the kernel to take the last bytes, which it may not do on a cut link.
            self.handle_closed(now, peer, connection);
        }
        let own = *self.swarm.local_peer_id();
        for connection in self.peers.surplus(now, &own) {
            debug!(%connection, "Closed a connection beside another");
            self.swarm.close_connection(connection);
        }
        self.note_members();
        self.ban_offenders(now);
        for peer in self.peers.lapsed(now, self.tuning.silence) {
            if self.swarm.disconnect_peer_id(peer).is_ok() {
                debug!(%peer, "Began anew with a member that did not join again");
            }
        }
        for peer in self.peers.strangers(now, self.tuning.stranger_time) {
            if self.dialer.forget_stranger(&peer) && self.swarm.disconnect_peer_id(peer).is_ok() {
                debug!(%peer, "Sent a stranger away");
                self.shared.strangers.increment();
            }
        }
        self.use_relays(now);
        if let Some(finder) = &mut self.finder
            && finder.handle_tick(now, &mut self.swarm)
        {
            self.shared.looks.increment();
        }
        for dial in self.dialer.due(now, |peer| self.peers.is_connected(peer)) {
            let connection = dial.connection_id();
            if let Err(error) = self.swarm.dial(dial) {
                self.handle_dial_error(now, connection, &error);
            }
        }
        self.report();
    }

    fn handle_event(&mut self, now: Instant, event: SwarmEvent<BehaviourEvent>) {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "libp2p's enum grows; the rest needs no answer"
        )]
        match event {
            SwarmEvent::Behaviour(event) => self.handle_behaviour(now, event),
            SwarmEvent::NewListenAddr { address, .. } => {
                info!(%address, "Overlay listens");
                self.handle_listening(&address);
                self.tell(OverlayEvent::Listening(address));
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => self.handle_unlistening(address),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => self.handle_opened(now, peer_id, connection_id, &endpoint),
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                ..
            } => {
                self.seen.remove(&connection_id);
                self.handle_closed(now, peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id, error, ..
            } => self.handle_dial_error(now, connection_id, &error),
            SwarmEvent::ListenerClosed {
                listener_id,
                addresses,
                reason,
            } => {
                self.reach.closed(now, listener_id);
                // One at a relay that refused never listened, and one at a relay that is gone is replaced.
                if addresses.iter().any(|address| !is_relayed(address)) {
                    warn!(?addresses, ?reason, "Overlay stopped listening");
                } else {
                    debug!(?addresses, ?reason, "Overlay stopped listening at a relay");
                }
                for address in addresses {
                    self.handle_unlistening(address);
                }
            }
            SwarmEvent::ListenerError { error, .. } => debug!(%error, "Could not accept a connection"),
            SwarmEvent::IncomingConnectionError {
                error,
                send_back_addr,
                ..
            } => self.handle_unproven(&send_back_addr, &error),
            _ => {}
        }
    }

    fn handle_opened(
        &mut self,
        now: Instant,
        peer: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
    ) {
        if let Some(ip) = address_of(endpoint.get_remote_address()) {
            self.seen.insert(connection, ip);
        }
        let dialled_by = if endpoint.is_dialer() {
            Side::Us
        } else {
            Side::Peer
        };
        let way = if endpoint.is_relayed() {
            Way::ThroughRelay
        } else {
            Way::Direct
        };
        self.peers.opened(now, peer, connection, (dialled_by, way));
        self.dialer.opened(now, peer, connection);
        self.report();
    }

    /// Who leaves word in the DHT leaves the addresses that it takes for its external ones.
    fn handle_listening(&mut self, address: &Multiaddr) {
        // The client of relays adds what it has at relays by itself.
        if !is_loopback(address) && !is_relayed(address) {
            self.swarm.add_external_address(address.clone());
        }
    }

    fn handle_unlistening(&mut self, address: Multiaddr) {
        info!(%address, "Overlay listens there no more");
        if !is_relayed(&address) {
            self.swarm.remove_external_address(&address);
        }
        self.tell(OverlayEvent::Unlistening(address));
    }

    fn handle_behaviour(&mut self, now: Instant, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            }) => {
                let acceptance = self.handle_message(now, propagation_source, message);
                // A message that left the cache meanwhile is not passed on, which others make good.
                self.swarm
                    .behaviour_mut()
                    .gossip
                    .report_message_validation_result(&message_id, &propagation_source, acceptance);
            }
            BehaviourEvent::Ping(ping::Event {
                peer,
                connection,
                result,
            }) => self.handle_ping(now, &peer, connection, result),
            BehaviourEvent::Identify(identify::Event::Received {
                connection_id,
                peer_id,
                info,
            }) => self.handle_identity(now, connection_id, peer_id, info),
            BehaviourEvent::Gossip(
                gossipsub::Event::Subscribed { .. } | gossipsub::Event::Unsubscribed { .. },
            ) => {
                self.note_members();
                self.report();
            }
            BehaviourEvent::Dht(event) => {
                if let Some(finder) = &mut self.finder {
                    let peers = &self.peers;
                    let found = finder.handle_event(event, &mut self.swarm, |peer| peers.is_connected(peer));
                    self.shared.found.add(found);
                }
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, address) in found {
                    debug!(%peer, %address, "Discovered a node");
                    self.dialer.learn(now, peer, [address]);
                }
            }
            BehaviourEvent::Tokens(event) => self.handle_token(event),
            BehaviourEvent::Nat(autonat::Event::StatusChanged { new, .. }) => {
                info!(status = ?new, "Learnt whether others can dial this node");
                self.reach.set_needs_relays(new == autonat::NatStatus::Private);
            }
            BehaviourEvent::Relays(event) => debug!(?event, "About relays"),
            BehaviourEvent::Relay(event) => debug!(?event, "As a relay"),
            BehaviourEvent::Punch(event) => match event.result {
                Ok(_) => {
                    info!(peer = %event.remote_peer_id, "Opened a direct connection through address translation");
                    self.shared.punched.increment();
                }
                Err(error) => debug!(peer = %event.remote_peer_id, %error, "No direct connection"),
            },
            BehaviourEvent::Nat(_) => {}
            BehaviourEvent::Gossip(_) | BehaviourEvent::Identify(_) | BehaviourEvent::Mdns(_) => {}
        }
    }

    fn handle_identity(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        peer: PeerId,
        info: identify::Info,
    ) {
        let seen = self.seen.get(&connection).copied();
        let addresses = info.listen_addrs.into_iter();
        let addresses: Vec<Multiaddr> = addresses.filter(|address| is_credible(address, seen)).collect();
        if let Some(finder) = &mut self.finder {
            finder.meet(now, peer, &info.protocols, &addresses, &mut self.swarm);
        }
        self.reach.meet(peer, &info.protocols, &addresses);
        self.dialer.learn(now, peer, addresses);
    }

    /// Listens at relays, if this node needs any.
    fn use_relays(&mut self, now: Instant) {
        for (relay, circuit) in self.reach.due(now) {
            match self.swarm.listen_on(circuit) {
                Ok(listener) => self.reach.used(relay, listener),
                Err(error) => {
                    debug!(%relay, %error, "Could not listen at a relay");
                    self.reach.failed(now, relay);
                }
            }
        }
    }

    /// Asks gossip who has joined the topic.
    fn note_members(&mut self) {
        let topic = self.topic.hash();
        let all = self.swarm.behaviour().gossip.all_peers();
        let members = all.filter(|(_, topics)| topics.contains(&&topic));
        let members = members.map(|(peer, _)| *peer).collect();
        for stranger in self.admission.strangers(&members) {
            self.dialer.forget_stranger(&stranger);
            if self.swarm.behaviour_mut().banned.block_peer(stranger) {
                info!(peer = %stranger, "Sent a node away that is not admitted");
                self.shared.unadmitted.increment();
            }
        }
        self.peers.joined(&members);
    }

    fn admit(&mut self) {
        let admitted = self.admissions.borrow_and_update().clone();
        for peer in self.admission.change(&admitted) {
            self.swarm.behaviour_mut().banned.unblock_peer(peer);
        }
        self.note_members();
    }

    fn admits(&self, node: &NodeId) -> bool {
        node.as_str()
            .parse()
            .is_ok_and(|peer| self.admission.allows(&peer))
    }

    /// Bans whom gossip takes nothing from any more, and lets those back in who were banned long enough.
    fn ban_offenders(&mut self, now: Instant) {
        let worst = swarm::banned_below(&self.tuning);
        let behaviour = self.swarm.behaviour_mut();
        self.banned.retain(|peer, until| {
            let stays = now < *until;
            if !stays {
                behaviour.banned.unblock_peer(*peer);
            }
            stays
        });
        let gossip = &behaviour.gossip;
        let is_bad = |peer: &&PeerId| gossip.peer_score(peer).is_some_and(|score| score <= worst);
        let bad = gossip.all_peers().map(|(peer, _)| peer).filter(is_bad);
        for peer in bad.copied().collect::<Vec<PeerId>>() {
            if self.banned.insert(peer, now + self.tuning.ban_time).is_none() {
                warn!(%peer, ban_time = ?self.tuning.ban_time, "Banned a peer that sends what nobody can read, or too much");
                behaviour.banned.block_peer(peer);
                self.shared.banned.increment();
            }
        }
    }

    fn handle_unproven(&mut self, from: &Multiaddr, error: &ListenError) {
        if !matches!(error, ListenError::Transport(_)) {
            debug!(%from, %error, "Incoming connection failed");
            return;
        }
        self.shared.unproven.increment();
        let host = address_of(from).filter(|_| self.is_private && self.unproven.len() < UNPROVEN_MAX);
        if host.is_some_and(|host| self.unproven.insert(host)) {
            warn!(%from, %error, "A connection failed; the pre-shared key of its other end (--swarm-key-file) seems to be another");
        } else {
            debug!(%from, %error, "A connection failed");
        }
    }

    /// Hands a message to the mind, and says whether it may be passed on.
    fn handle_message(
        &mut self,
        now: Instant,
        passed_on_by: PeerId,
        message: gossipsub::Message,
    ) -> MessageAcceptance {
        let body = message.data;
        // Strict validation lets no unsigned message through; the signer is its source.
        let Some(source) = message.source.filter(|_| message.topic == self.topic.hash()) else {
            self.shared.rejected.increment();
            return MessageAcceptance::Reject;
        };
        if !self.admission.allows(&source) {
            // Who passed it on may admit its author.
            self.shared.unadmitted.increment();
            return MessageAcceptance::Ignore;
        }
        let verdict = self.conduct.judge(now, source, &body);
        if verdict != Verdict::Good {
            debug!(%source, %passed_on_by, ?verdict, "Refused a message");
            self.shared.rejected.increment();
            return verdict.acceptance(source == passed_on_by);
        }
        let from = identity::peer_name(source);
        let has_room = self.events.capacity() > RESERVED_FOR_PEERS;
        if has_room && self.tell(OverlayEvent::Message { from, body }) {
            self.shared.received.increment();
        } else {
            self.shared.dropped.increment();
        }
        MessageAcceptance::Accept
    }

    fn handle_ping(
        &mut self,
        now: Instant,
        peer: &PeerId,
        connection: ConnectionId,
        result: Result<Duration, ping::Failure>,
    ) {
        match result {
            Ok(rtt) => {
                self.peers.answered(now, peer, connection, rtt);
                self.report();
            }
            Err(ping::Failure::Unsupported) => self.peers.mute(peer, connection),
            Err(error @ (ping::Failure::Timeout | ping::Failure::Other { .. })) => {
                debug!(%peer, %error, "Ping failed");
            }
        }
    }

    fn handle_closed(&mut self, now: Instant, peer: PeerId, connection: ConnectionId) {
        if self.peers.closed(&peer, connection) {
            self.dialer.lost(now, peer);
            self.reach.lose(&peer);
            self.report();
        }
    }

    fn handle_dial_error(&mut self, now: Instant, connection: ConnectionId, error: &DialError) {
        // libp2p leaves out the addresses we listen on ourselves, and says so if none is left.
        if matches!(error, DialError::LocalPeerId { .. } | DialError::NoAddresses) {
            debug!(%error, "Forgot an address that is our own");
            self.dialer.forget(connection);
            return;
        }
        match self.dialer.failed(now, connection) {
            Some(addresses) if self.is_private => {
                warn!(?addresses, %error, "Could not reach a bootstrap node, or its pre-shared key is another; trying on");
            }
            Some(addresses) => warn!(?addresses, %error, "Could not reach a bootstrap node, trying on"),
            None => debug!(%error, "Could not reach a node"),
        }
    }

    fn report(&mut self) {
        let events = &self.events;
        self.peers.report(|event| events.try_send(event).is_ok());
        self.shared
            .connected
            .store(self.peers.connected(), Ordering::Relaxed);
    }

    fn tell(&self, event: OverlayEvent) -> bool {
        self.events.try_send(event).is_ok()
    }
}
