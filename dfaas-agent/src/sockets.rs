//! TCP sockets of this network namespace, as the kernel tells of them and ends them by `sock_diag(7)`.

use std::io;

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::{ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NetlinkPayload};
pub(crate) use netlink_packet_sock_diag::inet::{InetResponseHeader as TcpSocket, SocketId, StateFlags};
use netlink_packet_sock_diag::{
    SockDiagDestroy, SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest},
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use crate::netlink::Netlink;

/// A version of IP, as sockets are told apart: one of IPv6 may take both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    pub(crate) const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    const fn number(self) -> u8 {
        match self {
            Self::Ipv4 => AF_INET,
            Self::Ipv6 => AF_INET6,
        }
    }

    fn no_socket(self) -> SocketId {
        match self {
            Self::Ipv4 => SocketId::new_v4(),
            Self::Ipv6 => SocketId::new_v6(),
        }
    }
}

/// The kernel's socket diagnosis.
pub(crate) struct Sockets(Netlink);

impl Sockets {
    /// # Errors
    /// The kernel offers none.
    pub(crate) fn open() -> Result<Self> {
        Netlink::open(NETLINK_SOCK_DIAG).map(Self)
    }

    /// The sockets of a family that are in one of these states.
    ///
    /// # Errors
    /// The kernel has no `tcp_diag`, or its module is not loaded and cannot be.
    pub(crate) fn list(&mut self, family: Family, states: StateFlags) -> Result<Vec<TcpSocket>> {
        let wanted = request(family, states, family.no_socket());
        self.0.ask(wanted, NLM_F_DUMP).context("asking for sockets")?;
        let mut sockets = Vec::new();
        loop {
            for payload in self.0.answer().context("reading about sockets")? {
                if let NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(socket)) = payload {
                    sockets.push(socket.header);
                } else if let NetlinkPayload::Done(_) = payload {
                    return Ok(sockets);
                } else {
                    bail!("the kernel says {payload:?} of sockets");
                }
            }
        }
    }

    /// Ends a connection; both ends learn of it by a reset. Tells whether it was there still.
    ///
    /// # Errors
    /// The kernel does not end it; it takes `CAP_NET_ADMIN` and `CONFIG_INET_DIAG_DESTROY`.
    pub(crate) fn destroy(&mut self, family: Family, id: SocketId) -> Result<bool> {
        let doomed = SockDiagDestroy::new(request(family, StateFlags::all(), id));
        self.0.ask(doomed, NLM_F_ACK).context("asking for an end")?;
        let answer = self.0.answer::<SockDiagMessage>()?.into_iter().next();
        let Some(NetlinkPayload::Error(error)) = answer else {
            bail!("the kernel says {answer:?} of an end");
        };
        is_done(&error)
    }
}

fn request(family: Family, states: StateFlags, socket_id: SocketId) -> SockDiagMessage {
    SockDiagMessage::InetRequest(InetRequest {
        family: family.number(),
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states,
        socket_id,
    })
}

/// An acknowledgment is an error that is none.
fn is_done(error: &ErrorMessage) -> Result<bool> {
    let Some(code) = error.code else {
        return Ok(true);
    };
    let error = io::Error::from_raw_os_error(-code.get());
    if error.kind() == io::ErrorKind::NotFound {
        return Ok(false);
    }
    Err(error.into())
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        num::NonZeroI32,
    };

    use super::*;

    #[test]
    fn both_ends_of_a_connection_are_listed() {
        for (family, address) in [(Family::Ipv4, "127.0.0.1:0"), (Family::Ipv6, "[::1]:0")] {
            let listener = TcpListener::bind(address).unwrap();
            let here = listener.local_addr().unwrap();
            let client = TcpStream::connect(here).unwrap();
            let there = client.local_addr().unwrap();
            let sockets = Sockets::open()
                .unwrap()
                .list(family, StateFlags::ESTABLISHED)
                .unwrap();
            for (from, to) in [(here, there), (there, here)] {
                let is_it = |socket: &TcpSocket| {
                    let id = &socket.socket_id;
                    (id.source_address, id.source_port) == (from.ip(), from.port())
                        && (id.destination_address, id.destination_port) == (to.ip(), to.port())
                };
                assert_eq!(
                    sockets.iter().filter(|&socket| is_it(socket)).count(),
                    1,
                    "{from}"
                );
            }
        }
    }

    #[test]
    fn what_is_gone_is_no_fault() {
        let told = |code: i32| {
            let mut error = ErrorMessage::default();
            error.code = NonZeroI32::new(code);
            is_done(&error)
        };
        assert!(told(0).unwrap());
        assert!(!told(-libc::ENOENT).unwrap());
        assert!(
            told(-libc::EPERM)
                .unwrap_err()
                .to_string()
                .contains("not permitted")
        );
    }
}
