//! The protocols the overlay speaks and their settings.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use dfaas_control::MESSAGE_BYTES_MAX;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, ValidationMode};
use libp2p::identity::{Keypair, PublicKey};
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{NetworkBehaviour, Swarm};
use libp2p::{SwarmBuilder, identify, mdns, noise, ping, tcp, yamux};

use super::tokens;

/// What identify calls the protocols of a node.
const PROTOCOL: &str = "/dfaas/1";
/// Room for the signature, key, sequence number and topic around the body of a message, and for the 8 KiB of the next
/// message that may be read with its end: libp2p-gossipsub 0.50 measures all it has read, not the one message.
const ENVELOPE_BYTES_MAX: usize = 16 * 1024;
/// Messages queued for one slow peer: 32 MiB at the very most.
const PEER_QUEUE: usize = 128;
/// Connections at a time; many times a federation, and far below the usual limit on open files.
const CONNECTIONS_MAX: u32 = 512;
/// Incoming connections that have not proven who they are.
const PENDING_MAX: u32 = 64;
const HEARTBEAT: Duration = Duration::from_millis(300);
const PING_INTERVAL: Duration = Duration::from_millis(500);
const PING_TIMEOUT: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const MDNS_INTERVAL: Duration = Duration::from_secs(10);
/// Connections are kept for ever; silence ends them, not idleness.
const IDLE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) limits: connection_limits::Behaviour,
    pub(super) gossip: gossipsub::Behaviour,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(super) tokens: tokens::Behaviour,
}

/// Makes the swarm, subscribed to `topic` but not listening yet.
pub(super) fn build(keypair: &Keypair, topic: &IdentTopic, with_mdns: bool) -> Result<Swarm<Behaviour>> {
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(limits()),
        gossip: gossip(keypair, topic)?,
        identify: identify::Behaviour::new(identify_config(keypair.public())),
        ping: ping::Behaviour::new(
            ping::Config::new()
                .with_interval(PING_INTERVAL)
                .with_timeout(PING_TIMEOUT),
        ),
        mdns: with_mdns.then(|| mdns(keypair)).transpose()?.into(),
        tokens: tokens::behaviour(),
    };
    let swarm = SwarmBuilder::with_existing_identity(keypair.clone())
        .with_tokio()
        .with_tcp(
            tcp::Config::new().nodelay(true),
            noise::Config::new,
            yamux::Config::default,
        )
        .context("make the noise keys of the overlay")?
        .with_behaviour(|_| behaviour)
        .map_err(|never| anyhow!("{never}"))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE_TIMEOUT))
        .with_connection_timeout(CONNECT_TIMEOUT)
        .build();
    Ok(swarm)
}

fn gossip(keypair: &Keypair, topic: &IdentTopic) -> Result<gossipsub::Behaviour> {
    // Every message is published to all connected peers; the mesh only passes on what those miss who are not connected
    // to its author, so a small one does.
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .max_transmit_size(MESSAGE_BYTES_MAX + ENVELOPE_BYTES_MAX)
        .flood_publish(true)
        .heartbeat_initial_delay(HEARTBEAT)
        .heartbeat_interval(HEARTBEAT)
        .mesh_n(4)
        .mesh_n_low(2)
        .mesh_n_high(8)
        .mesh_outbound_min(1)
        .connection_handler_queue_len(PEER_QUEUE)
        .build()
        .context("configure the gossip of the overlay")?;
    let mut gossip = gossipsub::Behaviour::new(MessageAuthenticity::Signed(keypair.clone()), config)
        .map_err(|error| anyhow!("configure the gossip of the overlay: {error}"))?;
    gossip
        .subscribe(topic)
        .with_context(|| format!("subscribe to the topic {topic}"))?;
    Ok(gossip)
}

fn identify_config(key: PublicKey) -> identify::Config {
    identify::Config::new(PROTOCOL.to_owned(), key)
        .with_agent_version(concat!("dfaas-agent/", env!("CARGO_PKG_VERSION")).to_owned())
        .with_push_listen_addr_updates(true)
}

fn limits() -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_established(Some(CONNECTIONS_MAX))
        .with_max_pending_incoming(Some(PENDING_MAX))
}

fn mdns(keypair: &Keypair) -> Result<mdns::tokio::Behaviour> {
    let config = mdns::Config {
        query_interval: MDNS_INTERVAL,
        ..mdns::Config::default()
    };
    mdns::tokio::Behaviour::new(config, keypair.public().to_peer_id())
        .context("start multicast DNS for the overlay")
}
