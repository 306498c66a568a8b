//! IPv4 (RFC 791).

use core::mem::offset_of;

use network_types::{
    eth::EtherType,
    ip::{IpProto, Ipv4Hdr},
};

use super::{
    Address, Be16, ETHERNET_BYTES, Ethernet, Headers, PROTOCOL_TCP, Segment, TCP_BYTES, TIME_TO_LIVE, Tcp,
    fold, pair,
};

/// Length of an IPv4 header without options in bytes.
pub const IPV4_BYTES: usize = Ipv4Hdr::LEN;

pub(super) const ETHERTYPE: Be16 = Be16::from_raw(EtherType::Ipv4 as u16);
pub(super) const PROTOCOL_ICMP: u8 = IpProto::Icmp as u8;
const VERSION_AND_LENGTH: u8 = 0x45;
const DONT_FRAGMENT: u16 = 0x4000;

/// The headers of a TCP segment in IPv4, as they lie in the packet behind a lead of two bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Ipv4Frame {
    /// Ethernet.
    pub ethernet: Ethernet,
    /// Version and header length in words.
    pub version_and_length: u8,
    /// Type of service.
    pub service: u8,
    /// Length of the packet in bytes.
    pub total_length: Be16,
    /// Identification.
    pub identification: Be16,
    /// Flags and fragment offset.
    pub fragment: Be16,
    /// Time to live.
    pub time_to_live: u8,
    /// Protocol number.
    pub protocol: u8,
    /// Header checksum.
    pub checksum: Be16,
    /// Source, as the word that it is in memory.
    pub source: u32,
    /// Destination, likewise.
    pub destination: u32,
    /// TCP.
    pub tcp: Tcp,
}

impl Ipv4Frame {
    /// The headers, if this is an unfragmented TCP segment without IP options; all else passes untouched.
    #[inline(always)]
    #[must_use]
    pub const fn is_plain_tcp(&self) -> bool {
        self.ethernet.ethertype.raw() == ETHERTYPE.raw()
            && self.version_and_length == VERSION_AND_LENGTH
            && self.protocol == PROTOCOL_TCP
            && self.fragment.get() & !DONT_FRAGMENT == 0
            && self.total_length.get() >= (IPV4_BYTES + TCP_BYTES) as u16
            && self.tcp.length >> 4 >= 5
    }

    /// Whether this is ICMP.
    #[inline(always)]
    #[must_use]
    pub const fn is_icmp(&self) -> bool {
        self.ethernet.ethertype.raw() == ETHERTYPE.raw() && self.protocol == PROTOCOL_ICMP
    }

    /// What a plain TCP segment says.
    #[inline(always)]
    #[must_use]
    pub const fn headers(&self) -> Headers {
        Headers {
            source: Address::from_ipv4_word(self.source),
            destination: Address::from_ipv4_word(self.destination),
            ip_bytes: IPV4_BYTES as u16,
            segment_bytes: self.total_length.get().wrapping_sub(IPV4_BYTES as u16),
            ipv4_checksum: self.checksum,
            ..Headers::new(&self.ethernet, &self.tcp)
        }
    }

    /// Makes these the headers of a new segment; that of TCP lacks its checksum.
    ///
    /// Field by field: what is made as a whole is made on the stack, of which programs have 512 bytes.
    #[inline(always)]
    pub const fn fill(&mut self, segment: &Segment) {
        self.ethernet.fill(segment, ETHERTYPE);
        self.version_and_length = VERSION_AND_LENGTH;
        self.service = 0;
        self.total_length = Be16::new(IPV4_BYTES as u16 + segment.tcp_bytes() + segment.payload_bytes);
        self.identification = Be16::new(0);
        self.fragment = Be16::new(DONT_FRAGMENT);
        self.time_to_live = TIME_TO_LIVE;
        self.protocol = PROTOCOL_TCP;
        self.checksum = Be16::new(0);
        self.source = segment.source.ipv4_word();
        self.destination = segment.destination.ipv4_word();
        self.tcp.fill(segment);
        self.checksum = Be16::from_raw(!fold(self.sum()));
    }

    const fn sum(&self) -> u64 {
        pair(self.version_and_length, self.service)
            + self.total_length.raw() as u64
            + self.identification.raw() as u64
            + self.fragment.raw() as u64
            + pair(self.time_to_live, self.protocol)
            + self.source as u64
            + self.destination as u64
    }
}

/// The part of the headers that a translation of addresses changes, behind a lead of two bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Ipv4Translated {
    /// Not part of the packet.
    pub lead: u16,
    /// IPv4 header checksum.
    pub checksum: Be16,
    /// Source, as the word that it is in memory.
    pub source: u32,
    /// Destination, likewise.
    pub destination: u32,
    /// TCP; only what stands before its checksum is written.
    pub tcp: Tcp,
}

impl Ipv4Translated {
    /// Where it begins in a frame.
    pub const OFFSET: usize = ETHERNET_BYTES + offset_of!(Ipv4Hdr, check);
}
