//! Ethernet, IP and TCP (RFC 9293) headers of both versions of IP alike, and the Internet checksum (RFC 1071).

mod address;
mod ipv4;
mod ipv6;
mod layout;
mod too_big;
mod unread;

use core::mem::offset_of;

use network_types::{eth::EthHdr, ip::IpProto, tcp::TcpHdr};

pub use self::{
    address::Address,
    ipv4::{IPV4_BYTES, Ipv4Frame, Ipv4Translated},
    ipv6::{IPV6_BYTES, Ipv6Frame},
    too_big::{Ipv4TooBig, Ipv6TooBig, Quoted, TooBig},
    unread::{
        Chain, EXTENSIONS_MAX, ExtensionStart, Ipv4Start, Ipv6Start, TcpStart, is_of_vlan, is_tagged_again,
    },
};

/// A 16 bit number in network byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Be16(u16);

impl Be16 {
    /// Stores a number.
    #[inline(always)]
    #[must_use]
    pub const fn new(value: u16) -> Self {
        Self(value.to_be())
    }

    /// Reads the number.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u16 {
        u16::from_be(self.0)
    }

    /// The word as it lies in memory, as checksums want it.
    #[inline(always)]
    #[must_use]
    pub const fn raw(self) -> u16 {
        self.0
    }

    /// A word as it lies in memory.
    #[inline(always)]
    #[must_use]
    pub const fn from_raw(raw: u16) -> Self {
        Self(raw)
    }
}

/// A 32 bit number in network byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Be32(u32);

impl Be32 {
    /// Stores a number.
    #[inline(always)]
    #[must_use]
    pub const fn new(value: u32) -> Self {
        Self(value.to_be())
    }

    /// Reads the number.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u32 {
        u32::from_be(self.0)
    }

    /// The word as it lies in memory.
    #[inline(always)]
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// A word as it lies in memory, for example an IPv4 address of a map's key.
    #[inline(always)]
    #[must_use]
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }
}

/// Length of an Ethernet header in bytes.
pub const ETHERNET_BYTES: usize = EthHdr::LEN;
/// Length of a TCP header without options in bytes.
pub const TCP_BYTES: usize = TcpHdr::LEN;
/// The index of IPv4 in pairs of addresses and flags.
pub const IPV4: u32 = 0;
/// The index of IPv6.
pub const IPV6: u32 = 1;
/// The most bytes that Ethernet, IP and TCP headers have, without options.
pub const HEADERS_BYTES_MAX: usize = ETHERNET_BYTES + IPV6_BYTES + TCP_BYTES;
/// The least bytes that they have.
pub const HEADERS_BYTES_MIN: usize = ETHERNET_BYTES + IPV4_BYTES + TCP_BYTES;
/// Bytes of a TCP header before its checksum: what a translation changes.
pub const TCP_TRANSLATED_BYTES: usize = offset_of!(TcpHdr, check);

/// TCP flag: no more data from the sender.
pub const FIN: u8 = 0x01;
/// TCP flag: synchronise sequence numbers.
pub const SYN: u8 = 0x02;
/// TCP flag: reset the connection.
pub const RST: u8 = 0x04;
/// TCP flag: push.
pub const PSH: u8 = 0x08;
/// TCP flag: the acknowledgment number is valid.
pub const ACK: u8 = 0x10;

const PROTOCOL_TCP: u8 = IpProto::Tcp as u8;
const TIME_TO_LIVE: u8 = 64;

/// An Ethernet header, as it lies in the packet behind two bytes that align what follows to its size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Ethernet {
    /// Not part of the packet.
    pub lead: u16,
    /// Destination.
    pub destination: [u16; 3],
    /// Source.
    pub source: [u16; 3],
    /// EtherType.
    pub ethertype: Be16,
}

/// A TCP header without options, as it lies in the packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Tcp {
    /// Source port.
    pub source_port: Be16,
    /// Destination port.
    pub destination_port: Be16,
    /// Sequence number.
    pub sequence: Be32,
    /// Acknowledgment number.
    pub acknowledgment: Be32,
    /// Length of the header in words, in the upper four bits.
    pub length: u8,
    /// Flags.
    pub flags: u8,
    /// Receive window, unscaled.
    pub window: Be16,
    /// Checksum.
    pub checksum: Be16,
    /// Urgent pointer.
    pub urgent: Be16,
}

impl Ethernet {
    #[inline(always)]
    const fn fill(&mut self, segment: &Segment, ethertype: Be16) {
        self.lead = 0;
        self.destination = segment.ethernet_destination;
        self.source = segment.ethernet_source;
        self.ethertype = ethertype;
    }
}

impl Tcp {
    /// Makes this the header of a segment, without its checksum.
    #[inline(always)]
    const fn fill(&mut self, segment: &Segment) {
        self.source_port = segment.source_port;
        self.destination_port = segment.destination_port;
        self.sequence = Be32::new(segment.sequence);
        self.acknowledgment = Be32::new(segment.acknowledgment);
        self.length = ((segment.tcp_bytes() / 4) as u8) << 4;
        self.flags = segment.flags;
        self.window = Be16::new(segment.window);
        self.checksum = Be16::new(0);
        self.urgent = Be16::new(0);
    }

    /// Completes the checksum of a made header. `pseudo` is the sum over the pseudo-header, `rest` that over options
    /// and payload.
    ///
    /// With `partial` the pseudo-header's sum alone is written, and `rest` does not count.
    #[inline(always)]
    pub const fn finish_checksum(&mut self, partial: bool, pseudo: u64, rest: u64) {
        self.checksum = Be16::from_raw(if partial {
            fold(pseudo)
        } else {
            self.checksum = Be16::new(0);
            !fold(pseudo + self.sum() + rest)
        });
    }

    /// The sum over the header as it is, checksum included, options not.
    #[inline(always)]
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.source_port.raw() as u64
            + self.destination_port.raw() as u64
            + self.sequence.raw() as u64
            + self.acknowledgment.raw() as u64
            + pair(self.length, self.flags)
            + self.window.raw() as u64
            + self.checksum.raw() as u64
            + self.urgent.raw() as u64
    }
}

/// What the headers of a TCP segment say, whatever version of IP carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Headers {
    /// Ethernet destination.
    pub ethernet_destination: [u16; 3],
    /// Ethernet source.
    pub ethernet_source: [u16; 3],
    /// IP source.
    pub source: Address,
    /// IP destination.
    pub destination: Address,
    /// TCP source port.
    pub source_port: Be16,
    /// TCP destination port.
    pub destination_port: Be16,
    /// Sequence number.
    pub sequence: Be32,
    /// Acknowledgment number.
    pub acknowledgment: Be32,
    /// Length of the TCP header in words, in the upper four bits.
    pub tcp_length: u8,
    /// TCP flags.
    pub flags: u8,
    /// Receive window, unscaled.
    pub window: Be16,
    /// TCP checksum.
    pub checksum: Be16,
    /// Urgent pointer.
    pub urgent: Be16,
    /// Length of the IP header in bytes.
    pub ip_bytes: u16,
    /// Length of the TCP header and of the payload in bytes.
    pub segment_bytes: u16,
    /// IPv4 header checksum; 0 for IPv6.
    pub ipv4_checksum: Be16,
    /// 1 if the checksum is known to be whole, even where it looks partial by chance.
    pub is_whole: u16,
}

/// The addresses, numbers and flags of a segment that is to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Segment {
    /// Ethernet destination.
    pub ethernet_destination: [u16; 3],
    /// Ethernet source.
    pub ethernet_source: [u16; 3],
    /// IP source.
    pub source: Address,
    /// IP destination, of the same version.
    pub destination: Address,
    /// TCP source port.
    pub source_port: Be16,
    /// TCP destination port.
    pub destination_port: Be16,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number.
    pub acknowledgment: u32,
    /// TCP flags.
    pub flags: u8,
    /// Receive window, unscaled.
    pub window: u16,
    /// Length of the TCP options in bytes, a multiple of four.
    pub options_bytes: u16,
    /// Length of the payload in bytes.
    pub payload_bytes: u16,
    /// Length of the IP header in bytes.
    pub ip_bytes: u16,
}

impl Segment {
    /// Whether IPv6 carries it.
    #[inline(always)]
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        self.ip_bytes == IPV6_BYTES as u16
    }

    /// The version of IP as an index: [`IPV4`] or [`IPV6`].
    #[inline(always)]
    #[must_use]
    pub const fn family(&self) -> u32 {
        (self.ip_bytes as u32 >> 5) & 1
    }

    /// Length of the headers without TCP options, in bytes.
    #[inline(always)]
    #[must_use]
    pub const fn headers_bytes(&self) -> u32 {
        (ETHERNET_BYTES + TCP_BYTES) as u32 + self.ip_bytes as u32
    }

    /// Length of the TCP header, options included, in bytes.
    #[inline(always)]
    #[must_use]
    pub const fn tcp_bytes(&self) -> u16 {
        TCP_BYTES as u16 + self.options_bytes
    }

    /// The sum over the pseudo-header (RFC 9293, section 3.1; RFC 8200, section 8.1).
    #[inline(always)]
    #[must_use]
    pub const fn pseudo_sum(&self) -> u64 {
        pseudo_sum(
            &self.source,
            &self.destination,
            self.tcp_bytes() + self.payload_bytes,
        )
    }
}

impl Headers {
    #[inline(always)]
    const fn new(ethernet: &Ethernet, tcp: &Tcp) -> Self {
        Self {
            ethernet_destination: ethernet.destination,
            ethernet_source: ethernet.source,
            source: Address::NONE,
            destination: Address::NONE,
            source_port: tcp.source_port,
            destination_port: tcp.destination_port,
            sequence: tcp.sequence,
            acknowledgment: tcp.acknowledgment,
            tcp_length: tcp.length,
            flags: tcp.flags,
            window: tcp.window,
            checksum: tcp.checksum,
            urgent: tcp.urgent,
            ip_bytes: 0,
            segment_bytes: 0,
            ipv4_checksum: Be16::new(0),
            is_whole: 0,
        }
    }

    /// The TCP header.
    #[inline(always)]
    #[must_use]
    pub const fn tcp(&self) -> Tcp {
        Tcp {
            source_port: self.source_port,
            destination_port: self.destination_port,
            sequence: self.sequence,
            acknowledgment: self.acknowledgment,
            length: self.tcp_length,
            flags: self.flags,
            window: self.window,
            checksum: self.checksum,
            urgent: self.urgent,
        }
    }

    /// Whether IPv6 carries it.
    #[inline(always)]
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        self.ip_bytes == IPV6_BYTES as u16
    }

    /// The version of IP as an index: [`IPV4`] or [`IPV6`]. Without a branch, which would double the verifier's work.
    #[inline(always)]
    #[must_use]
    pub const fn family(&self) -> u32 {
        (self.ip_bytes as u32 >> 5) & 1
    }

    /// Offset of the TCP header in the frame.
    #[inline(always)]
    #[must_use]
    pub const fn tcp_offset(&self) -> u32 {
        ETHERNET_BYTES as u32 + self.ip_bytes as u32
    }

    /// Offset of the byte behind the segment: how long a frame is that holds all of it.
    #[inline(always)]
    #[must_use]
    pub const fn end_offset(&self) -> u32 {
        self.tcp_offset() + self.segment_bytes as u32
    }

    /// Offset of the first byte behind the TCP header without options.
    #[inline(always)]
    #[must_use]
    pub const fn options_offset(&self) -> u32 {
        self.tcp_offset() + TCP_BYTES as u32
    }

    /// Length of the TCP options in bytes, 0 to 40.
    #[inline(always)]
    #[must_use]
    pub const fn options_bytes(&self) -> u16 {
        ((self.tcp_length >> 4) as u16 * 4).wrapping_sub(TCP_BYTES as u16) & 0x3f
    }

    /// Offset of the payload in the frame.
    #[inline(always)]
    #[must_use]
    pub const fn payload_offset(&self) -> u32 {
        self.options_offset() + self.options_bytes() as u32
    }

    /// Length of the payload in bytes; 0 where the header's lengths contradict each other.
    #[inline(always)]
    #[must_use]
    pub const fn payload_bytes(&self) -> u16 {
        self.segment_bytes
            .saturating_sub(TCP_BYTES as u16 + self.options_bytes())
    }

    /// The sequence number behind this segment, SYN and FIN counted.
    #[inline(always)]
    #[must_use]
    pub const fn sequence_end(&self) -> u32 {
        let control = (self.flags & SYN != 0) as u32 + (self.flags & FIN != 0) as u32;
        self.sequence
            .get()
            .wrapping_add(self.payload_bytes() as u32)
            .wrapping_add(control)
    }

    /// Whether the checksum field holds the pseudo-header's sum alone, as in packets that a local stack or a
    /// virtual interface leaves for hardware to finish (`CHECKSUM_PARTIAL`).
    #[inline(always)]
    #[must_use]
    pub const fn has_partial_checksum(&self) -> bool {
        self.is_whole == 0 && self.looks_partial()
    }

    /// Whether the checksum field is what that of such a packet is; of whole ones, one in 65 536 is so by chance.
    #[inline(always)]
    #[must_use]
    pub const fn looks_partial(&self) -> bool {
        self.checksum.raw() == fold(self.pseudo_sum())
    }

    /// Whether a sum over the whole segment, checksum included, makes that right (RFC 9293, section 3.1).
    #[inline(always)]
    #[must_use]
    pub const fn is_right(&self, sum: u32) -> bool {
        fold(self.pseudo_sum() + sum as u64) == 0xffff
    }

    /// The sum over the pseudo-header.
    #[inline(always)]
    #[must_use]
    pub const fn pseudo_sum(&self) -> u64 {
        pseudo_sum(&self.source, &self.destination, self.segment_bytes)
    }

    /// Makes a segment one from here to where this one came from: in place, for a stack has no room for it.
    #[inline(always)]
    pub const fn answer(&self, segment: &mut Segment) {
        segment.ethernet_destination = self.ethernet_source;
        segment.ethernet_source = self.ethernet_destination;
        segment.source = self.destination;
        segment.destination = self.source;
        segment.source_port = self.destination_port;
        segment.destination_port = self.source_port;
        segment.sequence = self.acknowledgment.get();
        segment.acknowledgment = self.sequence_end();
        segment.flags = ACK;
        segment.window = 0;
        segment.options_bytes = 0;
        segment.payload_bytes = 0;
        segment.ip_bytes = self.ip_bytes;
    }

    /// Makes a segment one that goes where this one goes.
    #[inline(always)]
    pub const fn onward(&self, segment: &mut Segment) {
        segment.ethernet_destination = self.ethernet_destination;
        segment.ethernet_source = self.ethernet_source;
        segment.source = self.source;
        segment.destination = self.destination;
        segment.source_port = self.source_port;
        segment.destination_port = self.destination_port;
        segment.sequence = self.sequence.get();
        segment.acknowledgment = self.acknowledgment.get();
        segment.flags = self.flags;
        segment.window = self.window.get();
        segment.options_bytes = 0;
        segment.payload_bytes = 0;
        segment.ip_bytes = self.ip_bytes;
    }
}

/// The pseudo-headers of both versions have the same sum over the same content, and what stands before an IPv4 address
/// in an [`Address`] counts for nothing: 0xffff is a zero of the ones' complement.
#[inline(always)]
const fn pseudo_sum(source: &Address, destination: &Address, segment_bytes: u16) -> u64 {
    source.sum() + destination.sum() + PROTOCOL_TCP_WORD + segment_bytes.to_be() as u64
}

const PROTOCOL_TCP_WORD: u64 = (PROTOCOL_TCP as u16).to_be() as u64;

/// Two bytes as the word that they are in memory.
#[inline(always)]
const fn pair(first: u8, second: u8) -> u64 {
    u16::from_ne_bytes([first, second]) as u64
}

/// Folds a sum of 16 or 32 bit words into 16 bits, carries added back in.
#[inline(always)]
#[must_use]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

/// What a checksum gains when a word that was `old` becomes `new` (RFC 1624, equation 3), to be summed up.
#[inline(always)]
#[must_use]
pub const fn difference(old: u32, new: u32) -> u64 {
    !old as u64 + new as u64
}

#[cfg(test)]
mod tests;
