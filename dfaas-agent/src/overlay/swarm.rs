//! The protocols the overlay speaks and their settings.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use dfaas_control::MESSAGE_BYTES_MAX;
use libp2p::allow_block_list::{self, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{
    self, IdentTopic, MessageAuthenticity, PeerScoreParams, PeerScoreThresholds, TopicScoreParams,
    ValidationMode, score_parameter_decay,
};
use libp2p::identity::PublicKey;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::kad::{self, StoreInserts};
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{NetworkBehaviour, Swarm};
use libp2p::{PeerId, StreamProtocol, autonat, dcutr, identify, mdns, ping, relay};

use super::tuning::Tuning;
use super::{BehindNat, Discovery, OverlayConfig, RelayLimits, tokens, transport};

/// What identify calls the protocols of a node.
const PROTOCOL: &str = "/dfaas/1";
/// Room for the signature, key, sequence number and topic around the body of a message, and for the 8 KiB of the next
/// message that may be read with its end: libp2p-gossipsub 0.50 measures all it has read, not the one message.
const ENVELOPE_BYTES_MAX: usize = 16 * 1024;
/// What go-libp2p's gossip sends and takes at most at once. A larger one ends gossip with its sender, though both stay
/// connected, so what is within it is taken, and judged afterwards.
const TRANSMIT_BYTES_MAX: usize = 1 << 20;
const _: () = assert!(MESSAGE_BYTES_MAX < TRANSMIT_BYTES_MAX);
/// Messages queued for one slow peer: 32 MiB at the very most.
const PEER_QUEUE: usize = 128;
/// Room for the answers of a DHT with many members. go-libp2p takes as much.
const DHT_PACKET_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Members remembered under one name: many times a federation.
const PROVIDERS_MAX: usize = 1024;
/// Messages that cannot be read are forgotten as slowly.
const MALFORMED_FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// Connections are kept for ever; silence ends them, not idleness.
const IDLE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) limits: connection_limits::Behaviour,
    pub(super) banned: allow_block_list::Behaviour<BlockedPeers>,
    pub(super) gossip: gossipsub::Behaviour,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(super) tokens: tokens::Behaviour,
    pub(super) dht: Toggle<kad::Behaviour<MemoryStore>>,
    pub(super) relays: relay::client::Behaviour,
    pub(super) relay: Toggle<relay::Behaviour>,
    pub(super) nat: Toggle<autonat::Behaviour>,
    pub(super) punch: dcutr::Behaviour,
}

/// Makes the swarm, subscribed to the topic but not listening yet.
pub(super) fn build(config: &OverlayConfig) -> Result<Swarm<Behaviour>> {
    let (keypair, tuning) = (&config.keypair, &config.tuning);
    let node = keypair.public().to_peer_id();
    let dht = config.discovery.as_ref().map(|discovery| dht(node, discovery));
    let (transport, relays) = transport::build(config)?;
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(limits(tuning)),
        banned: allow_block_list::Behaviour::default(),
        gossip: gossip(config)?,
        identify: identify::Behaviour::new(identify_config(keypair.public())),
        ping: ping::Behaviour::new(
            ping::Config::new()
                .with_interval(tuning.ping_interval)
                .with_timeout(tuning.ping_timeout),
        ),
        mdns: config.mdns.then(|| mdns(node, tuning)).transpose()?.into(),
        dht: dht.transpose()?.into(),
        relays,
        relay: config.relay.as_ref().map(|limits| relay(node, limits)).into(),
        nat: nat(node, config.behind_nat).into(),
        punch: dcutr::Behaviour::new(node),
        tokens: tokens::behaviour(),
    };
    let swarm = libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_TIMEOUT);
    Ok(Swarm::new(transport, behaviour, node, swarm))
}

fn gossip(settings: &OverlayConfig) -> Result<gossipsub::Behaviour> {
    // Every message is published to all connected peers; the mesh only passes on what those miss who are not connected
    // to its author, so a small one does.
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .max_transmit_size(TRANSMIT_BYTES_MAX + ENVELOPE_BYTES_MAX)
        .flood_publish(true)
        .heartbeat_initial_delay(settings.tuning.heartbeat)
        .heartbeat_interval(settings.tuning.heartbeat)
        .mesh_n(4)
        .mesh_n_low(2)
        .mesh_n_high(8)
        .mesh_outbound_min(1)
        .connection_handler_queue_len(PEER_QUEUE)
        .build()
        .context("configure the gossip of the overlay")?;
    let mut gossip = gossipsub::Behaviour::new(MessageAuthenticity::Signed(settings.keypair.clone()), config)
        .map_err(|error| anyhow!("configure the gossip of the overlay: {error}"))?;
    gossip
        .with_peer_score(score(settings), thresholds(&settings.tuning))
        .map_err(|error| anyhow!("configure the scores of peers: {error}"))?;
    gossip
        .subscribe(&IdentTopic::new(&settings.topic))
        .with_context(|| format!("subscribe to the topic {}", settings.topic))?;
    Ok(gossip)
}

/// Peers lose by what cannot be read, and by breaking the rules of gossip; being slow, far away or many behind one address
/// is no offence. Nobody can save up for it by good conduct.
fn score(settings: &OverlayConfig) -> PeerScoreParams {
    let topic = TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -1.0,
        invalid_message_deliveries_decay: score_parameter_decay(MALFORMED_FORGOTTEN_AFTER),
        ..TopicScoreParams::default()
    };
    PeerScoreParams {
        topics: HashMap::from([(IdentTopic::new(&settings.topic).hash(), topic)]),
        ip_colocation_factor_weight: 0.0,
        slow_peer_weight: 0.0,
        behaviour_penalty_weight: -1.0,
        behaviour_penalty_threshold: 6.0,
        retain_score: settings.tuning.ban_time,
        ..PeerScoreParams::default()
    }
}

/// The score of who passed on `malformed_max` messages is the square of that, below nought.
fn thresholds(tuning: &Tuning) -> PeerScoreThresholds {
    let worst = banned_below(tuning);
    PeerScoreThresholds {
        gossip_threshold: worst / 4.0,
        publish_threshold: worst / 2.0,
        graylist_threshold: worst,
        ..PeerScoreThresholds::default()
    }
}

/// The score below which nothing is taken from a peer.
pub(super) fn banned_below(tuning: &Tuning) -> f64 {
    -f64::from(tuning.malformed_max).powi(2)
}

fn identify_config(key: PublicKey) -> identify::Config {
    identify::Config::new(PROTOCOL.to_owned(), key)
        .with_agent_version(concat!("dfaas-agent/", env!("CARGO_PKG_VERSION")).to_owned())
        .with_push_listen_addr_updates(true)
}

fn limits(tuning: &Tuning) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_established(Some(tuning.connections_max))
        .with_max_established_per_peer(Some(tuning.connections_per_peer_max))
        .with_max_pending_incoming(Some(tuning.pending_max))
}

fn mdns(node: PeerId, tuning: &Tuning) -> Result<mdns::tokio::Behaviour> {
    let config = mdns::Config {
        query_interval: tuning.mdns_interval,
        ..mdns::Config::default()
    };
    mdns::tokio::Behaviour::new(config, node).context("start multicast DNS for the overlay")
}

fn dht(node: PeerId, discovery: &Discovery) -> Result<kad::Behaviour<MemoryStore>> {
    let protocol = StreamProtocol::try_from_owned(discovery.protocol.clone())
        .with_context(|| format!("name the protocol of the DHT {:?}", discovery.protocol))?;
    let mut config = kad::Config::new(protocol);
    config
        .set_replication_factor(discovery.replication)
        .set_max_packet_size(DHT_PACKET_BYTES_MAX)
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_provider_publication_interval(None)
        .set_periodic_bootstrap_interval(Some(discovery.refresh));
    let store = MemoryStoreConfig {
        max_providers_per_key: PROVIDERS_MAX,
        ..MemoryStoreConfig::default()
    };
    let mut dht = kad::Behaviour::with_config(node, MemoryStore::with_config(node, store), config);
    dht.set_mode(Some(kad::Mode::Server));
    Ok(dht)
}

fn relay(node: PeerId, limits: &RelayLimits) -> relay::Behaviour {
    let config = relay::Config {
        max_reservations: limits.reservations_max,
        max_circuits: limits.circuits_max,
        max_circuits_per_peer: limits.circuits_per_peer_max,
        max_circuit_duration: limits.circuit_time_max,
        max_circuit_bytes: limits.circuit_bytes_max,
        ..relay::Config::default()
    };
    let mut relay = relay::Behaviour::new(node, config);
    relay.set_status(Some(relay::Status::Enable));
    relay
}

/// Asks peers to dial back, and dials back for them, unless this node is told how it can be reached.
fn nat(node: PeerId, behind_nat: BehindNat) -> Option<autonat::Behaviour> {
    match behind_nat {
        BehindNat::Unknown => Some(autonat::Behaviour::new(node, autonat::Config::default())),
        BehindNat::Yes | BehindNat::No => None,
    }
}
