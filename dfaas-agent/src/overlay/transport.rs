//! What carries connections: TCP, encrypted and proven with noise, shared with yamux; names are looked up in the DNS.

use anyhow::{Context, Result};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, Transport};
use libp2p::core::upgrade::Version;
use libp2p::{PeerId, dns, noise, tcp, yamux};
use tracing::warn;

use super::OverlayConfig;

/// A connection, and who is at its other end.
type Connection = (PeerId, StreamMuxerBox);

/// Makes the transport.
pub(super) fn build(config: &OverlayConfig) -> Result<Boxed<Connection>> {
    match dns::tokio::Transport::system(by_address(config)?) {
        Ok(transport) => Ok(transport.boxed()),
        // A host that has no name servers still reaches addresses.
        Err(error) => {
            warn!(%error, "Names in addresses of peers cannot be looked up");
            by_address(config)
        }
    }
}

fn by_address(config: &OverlayConfig) -> Result<Boxed<Connection>> {
    let noise = noise::Config::new(&config.keypair).context("make the noise keys of the overlay")?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .timeout(config.tuning.dial_timeout);
    Ok(tcp.boxed())
}
