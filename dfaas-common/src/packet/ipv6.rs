//! IPv6 (RFC 8200).

use core::mem::offset_of;

use network_types::{
    eth::EtherType,
    ip::{IpProto, Ipv6Hdr},
};

use super::{
    Address, Be16, ETHERNET_BYTES, Ethernet, Headers, PROTOCOL_TCP, Segment, TCP_BYTES, TIME_TO_LIVE, Tcp,
};

/// Length of an IPv6 header without extensions in bytes.
pub const IPV6_BYTES: usize = Ipv6Hdr::LEN;

pub(super) const ETHERTYPE: Be16 = Be16::from_raw(EtherType::Ipv6 as u16);
pub(super) const PROTOCOL_ICMP: u8 = IpProto::Ipv6Icmp as u8;
const VERSION: u8 = 6;

/// The headers of a TCP segment in IPv6, as they lie in the packet behind a lead of two bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Ipv6Frame {
    /// Ethernet.
    pub ethernet: Ethernet,
    /// Version, traffic class and flow label.
    pub version_and_label: [u8; 4],
    /// Length of what follows the header, in bytes.
    pub payload_length: Be16,
    /// Protocol number of what follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source.
    pub source: Address,
    /// Destination.
    pub destination: Address,
    /// TCP.
    pub tcp: Tcp,
}

impl Ipv6Frame {
    /// Where the addresses begin in a frame.
    pub const ADDRESSES_OFFSET: usize = ETHERNET_BYTES + offset_of!(Ipv6Hdr, src_addr);

    /// Whether this is an unfragmented TCP segment without extensions; all else passes untouched, and so do packets
    /// that carry IPv4 addresses, which nobody may send (RFC 4291, section 2.5.5.2).
    #[inline(always)]
    #[must_use]
    pub const fn is_plain_tcp(&self) -> bool {
        self.ethernet.ethertype.raw() == ETHERTYPE.raw()
            && self.version_and_label[0] >> 4 == VERSION
            && self.next_header == PROTOCOL_TCP
            && self.payload_length.get() >= TCP_BYTES as u16
            && self.tcp.length >> 4 >= 5
            && self.source.is_ipv6()
            && self.destination.is_ipv6()
    }

    /// Whether this is ICMPv6.
    #[inline(always)]
    #[must_use]
    pub const fn is_icmp(&self) -> bool {
        self.next_header == PROTOCOL_ICMP
    }

    /// Whether this is IPv6 at all.
    #[inline(always)]
    #[must_use]
    pub const fn is_ethertype(ethertype: Be16) -> bool {
        ethertype.raw() == ETHERTYPE.raw()
    }

    /// What a plain TCP segment says.
    #[inline(always)]
    #[must_use]
    pub const fn headers(&self) -> Headers {
        Headers {
            source: self.source,
            destination: self.destination,
            ip_bytes: IPV6_BYTES as u16,
            segment_bytes: self.payload_length.get(),
            ..Headers::new(&self.ethernet, &self.tcp)
        }
    }

    /// Makes these the headers of a new segment; that of TCP lacks its checksum. As for IPv4, field by field.
    #[inline(always)]
    pub const fn fill(&mut self, segment: &Segment) {
        self.ethernet.fill(segment, ETHERTYPE);
        self.version_and_label = [VERSION << 4, 0, 0, 0];
        self.payload_length = Be16::new(segment.tcp_bytes() + segment.payload_bytes);
        self.next_header = PROTOCOL_TCP;
        self.hop_limit = TIME_TO_LIVE;
        self.source = segment.source;
        self.destination = segment.destination;
        self.tcp.fill(segment);
    }
}
