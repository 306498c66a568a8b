//! A bridge in a namespace of its own, with hosts around it.

use std::{
    env, fs,
    net::{Ipv4Addr, Ipv6Addr},
    process::Output,
};

use anyhow::{Context as _, Result, ensure};

use crate::{LateLink, Namespace, mishaps::Mishaps};

/// Says what is done to the packets to every host, as [`Network::impair`] takes it.
const NETEM: &str = "DFAAS_TEST_NETEM";

/// What carries a host's VLAN.
const TRUNK: &str = "trunk";

/// Hosts that reach each other over a bridge, and nothing else.
#[derive(Debug)]
pub struct Network {
    fabric: Namespace,
    vlan: Option<u16>,
}

impl Network {
    /// Makes a bridge without hosts.
    ///
    /// # Errors
    ///
    /// When this process may not make namespaces.
    pub fn new() -> Result<Self> {
        Self::made(None)
    }

    /// Makes one whose hosts reach each other over a VLAN, their `eth0` being an interface of it on another.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn with_vlan(vlan: u16) -> Result<Self> {
        Self::made(Some(vlan))
    }

    fn made(vlan: Option<u16>) -> Result<Self> {
        let fabric = Namespace::new("fabric")?;
        // Without snooping, a bridge floods multicast, which is how peers find each other.
        fabric.ip("link add bridge type bridge mcast_snooping 0\nlink set bridge up\n")?;
        // Of its own, because a host answers for all its addresses wherever it is asked.
        fabric.ip("link add plain type bridge mcast_snooping 0\nlink set plain up\n")?;
        Ok(Self { fabric, vlan })
    }

    /// The address of a host.
    pub fn address(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, number)
    }

    /// The IPv6 address of a host.
    pub fn ipv6_address(number: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, number.into())
    }

    /// Makes a host whose `eth0` has the addresses of its number.
    ///
    /// # Errors
    ///
    /// When the host cannot be made, for example because the number is taken.
    pub fn add_host(&self, name: &str, number: u8) -> Result<Namespace> {
        let host = Namespace::new(name)?;
        self.connect(&host, number)?;
        Ok(host)
    }

    /// Gives a namespace an `eth0` with the addresses of a number.
    ///
    /// # Errors
    ///
    /// As [`Self::add_host`].
    pub fn connect(&self, host: &Namespace, number: u8) -> Result<()> {
        let pid = host.pid();
        let interface = if self.vlan.is_some() { TRUNK } else { "eth0" };
        self.fabric.ip(&format!(
            "link add port{number} type veth peer name {interface} netns {pid}\n\
             link set port{number} master bridge up\n"
        ))?;
        if let Some(vlan) = self.vlan {
            host.ip(&format!(
                "link set {TRUNK} up\nlink add link {TRUNK} name eth0 type vlan id {vlan}\n"
            ))?;
        }
        let (address, ipv6_address) = (Self::address(number), Self::ipv6_address(number));
        host.ip(&format!(
            "address add {address}/24 dev eth0\n\
             address add {ipv6_address}/64 dev eth0 nodad\n\
             link set eth0 up\n\
             route add 224.0.0.0/4 dev eth0\n"
        ))?;
        if let Ok(netem) = env::var(NETEM) {
            self.impair(host, number, &netem)?;
        }
        Ok(())
    }

    /// The address of a host's second interface.
    pub fn plain_address(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 78, 0, number)
    }

    /// Gives a host a second interface, `eth1`, of which no agent is told.
    ///
    /// # Errors
    ///
    /// When the host has one.
    pub fn add_plain_interface(&self, host: &Namespace, number: u8) -> Result<()> {
        let pid = host.pid();
        self.fabric.ip(&format!(
            "link add plain{number} type veth peer name eth1 netns {pid}\n\
             link set plain{number} master plain up\n"
        ))?;
        let address = Self::plain_address(number);
        host.ip(&format!("address add {address}/24 dev eth1\nlink set eth1 up\n"))
    }

    /// Leads what two hosts send each other over two routers, between which packets of no more than so many bytes pass.
    /// The path ends with the routers, which are returned; their numbers follow the given one.
    ///
    /// # Errors
    ///
    /// When a router cannot be made, or the hosts have a path already.
    pub fn narrow(&self, ends: [(&Namespace, u8); 2], number: u8, mtu: u16) -> Result<[Namespace; 2]> {
        let routers = [
            self.add_host("router1", number)?,
            self.add_host("router2", number + 1)?,
        ];
        for router in &routers {
            // While a link-local address is tentative, a router asks for no neighbour of who it forwards for.
            check(&router.output("sysctl", &["-qw", "net.ipv6.conf.default.accept_dad=0"])?)?;
        }
        routers[0].ip(&format!(
            "link add narrow mtu {mtu} type veth peer name narrow mtu {mtu} netns {}\n",
            routers[1].pid()
        ))?;
        for (here, (router, there)) in routers.iter().zip([1, 0]).enumerate() {
            let sysctls = [
                "net.ipv4.ip_forward=1",
                "net.ipv6.conf.all.forwarding=1",
                "net.ipv4.conf.all.send_redirects=0",
                "net.ipv4.conf.eth0.send_redirects=0",
            ];
            check(&router.output("sysctl", &[&["-qw"][..], &sysctls].concat())?)?;
            let (beyond, over) = (ends[there].1, there + 1);
            router.ip(&format!(
                "address add 10.79.0.{own}/24 dev narrow\n\
                 address add fd00:79::{own}/64 dev narrow nodad\n\
                 link set narrow up\n\
                 route add {address}/32 via 10.79.0.{over}\n\
                 route add {ipv6_address}/128 via fd00:79::{over}\n",
                own = here + 1,
                address = Self::address(beyond),
                ipv6_address = Self::ipv6_address(beyond),
            ))?;
            ends[here].0.ip(&format!(
                "route add {}/32 via {}\nroute add {}/128 via {}\n",
                Self::address(beyond),
                Self::address(number + here as u8),
                Self::ipv6_address(beyond),
                Self::ipv6_address(number + here as u8),
            ))?;
        }
        Ok(routers)
    }

    /// Does something to the packets to a host, such as `loss 1%` or `delay 5ms reorder 25% 50%`: see tc-netem(8).
    ///
    /// # Errors
    ///
    /// When neither netem nor, on a kernel without it, [`Mishaps`] can do what is asked for.
    pub fn impair(&self, host: &Namespace, number: u8, netem: &str) -> Result<()> {
        let netem_did = self.impair_by_netem(host, number, netem);
        netem_did.or_else(|lacking| self.mishap(&format!("port{number}"), netem).context(lacking))
    }

    /// As [`Self::impair`], by netem only.
    ///
    /// # Errors
    ///
    /// When the kernel has no netem, or it does not take what is asked for.
    pub fn impair_by_netem(&self, host: &Namespace, number: u8, netem: &str) -> Result<()> {
        // What a host sends in one piece and a network card would cut is lost as one packet otherwise.
        check(&host.output("ethtool", &["-K", "eth0", "tso", "off", "gso", "off"])?)?;
        let port = format!("port{number}");
        // With room for what waits, so that only what is asked for is lost.
        let mut arguments = vec![
            "qdisc", "replace", "dev", &port, "root", "netem", "limit", "20000",
        ];
        arguments.extend(netem.split_whitespace());
        check(&self.fabric.output("tc", &arguments)?)
    }

    /// As [`Self::impair`], without netem.
    fn mishap(&self, port: &str, netem: &str) -> Result<()> {
        let mishaps = Mishaps::read(netem)?;
        for (program, option, text) in [
            ("tc", "-batch", Mishaps::ways(port)),
            ("nft", "-f", mishaps.rules(port)),
        ] {
            let file = format!("/run/{program}-{port}");
            fs::write(self.fabric.path(&file), text).with_context(|| format!("writing {file}"))?;
            check(&self.fabric.output(program, &[option, &file])?)?;
        }
        Ok(())
    }

    /// Makes a host's link one on which everything can be late, as long as that link is kept.
    ///
    /// # Errors
    ///
    /// When there is no such host, or its link is one already.
    pub fn stretch(&self, number: u8) -> Result<LateLink> {
        LateLink::lay(&self.fabric, number)
    }

    /// Whether something is done to the packets to all hosts, so that they may come late.
    pub fn is_impaired() -> bool {
        env::var_os(NETEM).is_some()
    }

    /// Pulls the plug of a host.
    ///
    /// # Errors
    ///
    /// When there is no such host.
    pub fn unplug(&self, number: u8) -> Result<()> {
        self.fabric.ip(&format!("link set port{number} down\n"))
    }

    /// Puts the plug of a host back.
    ///
    /// # Errors
    ///
    /// When there is no such host.
    pub fn plug(&self, number: u8) -> Result<()> {
        self.fabric.ip(&format!("link set port{number} up\n"))
    }
}

fn check(output: &Output) -> Result<()> {
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", complaint.trim());
    Ok(())
}
