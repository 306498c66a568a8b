//! A bridge in a namespace of its own, with hosts around it.

use std::net::Ipv4Addr;

use anyhow::Result;

use crate::Namespace;

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
        Ok(host)
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
