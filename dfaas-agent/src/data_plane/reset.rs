//! Resets that are no answer to a packet.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
};

use dfaas_common::packet::fold;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with};

const TCP: u8 = 6;
const TCP_BYTES: u8 = 20;
const HOPS: u8 = 64;

/// A reset on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reset {
    pub(super) from: SocketAddr,
    /// Of the same version of IP.
    pub(super) to: SocketAddr,
    pub(super) sequence: u32,
}

/// Sends resets as whole packets (raw(7), and RFC 3542, section 3, for IPv6).
pub(super) struct Sender {
    ipv4: OwnedFd,
    ipv6: Option<OwnedFd>,
}

impl Sender {
    /// The sockets; a host may have no IPv6.
    pub(super) fn new() -> rustix::io::Result<Self> {
        let open = |family| socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW));
        Ok(Self {
            ipv4: open(AddressFamily::INET)?,
            ipv6: open(AddressFamily::INET6).ok(),
        })
    }

    pub(super) fn send(&self, reset: &Reset) -> rustix::io::Result<()> {
        let socket = match reset.to.ip() {
            IpAddr::V4(_) => Some(&self.ipv4),
            IpAddr::V6(_) => self.ipv6.as_ref(),
        };
        let socket = socket.ok_or(rustix::io::Errno::AFNOSUPPORT)?;
        // The port stands in the packet; a raw socket of IPv6 takes it for a protocol.
        let host = SocketAddr::new(reset.to.ip(), 0);
        sendto(socket, &reset.bytes(), SendFlags::empty(), &host)?;
        Ok(())
    }
}

impl Reset {
    /// The packet. The kernel fills in the length and the checksum of an IPv4 header.
    fn bytes(&self) -> Vec<u8> {
        let mut packet = match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, HOPS, TCP, 0, 0];
                header.extend(from.octets());
                header.extend(to.octets());
                header
            }
            (from, to) => {
                let mut header = vec![0x60, 0, 0, 0, 0, TCP_BYTES, TCP, HOPS];
                header.extend(as_ipv6(from));
                header.extend(as_ipv6(to));
                header
            }
        };
        let addresses = if self.to.is_ipv4() {
            &packet[12..]
        } else {
            &packet[8..]
        };
        // The pseudo-header: addresses, protocol and the length of the segment (RFC 9293, section 3.1).
        let pseudo = sum(addresses) + u64::from(TCP) + u64::from(TCP_BYTES);
        let segment = self.segment(pseudo);
        packet.extend(segment);
        packet
    }

    fn segment(&self, pseudo: u64) -> [u8; TCP_BYTES as usize] {
        const TCP_WORDS: u8 = 5;
        const RST: u8 = 4;
        let mut segment = [0; TCP_BYTES as usize];
        segment[0..2].copy_from_slice(&self.from.port().to_be_bytes());
        segment[2..4].copy_from_slice(&self.to.port().to_be_bytes());
        segment[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        segment[12] = TCP_WORDS << 4;
        segment[13] = RST;
        let checksum = !fold(pseudo + sum(&segment));
        segment[16..18].copy_from_slice(&checksum.to_be_bytes());
        segment
    }
}

fn as_ipv6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(2);
    words
        .map(|word| u64::from(u16::from_be_bytes([word[0], word[1]])))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_a_whole_packet() {
        for (from, to, header) in [
            ("10.0.0.2:40000", "10.0.0.1:80", 20),
            ("[fd00::2]:40000", "[fd00::1]:80", 40),
        ] {
            let reset = Reset {
                from: from.parse().unwrap(),
                to: to.parse().unwrap(),
                sequence: 0x0102_0304,
            };
            let bytes = reset.bytes();
            assert_eq!(bytes.len(), header + 20, "{from}");
            let addresses = if header == 20 {
                &bytes[12..20]
            } else {
                &bytes[8..40]
            };
            let whole = sum(addresses) + 6 + 20 + sum(&bytes[header..]);
            assert_eq!(fold(whole), 0xffff, "{from}: the checksum is right");
            let told = (&bytes[header + 4..header + 8], bytes[header + 13]);
            assert_eq!(told, (&[1, 2, 3, 4][..], 4), "{from}");
        }
    }
}
