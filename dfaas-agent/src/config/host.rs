//! The host's network, as far as defaults come from it.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::{Context, Result};

/// `include/uapi/linux/route.h`
const RTF_UP: u32 = 1;
const LOOPBACK: &str = "lo";

/// The interfaces of this network namespace, and where packets to anywhere go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    interfaces: BTreeMap<String, Vec<IpAddr>>,
    default_route: Option<String>,
}

impl Host {
    /// Asks the kernel.
    ///
    /// # Errors
    /// `/proc` is not there, or interfaces cannot be listed.
    pub(crate) fn read() -> Result<Self> {
        let devices = fs::read_to_string("/proc/net/dev").context("/proc/net/dev")?;
        let routes = fs::read_to_string("/proc/net/route").context("/proc/net/route")?;
        Ok(Self::new(
            &devices,
            &routes,
            &addresses().context("listing the addresses of interfaces")?,
        ))
    }

    /// Puts together what the two files of `/proc/net` and the list of addresses say.
    pub(super) fn new(devices: &str, routes: &str, addresses: &[(String, IpAddr)]) -> Self {
        let of = |name: &str| {
            addresses
                .iter()
                .filter(|(of, _)| of == name)
                .map(|(_, address)| *address)
                .collect()
        };
        let names = devices
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, _)| name.trim());
        Self {
            interfaces: names.map(|name| (name.to_owned(), of(name))).collect(),
            default_route: default_route(routes).map(str::to_owned),
        }
    }

    pub(super) fn has(&self, interface: &str) -> bool {
        self.interfaces.contains_key(interface)
    }

    /// The addresses of an interface, in the kernel's order.
    pub(crate) fn addresses(&self, interface: &str) -> &[IpAddr] {
        self.interfaces.get(interface).map_or(&[], Vec::as_slice)
    }

    pub(super) fn ipv4_addresses(&self, interface: &str) -> impl Iterator<Item = Ipv4Addr> {
        self.addresses(interface)
            .iter()
            .filter_map(|address| match address {
                IpAddr::V4(address) => Some(*address),
                IpAddr::V6(_) => None,
            })
    }

    pub(super) fn ipv6_addresses(&self, interface: &str) -> impl Iterator<Item = Ipv6Addr> {
        self.addresses(interface)
            .iter()
            .filter_map(|address| match address {
                IpAddr::V6(address) => Some(*address),
                IpAddr::V4(_) => None,
            })
    }

    /// That of the default route, or else the only one that is not the loopback.
    pub(super) fn default_interface(&self) -> Option<&str> {
        if let Some(name) = &self.default_route {
            return Some(name);
        }
        let mut others = self.interfaces.keys().filter(|name| *name != LOOPBACK);
        others
            .next()
            .filter(|_| others.next().is_none())
            .map(String::as_str)
    }

    pub(super) fn names(&self) -> String {
        self.interfaces
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

fn addresses() -> io::Result<Vec<(String, IpAddr)>> {
    let all = if_addrs::get_if_addrs()?.into_iter();
    Ok(all
        .map(|interface| (interface.name.clone(), interface.ip()))
        .collect())
}

/// The interface of the best default route in the text of `/proc/net/route`.
fn default_route(routes: &str) -> Option<&str> {
    let best = routes
        .lines()
        .skip(1)
        .filter_map(default_of_line)
        .min_by_key(|(metric, _)| *metric);
    best.map(|(_, interface)| interface)
}

/// Metric and interface, if the line is a default route that is up.
fn default_of_line(line: &str) -> Option<(u32, &str)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let &[interface, destination, _, flags, _, _, metric, mask, ..] = fields.as_slice() else {
        return None;
    };
    let is_up = u32::from_str_radix(flags, 16).ok()? & RTF_UP != 0;
    let is_default = is_up && destination == "00000000" && mask == "00000000";
    Some((metric.parse().ok()?, interface)).filter(|_| is_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICES: &str = "Inter-|   Receive\n face |bytes\n    lo: 1 2\n  eth0: 3 4\nwlan0: 5 6\n";
    const HEAD: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
    const LINK: &str = "eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
    const WIRELESS: &str = "wlan0\t00000000\t0100000A\t0003\t0\t0\t600\t00000000\t0\t0\t0\n";
    const WIRED: &str = "eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n";
    const DOWN: &str = "tun0\t00000000\t0100000A\t0000\t0\t0\t0\t00000000\t0\t0\t0\n";

    #[test]
    fn the_default_route_of_least_metric_is_taken() {
        assert_eq!(
            default_route(&[HEAD, DOWN, LINK, WIRELESS, WIRED].concat()),
            Some("eth0")
        );
        assert_eq!(default_route(&[HEAD, WIRELESS].concat()), Some("wlan0"));
        assert_eq!(default_route(&[HEAD, LINK].concat()), None);
        assert_eq!(default_route("garbage\nmore of it\n"), None);
        assert_eq!(default_route(""), None);
    }

    #[test]
    fn without_a_default_route_the_only_interface_is_taken() {
        let only = Host::new("    lo: 1 2\n  eth7: 3 4\n", HEAD, &[]);
        assert_eq!(only.default_interface(), Some("eth7"));
        assert_eq!(Host::new(DEVICES, HEAD, &[]).default_interface(), None);
        assert_eq!(Host::new("    lo: 1 2\n", HEAD, &[]).default_interface(), None);
    }

    #[test]
    fn interfaces_have_their_addresses() {
        let [first, second]: [IpAddr; 2] = ["10.0.2.1", "fd00::2"].map(|text| text.parse().unwrap());
        let host = Host::new(
            DEVICES,
            HEAD,
            &[("eth0".to_owned(), first), ("eth0".to_owned(), second)],
        );
        assert_eq!(host.addresses("eth0"), [first, second]);
        assert_eq!(
            host.ipv4_addresses("eth0").map(IpAddr::V4).collect::<Vec<_>>(),
            [first]
        );
        assert_eq!(
            host.ipv6_addresses("eth0").map(IpAddr::V6).collect::<Vec<_>>(),
            [second]
        );
        assert!(host.addresses("wlan0").is_empty());
        assert_eq!(host.names(), "eth0, lo, wlan0");
        assert!(!host.has("face"));
    }
}
