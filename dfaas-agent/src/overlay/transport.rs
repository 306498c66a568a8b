//! What carries connections: QUIC, and TCP that is encrypted and proven with noise and shared with yamux. In a private
//! federation TCP is encrypted with the key of the federation before all that. Names are looked up in the DNS.
//! Beside these, connections go through relays.

use anyhow::{Context, Result};
use futures_util::future::Either;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, Transport};
use libp2p::core::upgrade::Version;
use libp2p::pnet::{PnetConfig, PnetError};
use libp2p::{PeerId, dns, noise, quic, relay, tcp, yamux};
use tracing::warn;

use super::OverlayConfig;

/// A connection, and who is at its other end.
type Connection = (PeerId, StreamMuxerBox);

/// Makes the transport, and that part of its behaviour that asks relays.
pub(super) fn build(config: &OverlayConfig) -> Result<(Boxed<Connection>, relay::client::Behaviour)> {
    let (relayed, relays) = relay::client::new(config.keypair.public().to_peer_id());
    let relayed = relayed
        .upgrade(Version::V1Lazy)
        .authenticate(noise(config)?)
        .multiplex(yamux::Config::default())
        .timeout(config.tuning.dial_timeout)
        .boxed();
    // The others would take an address that leads through a relay for the relay's.
    let transport = relayed.or_transport(by_name(config)?);
    let transport = transport.map(|connection, _| connection.into_inner());
    Ok((transport.boxed(), relays))
}

fn by_name(config: &OverlayConfig) -> Result<Boxed<Connection>> {
    match dns::tokio::Transport::system(by_address(config)?) {
        Ok(transport) => Ok(transport.boxed()),
        // A host that has no name servers still reaches addresses.
        Err(error) => {
            warn!(%error, "Names in addresses of peers cannot be looked up");
            by_address(config)
        }
    }
}

fn noise(config: &OverlayConfig) -> Result<noise::Config> {
    noise::Config::new(&config.keypair).context("make the noise keys of the overlay")
}

fn by_address(config: &OverlayConfig) -> Result<Boxed<Connection>> {
    let tcp = over_tcp(config)?;
    // QUIC proves both ends before a key of a federation could be asked for.
    if config.swarm_key.is_some() {
        return Ok(tcp);
    }
    let mut settings = quic::Config::new(&config.keypair);
    settings.handshake_timeout = config.tuning.dial_timeout;
    let quic = quic::tokio::Transport::new(settings)
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
    let either = tcp.or_transport(quic);
    Ok(either.map(|connection, _| connection.into_inner()).boxed())
}

fn over_tcp(config: &OverlayConfig) -> Result<Boxed<Connection>> {
    let key = config.swarm_key;
    let tcp = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .and_then(move |socket, _| async move {
            Ok::<_, PnetError>(match key {
                Some(key) => Either::Left(PnetConfig::new(key).handshake(socket).await?),
                None => Either::Right(socket),
            })
        })
        .upgrade(Version::V1Lazy)
        .authenticate(noise(config)?)
        .multiplex(yamux::Config::default())
        .timeout(config.tuning.dial_timeout);
    Ok(tcp.boxed())
}
