//! TCP segments that the programs do not read: with IP options or extension headers, and fragments. What is read here is
//! only where they go, so that none gets around the decision.

use network_types::{eth::EtherType, ip::IpProto};

use super::{
    ACK, Address, Be16, ETHERNET_BYTES, Ethernet, FIN, IPV6_BYTES, PROTOCOL_TCP, RST, SYN,
    ipv4::ETHERTYPE as ETHERTYPE_IPV4, ipv6::ETHERTYPE as ETHERTYPE_IPV6,
};

/// IEEE 802.1Q and 802.1ad.
const ETHERTYPES_VLAN: [Be16; 2] = [
    Be16::from_raw(EtherType::Ieee8021q as u16),
    Be16::from_raw(EtherType::Ieee8021ad as u16),
];
/// The part of a VLAN tag that says which VLAN it is of; 0 is a priority alone (IEEE 802.1Q, 9.6).
const VLAN_ID: u16 = 0x0fff;

const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;
const ROUTING: u8 = IpProto::Ipv6Route as u8;
const FRAGMENT: u8 = IpProto::Ipv6Frag as u8;
const AUTHENTICATION: u8 = IpProto::Ah as u8;
const DESTINATION_OPTIONS: u8 = IpProto::Ipv6Opts as u8;

/// More extension headers than these nobody needs.
pub const EXTENSIONS_MAX: usize = 8;

/// Whether a frame of this type, whose first tag is of no VLAN, has another such tag: the stack takes both off.
#[inline(always)]
#[must_use]
pub const fn is_tagged_again(ethertype: Be16, tag: Be16) -> bool {
    let [customer, service] = ETHERTYPES_VLAN;
    let is_tag = ethertype.raw() == customer.raw() || ethertype.raw() == service.raw();
    is_tag && tag.get() & VLAN_ID == 0
}

/// Whether a VLAN's tag says which VLAN it is of.
#[inline(always)]
#[must_use]
pub const fn is_of_vlan(tag: u16) -> bool {
    tag & VLAN_ID != 0
}

/// An IPv4 header without its options behind one of Ethernet, as they lie in the packet behind a lead of two bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Ipv4Start {
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
}

impl Ipv4Start {
    /// Where the TCP header begins in the frame, if this is the beginning of a segment. A later fragment comes to nothing
    /// without the first one (RFC 791, section 3.2), which has the ports.
    #[inline(always)]
    #[must_use]
    pub const fn tcp_offset(&self) -> Option<u32> {
        const OFFSET: u16 = 0x1fff;
        let is_first = self.ethernet.ethertype.raw() == ETHERTYPE_IPV4.raw()
            && self.version_and_length >> 4 == 4
            && self.protocol == PROTOCOL_TCP
            && self.fragment.get() & OFFSET == 0;
        if is_first {
            Some(ETHERNET_BYTES as u32 + (self.version_and_length & 15) as u32 * 4)
        } else {
            None
        }
    }

    /// How long the frame has to be for this packet, in bytes.
    #[inline(always)]
    #[must_use]
    pub const fn end_offset(&self) -> u32 {
        ETHERNET_BYTES as u32 + self.total_length.get() as u32
    }
}

/// An IPv6 header behind one of Ethernet, as they lie in the packet behind a lead of two bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Ipv6Start {
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
}

impl Ipv6Start {
    /// Whether this is IPv6.
    #[inline(always)]
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        self.ethernet.ethertype.raw() == ETHERTYPE_IPV6.raw()
    }

    /// Where its chain of headers begins.
    #[inline(always)]
    #[must_use]
    pub const fn chain(&self) -> Chain {
        Chain {
            next: self.next_header,
            is_fragment: false,
            at: (ETHERNET_BYTES + IPV6_BYTES) as u32,
        }
    }

    /// How long the frame has to be for this packet, in bytes.
    #[inline(always)]
    #[must_use]
    pub const fn end_offset(&self) -> u32 {
        (ETHERNET_BYTES + IPV6_BYTES) as u32 + self.payload_length.get() as u32
    }
}

/// A place in an IPv6 packet's chain of headers (RFC 8200, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    next: u8,
    is_fragment: bool,
    at: u32,
}

/// The first bytes of an extension header: none is shorter.
pub type ExtensionStart = [u8; 8];

impl Chain {
    /// Where the header at this place begins in the frame.
    #[inline(always)]
    #[must_use]
    pub const fn offset(&self) -> u32 {
        self.at
    }

    /// Whether that is one of TCP.
    #[inline(always)]
    #[must_use]
    pub const fn is_tcp(&self) -> bool {
        self.next == PROTOCOL_TCP
    }

    /// Whether it is an extension, behind which the chain goes on.
    #[inline(always)]
    #[must_use]
    pub const fn is_extension(&self) -> bool {
        matches!(
            self.next,
            HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS
        )
    }

    /// Whether the packet is a fragment, so that what is missing here may come in another one.
    #[inline(always)]
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.is_fragment
    }

    /// The place behind an extension; nothing in a later fragment, which comes to nothing without the first one.
    #[inline(always)]
    #[must_use]
    pub const fn behind(self, start: ExtensionStart) -> Option<Self> {
        const OFFSET: u16 = 0xfff8;
        let more = start[1] as u32;
        let bytes = match self.next {
            FRAGMENT if u16::from_be_bytes([start[2], start[3]]) & OFFSET != 0 => return None,
            FRAGMENT => 8,
            AUTHENTICATION => (more + 2) * 4,
            _ => (more + 1) * 8,
        };
        Some(Self {
            next: start[0],
            is_fragment: self.is_fragment || self.next == FRAGMENT,
            at: self.at + bytes,
        })
    }
}

/// The first bytes of a TCP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TcpStart {
    /// Source port.
    pub source_port: [u8; 2],
    /// Destination port.
    pub destination_port: [u8; 2],
    /// Both numbers.
    pub numbers: [u8; 8],
    /// Length of the header in words, in the upper four bits.
    pub length: u8,
    /// Flags; none where the header is cut before them.
    pub flags: u8,
}

impl TcpStart {
    /// Whether this opens a connection.
    #[inline(always)]
    #[must_use]
    pub const fn is_syn(&self) -> bool {
        self.flags & (SYN | ACK | RST | FIN) == SYN
    }
}

const _: () = assert!(size_of::<TcpStart>() == 14);

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4() -> Ipv4Start {
        Ipv4Start {
            ethernet: Ethernet {
                ethertype: ETHERTYPE_IPV4,
                ..Ethernet::default()
            },
            version_and_length: 0x46,
            protocol: PROTOCOL_TCP,
            total_length: Be16::new(44),
            ..Ipv4Start::default()
        }
    }

    #[test]
    fn the_ports_are_behind_ipv4s_options_in_the_first_fragment() {
        assert_eq!(ipv4().tcp_offset(), Some(14 + 24));
        assert_eq!(ipv4().end_offset(), 14 + 44);
        let fragment = |bits| Ipv4Start {
            fragment: Be16::new(bits),
            ..ipv4()
        };
        // More fragments, and the bit that nobody may set.
        assert_eq!(fragment(0x2000).tcp_offset(), Some(38));
        assert_eq!(fragment(0x8000).tcp_offset(), Some(38));
        assert_eq!(fragment(0x2001).tcp_offset(), None);
        let udp = Ipv4Start {
            protocol: 17,
            ..ipv4()
        };
        assert_eq!(udp.tcp_offset(), None);
    }

    #[test]
    fn a_chain_is_followed_to_tcp() {
        let start = Ipv6Start {
            next_header: HOP_BY_HOP,
            ..Ipv6Start::default()
        };
        let chain = start.chain();
        assert!(chain.is_extension() && !chain.is_tcp());
        let chain = chain.behind([ROUTING, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(chain.offset(), 54 + 8);
        let chain = chain.behind([AUTHENTICATION, 2, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(chain.offset(), 54 + 8 + 24);
        let chain = chain.behind([FRAGMENT, 4, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!((chain.offset(), chain.is_fragment()), (54 + 8 + 24 + 24, false));
        let tcp = chain.behind([PROTOCOL_TCP, 0, 0, 1, 0, 0, 0, 0]).unwrap();
        assert!(tcp.is_tcp() && !tcp.is_extension() && tcp.is_fragment());
        assert_eq!(tcp.offset(), 54 + 8 + 24 + 24 + 8);
        assert_eq!(chain.behind([PROTOCOL_TCP, 0, 0, 8, 0, 0, 0, 0]), None);
    }

    #[test]
    fn tags_of_no_vlan_are_told_from_others() {
        assert!(is_of_vlan(5) && is_of_vlan(0xe005) && !is_of_vlan(0xe000));
        assert!(is_tagged_again(Be16::new(0x8100), Be16::new(0xe000)));
        assert!(!is_tagged_again(Be16::new(0x88a8), Be16::new(7)));
        assert!(!is_tagged_again(Be16::new(0x0800), Be16::new(0)));
    }

    #[test]
    fn only_a_syn_opens() {
        for (flags, want) in [
            (SYN, true),
            (SYN | ACK, false),
            (SYN | 0xc0, true),
            (0, false),
            (ACK, false),
        ] {
            let start = TcpStart {
                flags,
                ..TcpStart::default()
            };
            assert_eq!(start.is_syn(), want, "{flags:x}");
        }
    }
}
