//! Links in a row, each a bridge, with a router between neighbours.

use std::{fs, net::Ipv4Addr};

use anyhow::{Context as _, Result, ensure};

use crate::Namespace;

/// Where the router to the next link is on each link, and the one to the link before.
const TO_NEXT: u8 = 254;
const TO_PREVIOUS: u8 = 253;

/// Links in a row. Hosts reach each other through as many routers as there are links between them.
#[derive(Debug)]
pub struct Links {
    fabric: Namespace,
    /// The first is between the links 1 and 2.
    routers: Vec<Namespace>,
}

impl Links {
    /// Makes so many links, numbered from 1.
    ///
    /// # Errors
    ///
    /// When this process may not make namespaces.
    pub fn new(count: u8) -> Result<Self> {
        let fabric = Namespace::new("fabric")?;
        for link in 1..=count {
            fabric.ip(&format!(
                "link add bridge{link} type bridge mcast_snooping 0\nlink set bridge{link} up\n"
            ))?;
        }
        let mut links = Self {
            fabric,
            routers: Vec::new(),
        };
        for link in 1..count {
            let router = links.make_router(link, count)?;
            links.routers.push(router);
        }
        Ok(links)
    }

    /// The address of a host.
    pub fn address(link: u8, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, link, number)
    }

    /// Makes a host whose `eth0` is on a link.
    ///
    /// # Errors
    ///
    /// When the host cannot be made, for example because the number is taken.
    pub fn add_host(&self, name: &str, link: u8, number: u8) -> Result<Namespace> {
        let host = Namespace::new(name)?;
        self.connect(&host, "eth0", link, number)?;
        host.ip("route add 224.0.0.0/4 dev eth0\n")?;
        let last = self.routers.len() + 1;
        for other in (1..=last).filter_map(|other| u8::try_from(other).ok()) {
            if other != link {
                let gateway = if other < link { TO_PREVIOUS } else { TO_NEXT };
                host.ip(&route(link, other, gateway))?;
            }
        }
        Ok(host)
    }

    /// Cuts a link off those behind it.
    ///
    /// # Errors
    ///
    /// When there is no link behind it.
    pub fn cut(&self, link: u8) -> Result<()> {
        self.fabric.ip(&format!("link set port{link}x{TO_NEXT} down\n"))
    }

    /// Undoes [`Links::cut`].
    ///
    /// # Errors
    ///
    /// When there is no link behind it.
    pub fn mend(&self, link: u8) -> Result<()> {
        self.fabric.ip(&format!("link set port{link}x{TO_NEXT} up\n"))
    }

    /// Hides the first or the last link behind its router: hosts there can dial others, under the router's address, and
    /// nobody can dial them.
    ///
    /// # Errors
    ///
    /// When there is but one link, or this kernel translates no addresses.
    pub fn hide(&self, link: u8) -> Result<()> {
        let (router, outside) = match link {
            1 => (self.routers.first(), "eth1"),
            _ => (self.routers.last(), "eth0"),
        };
        let router = router.context("there is no router")?;
        let rules = format!(
            "table ip nat {{\n\
             chain outward {{ type nat hook postrouting priority 100; oifname {outside} masquerade; }}\n\
             chain inward {{ type filter hook forward priority 0; iifname {outside} ct state new drop; }}\n\
             chain own {{ type filter hook input priority 0; iifname {outside} ct state new drop; }}\n}}\n"
        );
        fs::write(router.path("/run/rules"), rules).context("writing rules")?;
        let output = router.output("nft", &["-f", "/run/rules"])?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "nft: {}", complaint.trim());
        Ok(())
    }

    fn connect(&self, host: &Namespace, interface: &str, link: u8, number: u8) -> Result<()> {
        let (pid, port) = (host.pid(), format!("port{link}x{number}"));
        self.fabric.ip(&format!(
            "link add {port} type veth peer name {interface} netns {pid}\n\
             link set {port} master bridge{link} up\n"
        ))?;
        let address = Self::address(link, number);
        host.ip(&format!(
            "address add {address}/24 dev {interface}\nlink set {interface} up\n"
        ))
    }

    /// Makes the router between a link and the next one.
    fn make_router(&self, link: u8, count: u8) -> Result<Namespace> {
        let router = Namespace::new(&format!("router{link}"))?;
        self.connect(&router, "eth0", link, TO_NEXT)?;
        self.connect(&router, "eth1", link + 1, TO_PREVIOUS)?;
        for other in 1..link {
            router.ip(&route(link, other, TO_PREVIOUS))?;
        }
        for other in link + 2..=count {
            router.ip(&route(link + 1, other, TO_NEXT))?;
        }
        let output = router.output("sh", &["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "forwarding: {}", complaint.trim());
        Ok(router)
    }
}

/// How packets on a link get to another one.
fn route(link: u8, other: u8, gateway: u8) -> String {
    let gateway = Links::address(link, gateway);
    format!("route add 10.77.{other}.0/24 via {gateway}\n")
}
