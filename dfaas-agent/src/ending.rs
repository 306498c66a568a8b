//! Connections of peers that are struck off, where no program of ours sees packets: the kernel is told to end them.
//!
//! HAProxy could be told, too, but knows of a connection only while a request is under way on it.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context, Result};
use dfaas_control::ServiceAddress;

use crate::sockets::{Family, SocketId, Sockets, StateFlags};

/// Ends what comes from these peers to a port of this host, and what goes to where they serve. Returns how many
/// connections there were.
///
/// # Errors
/// The kernel does not say which there are, or does not end one; it takes `CAP_NET_ADMIN`.
pub(crate) fn end(peers: &[ServiceAddress], port: u16) -> Result<u64> {
    let services: BTreeSet<SocketAddr> = peers.iter().flat_map(ServiceAddress::addresses).collect();
    let hosts: BTreeSet<IpAddr> = services.iter().map(SocketAddr::ip).collect();
    let is_theirs = |id: &SocketId| {
        let remote = SocketAddr::new(id.destination_address.to_canonical(), id.destination_port);
        (id.source_port == port && hosts.contains(&remote.ip())) || services.contains(&remote)
    };
    let with_traffic = StateFlags::all() - StateFlags::LISTEN - StateFlags::TIME_WAIT;
    let mut sockets = Sockets::open()?;
    let mut ended = 0;
    for family in Family::ALL {
        for socket in sockets.list(family, with_traffic.clone())? {
            let id = socket.socket_id;
            if is_theirs(&id) {
                let remote = id.destination_address;
                let was_there = sockets.destroy(family, id);
                ended += u64::from(was_there.with_context(|| format!("ending a connection with {remote}"))?);
            }
        }
    }
    Ok(ended)
}
