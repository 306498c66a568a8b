//! What a multiaddress says about the host.

use std::net::IpAddr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// The host's address in a multiaddress, if it names one.
pub(super) fn address_of(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|protocol| {
        if let Protocol::Ip4(ip) = protocol {
            Some(ip.into())
        } else if let Protocol::Ip6(ip) = protocol {
            Some(ip.into())
        } else {
            None
        }
    })
}

/// Whether an address means another host to everybody who reads it, so that it is of no use to those who learn it.
pub(super) fn is_loopback(address: &Multiaddr) -> bool {
    address.iter().any(|protocol| {
        if let Protocol::Ip4(ip) = protocol {
            ip.is_loopback()
        } else if let Protocol::Ip6(ip) = protocol {
            ip.is_loopback()
        } else {
            false
        }
    })
}
