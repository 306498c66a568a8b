//! A conversation with the kernel by netlink, in the network namespace of the thread that opens it.

use std::io;

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::{
    NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};

/// A socket of one of netlink's protocols, connected to the kernel.
pub(crate) struct Netlink(Socket);

impl Netlink {
    /// Opens a socket of a protocol, such as `NETLINK_ROUTE`.
    ///
    /// # Errors
    /// The kernel offers none.
    pub(crate) fn open(protocol: isize) -> Result<Self> {
        let mut socket = Socket::new(protocol).context("opening a netlink socket")?;
        socket.bind_auto().context("binding a netlink socket")?;
        socket
            .connect(&SocketAddr::new(0, 0))
            .context("connecting to the kernel")?;
        Ok(Self(socket))
    }

    /// Sends a request.
    ///
    /// # Errors
    /// What `send(2)` says.
    pub(crate) fn ask<T: NetlinkSerializable>(&self, message: T, flags: u16) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.0.send(&bytes, 0).map(drop)
    }

    /// The messages of the next datagram.
    ///
    /// # Errors
    /// What `recv(2)` says, and what cannot be read.
    pub(crate) fn answer<T: NetlinkDeserializable>(&self) -> Result<Vec<NetlinkPayload<T>>> {
        let (datagram, _) = self.0.recv_from_full()?;
        let mut rest = &datagram[..];
        let mut payloads = Vec::new();
        while !rest.is_empty() {
            let Ok(message) = NetlinkMessage::<T>::deserialize(rest) else {
                bail!("the kernel's answer cannot be read: {} bytes of it", rest.len());
            };
            payloads.push(message.payload);
            // Messages begin at multiples of four (netlink(7)).
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(payloads)
    }
}
