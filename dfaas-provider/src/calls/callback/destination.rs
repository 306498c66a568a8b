//! Where callbacks go, and where they must not go: into this host, whose administration may listen there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use hyper::Uri;
use ipnet::IpNet;

use super::CallbackError;

/// The part of a URL that says whom to connect to.
#[derive(Debug, PartialEq)]
pub(super) struct Destination {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) is_https: bool,
}

impl Destination {
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let is_https = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?;
        Some(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: uri.port_u16().unwrap_or(if is_https { 443 } else { 80 }),
            is_https,
        })
    }

    /// The address, if the URL gives one instead of a name.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        match self.host.as_str() {
            "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
            host => host.parse().ok(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Fence {
    allowed: Vec<IpNet>,
}

impl Fence {
    pub(super) fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    pub(super) fn check(&self, ip: IpAddr) -> Result<(), CallbackError> {
        let ip = ip.to_canonical();
        let allowed = self.allowed.iter().any(|network| network.contains(&ip));
        match allowed || !(is_special(ip) || is_own(ip)) {
            true => Ok(()),
            false => Err(CallbackError::Fenced(ip)),
        }
    }

    /// Looks a name up and gives the addresses that may be connected to.
    pub(super) async fn resolve(&self, destination: &Destination) -> Result<Vec<SocketAddr>, CallbackError> {
        let host = &destination.host;
        let found = tokio::net::lookup_host((host.as_str(), destination.port)).await;
        let found: Vec<SocketAddr> = found
            .map_err(|source| CallbackError::Resolve {
                host: host.clone(),
                source,
            })?
            .collect();
        if found.is_empty() {
            return Err(CallbackError::NoAddress(host.clone()));
        }
        // One address that is fenced makes the name suspect.
        for address in &found {
            self.check(address.ip())?;
        }
        Ok(found)
    }
}

/// Addresses of this host alone, of its link alone, or of many hosts at once.
fn is_special(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.octets()[0] == 0
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
        }
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local() || ip.is_multicast()
        }
    }
}

/// To send to one of its own addresses, a host sends from it.
fn is_own(ip: IpAddr) -> bool {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Connecting a UDP socket sends nothing. Without a route there is nothing to protect.
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_fenced() {
        for ip in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(check(ip, &[]).is_err(), "{ip}");
        }
    }

    #[test]
    fn others_and_what_is_allowed_are_not() {
        check("192.0.2.7", &[]).unwrap();
        check("2001:db8::7", &[]).unwrap();
        check("127.0.0.1", &["127.0.0.0/8"]).unwrap();
        check("::ffff:127.0.0.1", &["127.0.0.1/32"]).unwrap();
        assert!(check("127.0.0.2", &["127.0.0.1/32"]).is_err());
    }

    #[test]
    fn urls_say_whom_to_connect_to() {
        check_url("http://a.b/c", Some(("a.b", 80, false)));
        check_url("https://a.b:8443/", Some(("a.b", 8443, true)));
        check_url("https://[2001:db8::7]/", Some(("2001:db8::7", 443, true)));
        check_url("ftp://a.b/", None);
        check_url("/relative", None);
    }

    #[track_caller]
    fn check_url(url: &str, want: Option<(&str, u16, bool)>) {
        let want = want.map(|(host, port, is_https)| Destination {
            host: host.to_owned(),
            port,
            is_https,
        });
        assert_eq!(Destination::of(&url.parse().unwrap()), want);
    }

    fn check(ip: &str, allowed: &[&str]) -> Result<(), CallbackError> {
        let allowed = allowed.iter().map(|network| network.parse().unwrap());
        Fence::new(allowed.collect()).check(ip.parse().unwrap())
    }
}
