//! Messages of routers that a packet of ours was too big: ICMP, type 3, code 4 (RFC 1191), and ICMPv6, type 2
//! (RFC 4443, section 3.2).
//!
//! They quote the packet. Whoever is to send smaller ones must find its own in there.

use network_types::icmp::Icmpv4Hdr;

use super::{
    Address, Be16, Be32, ETHERNET_BYTES, Ethernet, IPV4_BYTES, IPV6_BYTES, PROTOCOL_TCP, difference, fold,
    ipv4::PROTOCOL_ICMP, ipv6::PROTOCOL_ICMP as PROTOCOL_ICMPV6,
};

const UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
const PACKET_TOO_BIG: u8 = 2;
/// The least that every IPv4 link carries (RFC 791, section 3.2).
const IPV4_MTU_MIN: u32 = 68;
/// The least that every IPv6 link carries (RFC 8200, section 5).
const IPV6_MTU_MIN: u32 = 1_280;
const ICMP_BYTES: usize = Icmpv4Hdr::LEN;
/// As much of a quoted segment as every router sends: ports and sequence number.
const QUOTED_BYTES: usize = 8;

/// The segment that a message quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quoted {
    /// Who sent it: this node.
    pub source: Address,
    /// To whom.
    pub destination: Address,
    /// From this port.
    pub source_port: Be16,
    /// To this port.
    pub destination_port: Be16,
    /// Its sequence number.
    pub sequence: u32,
}

/// The first bytes of a quoted segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct QuotedTcp {
    /// Source port.
    pub source_port: Be16,
    /// Destination port.
    pub destination_port: Be16,
    /// Sequence number.
    pub sequence: Be32,
}

impl QuotedTcp {
    #[inline(always)]
    const fn read(&self, quoted: &mut Quoted) {
        quoted.source_port = self.source_port;
        quoted.destination_port = self.destination_port;
        quoted.sequence = self.sequence.get();
    }

    const fn sum(&self) -> u64 {
        self.source_port.raw() as u64 + self.destination_port.raw() as u64 + self.sequence.raw() as u64
    }
}

/// What can be done to such a message, whatever version of IP it is of.
pub trait TooBig {
    /// Makes it one about another segment, to that one's sender, who is told `reserve` bytes less.
    fn requote(&mut self, quoted: &Quoted, reserve: u32);
    /// Gives the quoted segment another sequence number.
    fn renumber(&mut self, sequence: u32);
}

/// Such a message in IPv4, up to what it quotes of the segment, behind a lead of two bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Ipv4TooBig {
    /// Ethernet.
    pub ethernet: Ethernet,
    /// The header of the message.
    pub outer: Ipv4,
    /// Type and code.
    pub kind: [u8; 2],
    /// Checksum of the message.
    pub checksum: Be16,
    /// Unused.
    pub unused: Be16,
    /// What the next link carries, in bytes; routers before RFC 1191 say 0.
    pub mtu: Be16,
    /// The quoted header.
    pub inner: Ipv4,
    /// The quoted segment.
    pub tcp: QuotedTcp,
}

/// An IPv4 header without options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Ipv4 {
    /// Version and header length, type of service, total length, identification, fragment.
    pub start: [u16; 4],
    /// Time to live, and the protocol's number.
    pub life_and_protocol: [u8; 2],
    /// Checksum.
    pub checksum: Be16,
    /// Source, as the word that it is in memory.
    pub source: u32,
    /// Destination, likewise.
    pub destination: u32,
}

const _: () =
    assert!(size_of::<Ipv4TooBig>() == 2 + ETHERNET_BYTES + 2 * IPV4_BYTES + ICMP_BYTES + QUOTED_BYTES);

impl Ipv4 {
    const fn is_plain(&self, protocol: u8) -> bool {
        self.start[0].to_ne_bytes()[0] == 0x45 && self.life_and_protocol[1] == protocol
    }

    /// Gives it other addresses, and brings its checksum up to date.
    const fn readdress(&mut self, source: u32, destination: u32) {
        let gain = difference(self.source, source) + difference(self.destination, destination);
        self.checksum = Be16::from_raw(!fold((!self.checksum.raw()) as u64 + gain));
        self.source = source;
        self.destination = destination;
    }

    const fn sum(&self) -> u64 {
        self.checksum.raw() as u64 + self.source as u64 + self.destination as u64
    }
}

impl Ipv4TooBig {
    /// Reads the segment that it quotes. Returns whether it is such a message, about a segment of TCP.
    #[inline(always)]
    #[must_use]
    pub const fn quotes(&self, quoted: &mut Quoted) -> bool {
        let is_one = self.outer.is_plain(PROTOCOL_ICMP)
            && self.inner.is_plain(PROTOCOL_TCP)
            && self.kind[0] == UNREACHABLE
            && self.kind[1] == FRAGMENTATION_NEEDED;
        if is_one {
            quoted.source = Address::from_ipv4_word(self.inner.source);
            quoted.destination = Address::from_ipv4_word(self.inner.destination);
            self.tcp.read(quoted);
        }
        is_one
    }
}

impl TooBig for Ipv4TooBig {
    #[inline(always)]
    fn requote(&mut self, quoted: &Quoted, reserve: u32) {
        let before = self.inner.sum() + self.tcp.sum() + self.mtu.raw() as u64;
        let we = self.outer.destination;
        // To whom sent the segment; from us, whom it knows.
        self.outer.readdress(we, quoted.source.ipv4_word());
        self.inner
            .readdress(quoted.source.ipv4_word(), quoted.destination.ipv4_word());
        self.tcp.requote(quoted);
        self.mtu = Be16::new(lower(self.mtu.get() as u32, reserve, IPV4_MTU_MIN) as u16);
        let after = self.inner.sum() + self.tcp.sum() + self.mtu.raw() as u64;
        self.checksum = updated(self.checksum, before, after);
    }

    #[inline(always)]
    fn renumber(&mut self, sequence: u32) {
        let before = self.tcp.sum();
        self.tcp.sequence = Be32::new(sequence);
        self.checksum = updated(self.checksum, before, self.tcp.sum());
    }
}

/// Such a message in IPv6, likewise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Ipv6TooBig {
    /// Ethernet.
    pub ethernet: Ethernet,
    /// The header of the message.
    pub outer: Ipv6,
    /// Type and code.
    pub kind: [u8; 2],
    /// Checksum of the message.
    pub checksum: Be16,
    /// What the next link carries, in bytes.
    pub mtu: Be32,
    /// The quoted header.
    pub inner: Ipv6,
    /// The quoted segment.
    pub tcp: QuotedTcp,
}

/// An IPv6 header without extensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Ipv6 {
    /// Version, traffic class, flow label.
    pub start: [u8; 4],
    /// Length of what follows, in bytes.
    pub payload_length: Be16,
    /// What follows, and the hop limit.
    pub next_and_hops: [u8; 2],
    /// Source.
    pub source: Address,
    /// Destination.
    pub destination: Address,
}

const _: () =
    assert!(size_of::<Ipv6TooBig>() == 2 + ETHERNET_BYTES + 2 * IPV6_BYTES + ICMP_BYTES + QUOTED_BYTES);

impl Ipv6 {
    const fn is_plain(&self, next: u8) -> bool {
        self.start[0] >> 4 == 6 && self.next_and_hops[0] == next
    }

    const fn sum(&self) -> u64 {
        self.source.sum() + self.destination.sum()
    }
}

impl Ipv6TooBig {
    /// Reads the segment that it quotes. Returns whether it is such a message, about a segment of TCP.
    #[inline(always)]
    #[must_use]
    pub const fn quotes(&self, quoted: &mut Quoted) -> bool {
        let is_one = self.outer.is_plain(PROTOCOL_ICMPV6)
            && self.inner.is_plain(PROTOCOL_TCP)
            && self.kind[0] == PACKET_TOO_BIG
            && self.inner.destination.is_ipv6();
        if is_one {
            quoted.source = self.inner.source;
            quoted.destination = self.inner.destination;
            self.tcp.read(quoted);
        }
        is_one
    }
}

impl TooBig for Ipv6TooBig {
    #[inline(always)]
    fn requote(&mut self, quoted: &Quoted, reserve: u32) {
        // The pseudo-header counts too (RFC 4443, section 2.3).
        let before = self.outer.sum() + self.inner.sum() + self.tcp.sum() + self.mtu.raw() as u64;
        self.outer.source = self.outer.destination;
        self.outer.destination = quoted.source;
        self.inner.source = quoted.source;
        self.inner.destination = quoted.destination;
        self.tcp.requote(quoted);
        self.mtu = Be32::new(lower(self.mtu.get(), reserve, IPV6_MTU_MIN));
        let after = self.outer.sum() + self.inner.sum() + self.tcp.sum() + self.mtu.raw() as u64;
        self.checksum = updated(self.checksum, before, after);
    }

    #[inline(always)]
    fn renumber(&mut self, sequence: u32) {
        let before = self.tcp.sum();
        self.tcp.sequence = Be32::new(sequence);
        self.checksum = updated(self.checksum, before, self.tcp.sum());
    }
}

impl QuotedTcp {
    const fn requote(&mut self, quoted: &Quoted) {
        self.source_port = quoted.source_port;
        self.destination_port = quoted.destination_port;
        self.sequence = Be32::new(quoted.sequence);
    }
}

/// What is left of an MTU that leaves room for something.
const fn lower(mtu: u32, reserve: u32, least: u32) -> u32 {
    let lowered = mtu.saturating_sub(reserve);
    if mtu == 0 || lowered >= least {
        lowered
    } else {
        least
    }
}

/// A checksum over words whose sum has changed (RFC 1624, equation 3).
const fn updated(checksum: Be16, before: u64, after: u64) -> Be16 {
    let sum = (!checksum.raw()) as u64 + (!fold(before)) as u64 + fold(after) as u64;
    Be16::from_raw(!fold(sum))
}
