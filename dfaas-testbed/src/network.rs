//! A bridge in a namespace of its own, with hosts around it.

use std::{env, net::Ipv4Addr, process::Output};

use anyhow::{Result, ensure};

use crate::Namespace;

/// Says what is done to the packets to every host, as [`Network::impair`] takes it.
const NETEM: &str = "DFAAS_TEST_NETEM";

/// Hosts that reach each other over a bridge, and nothing else.
#[derive(Debug)]
pub struct Network {
    fabric: Namespace,
}

impl Network {
    /// Makes a bridge without hosts.
    ///
    /// # Errors
    ///
    /// When this process may not make namespaces.
    pub fn new() -> Result<Self> {
        let fabric = Namespace::new("fabric")?;
        // Without snooping, a bridge floods multicast, which is how peers find each other.
        fabric.ip("link add bridge type bridge mcast_snooping 0\nlink set bridge up\n")?;
        // Of its own, because a host answers for all its addresses wherever it is asked.
        fabric.ip("link add plain type bridge mcast_snooping 0\nlink set plain up\n")?;
        Ok(Self { fabric })
    }

    /// The address of a host.
    pub fn address(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, number)
    }

    /// Makes a host whose `eth0` has the address of its number.
    ///
    /// # Errors
    ///
    /// When the host cannot be made, for example because the number is taken.
    pub fn add_host(&self, name: &str, number: u8) -> Result<Namespace> {
        let host = Namespace::new(name)?;
        let pid = host.pid();
        self.fabric.ip(&format!(
            "link add port{number} type veth peer name eth0 netns {pid}\n\
             link set port{number} master bridge up\n"
        ))?;
        let address = Self::address(number);
        host.ip(&format!(
            "address add {address}/24 dev eth0\n\
             link set eth0 up\n\
             route add 224.0.0.0/4 dev eth0\n"
        ))?;
        if let Ok(netem) = env::var(NETEM) {
            self.impair(&host, number, &netem)?;
        }
        Ok(host)
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

    /// Does something to the packets to a host, such as `loss 1%` or `delay 5ms reorder 25% 50%`: see tc-netem(8).
    ///
    /// # Errors
    ///
    /// When this kernel has no netem, or it does not know what is asked for.
    pub fn impair(&self, host: &Namespace, number: u8, netem: &str) -> Result<()> {
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
