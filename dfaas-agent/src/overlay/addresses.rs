//! What a multiaddress says about the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

/// Whether an address that a peer says to have is worth dialling, by where the peer itself was seen.
///
/// What a peer says has every node of the federation dial there. So it must be the address of one host, and an address
/// of this network only if the peer is in this network.
pub(super) fn is_credible(address: &Multiaddr, seen: Option<IpAddr>) -> bool {
    let Some(ip) = address_of(address) else {
        // A name may lead anywhere, and is looked up anew each time.
        return false;
    };
    let ip = ip.to_canonical();
    let seen = seen.map(|seen| seen.to_canonical());
    if seen == Some(ip) {
        return true;
    }
    let is_no_host = match ip {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local(),
    };
    if is_no_host {
        return false;
    }
    let is_near = |ip: IpAddr| ip.is_loopback() || is_private(ip);
    if ip.is_loopback() {
        return seen.is_some_and(|seen| seen.is_loopback());
    }
    !is_private(ip) || seen.is_some_and(is_near)
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || is_shared(ip),
        IpAddr::V6(ip) => is_unique_local(ip),
    }
}

/// RFC 6598: between providers and their customers, and in overlay networks.
fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0xc0 == 64
}

/// RFC 4193.
fn is_unique_local(ip: Ipv6Addr) -> bool {
    ip.octets()[0] & 0xfe == 0xfc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_its_own_addresses_dialled_and_no_others() {
        for (address, seen, want) in [
            ("/ip4/198.51.100.7/tcp/31600", "203.0.113.5", true),
            ("/ip4/10.0.0.7/tcp/31600", "10.0.0.9", true),
            ("/ip4/10.0.0.7/tcp/31600", "203.0.113.5", false),
            ("/ip4/100.64.0.7/udp/31600/quic-v1", "203.0.113.5", false),
            ("/ip6/fd00::7/tcp/31600", "2001:db8::5", false),
            ("/ip6/fd00::7/tcp/31600", "fd00::9", true),
            ("/ip4/127.0.0.1/tcp/31600", "10.0.0.9", false),
            ("/ip4/127.0.0.1/tcp/31600", "127.0.0.1", true),
            ("/ip4/169.254.169.254/tcp/80", "10.0.0.9", false),
            ("/ip6/fe80::1/tcp/80", "fd00::9", false),
            ("/ip6/fe80::1/tcp/80", "fe80::1", true),
            ("/ip4/0.0.0.0/tcp/80", "10.0.0.9", false),
            ("/ip4/224.0.0.1/udp/80/quic-v1", "10.0.0.9", false),
            ("/ip4/255.255.255.255/tcp/80", "10.0.0.9", false),
            ("/dns4/intranet.example/tcp/80", "10.0.0.9", false),
            ("/ip6/::ffff:127.0.0.1/tcp/80", "10.0.0.9", false),
        ] {
            let address: Multiaddr = address.parse().unwrap();
            let seen = Some(seen.parse().unwrap());
            assert_eq!(is_credible(&address, seen), want, "{address} of {seen:?}");
        }
        let near: Multiaddr = "/ip4/10.0.0.7/tcp/1".parse().unwrap();
        assert!(!is_credible(&near, None));
    }
}
