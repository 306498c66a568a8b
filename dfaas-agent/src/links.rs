//! Interfaces of this network namespace, as the kernel tells of them by `rtnetlink(7)`. `/sys/class/net` shows those of
//! whoever mounted it, which is the host where an agent has entered the namespace of a container.

use std::io::{Error, ErrorKind};

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkLayerType, LinkMessage},
};
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::netlink::Netlink;

/// An interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// `ARPHRD_*` of `if_arp.h`.
    kind: LinkLayerType,
    /// The bytes that a packet may have, without the header of the link.
    pub(crate) mtu: u32,
}

impl Link {
    /// The interface with a name, if there is one.
    ///
    /// # Errors
    /// The kernel cannot be asked, or answers something else.
    pub(crate) fn find(name: &str) -> Result<Option<Self>> {
        let netlink = Netlink::open(NETLINK_ROUTE)?;
        let mut wanted = LinkMessage::default();
        wanted.attributes.push(LinkAttribute::IfName(name.to_owned()));
        netlink
            .ask(RouteNetlinkMessage::GetLink(wanted), 0)
            .context("asking for an interface")?;
        let answer = netlink.answer().context("reading about an interface")?;
        match answer.into_iter().next() {
            Some(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link))) => {
                Self::of(&link).map(Some)
            }
            Some(NetlinkPayload::Error(error)) => {
                let error = error.to_io();
                if is_missing(&error) {
                    return Ok(None);
                }
                Err(error).context("asking for an interface")
            }
            other => bail!("the kernel says {other:?} of the interface {name}"),
        }
    }

    fn of(message: &LinkMessage) -> Result<Self> {
        let mtu = message.attributes.iter().find_map(|attribute| {
            if let LinkAttribute::Mtu(bytes) = attribute {
                Some(*bytes)
            } else {
                None
            }
        });
        Ok(Self {
            kind: message.header.link_layer_type,
            mtu: mtu.context("the kernel does not tell an MTU")?,
        })
    }

    /// Whether packets have an Ethernet header in front.
    pub(crate) fn is_ethernet(self) -> bool {
        self.kind == LinkLayerType::Ether
    }

    /// The number of its kind (`ARPHRD_*`).
    pub(crate) fn kind(self) -> u16 {
        self.kind.into()
    }
}

/// A name that no interface could have is no interface's either.
fn is_missing(error: &Error) -> bool {
    error.raw_os_error() == Some(libc::ENODEV)
        || matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound)
        || error.raw_os_error() == Some(libc::ERANGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_no_ethernet() {
        let loopback = Link::find("lo").unwrap().unwrap();
        assert!(!loopback.is_ethernet());
        assert_eq!((loopback.kind(), loopback.mtu), (772, 65_536));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for name in ["nosuch0", "a-name-longer-than-any-interface-has", ""] {
            assert_eq!(Link::find(name).unwrap(), None, "{name:?}");
        }
    }
}
