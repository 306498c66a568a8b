//! Where a node takes requests.

use std::{
    fmt,
    net::{AddrParseError, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// Where a node takes requests: by IPv4, and by IPv6 too if it has such an address, at the same port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAddress {
    service: SocketAddrV4,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ipv6: Option<Ipv6Addr>,
}

impl ServiceAddress {
    /// An address that is reached by IPv4 alone.
    pub const fn new(ip: Ipv4Addr, port: u16) -> Self {
        Self {
            service: SocketAddrV4::new(ip, port),
            ipv6: None,
        }
    }

    /// The same, reached by IPv6 too.
    #[must_use]
    pub const fn with_ipv6(self, ipv6: Option<Ipv6Addr>) -> Self {
        Self { ipv6, ..self }
    }

    /// The IPv4 address.
    pub const fn ip(&self) -> &Ipv4Addr {
        self.service.ip()
    }

    /// The IPv6 address.
    pub const fn ipv6(&self) -> Option<Ipv6Addr> {
        self.ipv6
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.service.port()
    }

    /// Where a request can be sent, the address of IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        let ipv6 = self.ipv6.map(|ip| SocketAddr::from((ip, self.port())));
        [Some(self.service.into()), ipv6].into_iter().flatten()
    }

    /// Tells whether requests to the one would come to the other, by either version of IP.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        let by_ipv6 = self.ipv6.is_some() && self.ipv6 == other.ipv6;
        self.port() == other.port() && (self.ip() == other.ip() || by_ipv6)
    }

    /// Tells whether peers can send a request there at all.
    pub(crate) fn is_reachable(&self) -> bool {
        let ip = self.ip();
        let names_a_host = !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast();
        let is_here_only = ip.is_loopback() || ip.is_link_local();
        let by_ipv4 = self.port() != 0 && names_a_host && !is_here_only;
        by_ipv4 && self.ipv6.as_ref().is_none_or(is_reachable_by_ipv6)
    }
}

/// An address that names one host to everybody: one of a link means another host on the next link, and the loopback's one
/// whoever reads it.
fn is_reachable_by_ipv6(ip: &Ipv6Addr) -> bool {
    let names_a_host = !ip.is_unspecified() && !ip.is_multicast() && ip.to_ipv4_mapped().is_none();
    names_a_host && !ip.is_loopback() && !ip.is_unicast_link_local()
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.service)?;
        match self.ipv6 {
            Some(ipv6) => write!(f, ", {}", SocketAddrV6::new(ipv6, self.port(), 0, 0)),
            None => Ok(()),
        }
    }
}

impl FromStr for ServiceAddress {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(|service| Self { service, ipv6: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_name_no_host_cannot_be_reached() {
        let with = |ipv6: &str| ServiceAddress::new([10, 0, 0, 1].into(), 80).with_ipv6(ipv6.parse().ok());
        for good in ["", "fd00::1", "2001:db8::1"] {
            assert!(with(good).is_reachable(), "{good}");
        }
        for bad in ["::", "::1", "ff02::1", "fe80::1", "::ffff:10.0.0.1"] {
            assert!(!with(bad).is_reachable(), "{bad}");
        }
        for bad in [
            [0, 0, 0, 0],
            [127, 0, 0, 1],
            [127, 9, 9, 9],
            [169, 254, 169, 254],
            [224, 0, 0, 1],
            [255, 255, 255, 255],
        ] {
            assert!(!ServiceAddress::new(bad.into(), 80).is_reachable(), "{bad:?}");
        }
        assert!(!ServiceAddress::new([10, 0, 0, 1].into(), 0).is_reachable());
    }

    #[test]
    fn addresses_meet_by_either_version() {
        let of = |text: &str, ipv6: &str| {
            let address: ServiceAddress = text.parse().unwrap();
            address.with_ipv6(ipv6.parse().ok())
        };
        let own = of("10.0.0.1:80", "fd00::1");
        assert!(own.meets(&of("10.0.0.1:80", "")) && own.meets(&of("10.0.0.2:80", "fd00::1")));
        for other in [
            of("10.0.0.2:80", "fd00::2"),
            of("10.0.0.1:81", "fd00::1"),
            of("10.0.0.2:80", ""),
        ] {
            assert!(!own.meets(&other), "{other}");
        }
    }

    #[test]
    fn both_addresses_are_shown() {
        let address = ServiceAddress::new([10, 0, 0, 1].into(), 80);
        assert_eq!(address.to_string(), "10.0.0.1:80");
        let both = address.with_ipv6(Some("fd00::1".parse().unwrap()));
        assert_eq!(both.to_string(), "10.0.0.1:80, [fd00::1]:80");
        assert_eq!(
            serde_json::to_string(&both).unwrap(),
            r#"{"service":"10.0.0.1:80","ipv6":"fd00::1"}"#
        );
    }
}
