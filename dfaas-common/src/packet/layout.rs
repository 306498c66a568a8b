//! Our headers beside those of `network-types`, from which lengths and numbers come, too: each field lies where it must.
//!
//! Its own types are not read into, because their numbers are arrays of bytes, without an alignment: the eBPF target loads
//! such a number byte by byte, and sums of checksums want words. Ours lie behind a lead of two bytes that aligns them. Of TCP's
//! flags it has single bits and no byte, of options and of what messages quote nothing.

use core::mem::offset_of;

use network_types::{
    eth::EthHdr,
    icmp::{Icmpv4Hdr, Icmpv6Hdr},
    ip::{Ipv4Hdr, Ipv6Hdr},
    tcp::TcpHdr,
};

use super::{
    Ethernet, Ipv4Frame, Ipv4Start, Ipv4TooBig, Ipv4Translated, Ipv6Frame, Ipv6Start, Ipv6TooBig, Tcp,
    TcpStart,
    too_big::{Ipv4, Ipv6, QuotedTcp},
};

/// What stands before a packet.
const LEAD: usize = 2;
/// Where the header of IP begins behind such a lead.
const IP: usize = LEAD + EthHdr::LEN;

/// Asserts that fields of ours, at an offset of a structure of ours, lie where those of a header lie.
macro_rules! lie {
    ($ours:ty, $theirs:ty, $start:expr, $($field:ident => $name:ident),+ $(,)?) => {
        $(assert!(offset_of!($ours, $field) == $start + offset_of!($theirs, $name));)+
    };
}

const _: () = {
    lie!(Ethernet, EthHdr, LEAD, destination => dst_addr, source => src_addr, ethertype => ether_type);
    assert!(size_of::<Ethernet>() == IP);
    lie!(
        Tcp, TcpHdr, 0,
        source_port => source, destination_port => dest, sequence => seq, acknowledgment => ack_seq,
        length => _bitfield_1, window => window, checksum => check, urgent => urg_ptr,
    );
    assert!(size_of::<Tcp>() == TcpHdr::LEN && offset_of!(Tcp, flags) == offset_of!(Tcp, length) + 1);
    lie!(TcpStart, TcpHdr, 0, source_port => source, destination_port => dest, numbers => seq, length => _bitfield_1);
    lie!(QuotedTcp, TcpHdr, 0, source_port => source, destination_port => dest, sequence => seq);
};

const _: () = {
    lie!(
        Ipv4Frame, Ipv4Hdr, IP,
        version_and_length => vihl, service => tos, total_length => tot_len, identification => id, fragment => frags,
        time_to_live => ttl, protocol => proto, checksum => check, source => src_addr, destination => dst_addr,
    );
    assert!(offset_of!(Ipv4Frame, tcp) == IP + Ipv4Hdr::LEN);
    lie!(
        Ipv4Start, Ipv4Hdr, IP,
        version_and_length => vihl, service => tos, total_length => tot_len, identification => id, fragment => frags,
        time_to_live => ttl, protocol => proto, checksum => check, source => src_addr, destination => dst_addr,
    );
    assert!(size_of::<Ipv4Start>() == IP + Ipv4Hdr::LEN);
    lie!(
        Ipv4, Ipv4Hdr, 0,
        start => vihl, life_and_protocol => ttl, checksum => check, source => src_addr, destination => dst_addr,
    );
    assert!(size_of::<Ipv4>() == Ipv4Hdr::LEN);
    // What is translated begins at the checksum.
    let checksum = offset_of!(Ipv4Hdr, check);
    assert!(offset_of!(Ipv4Translated, source) - LEAD == offset_of!(Ipv4Hdr, src_addr) - checksum);
    assert!(offset_of!(Ipv4Translated, destination) - LEAD == offset_of!(Ipv4Hdr, dst_addr) - checksum);
    assert!(offset_of!(Ipv4Translated, tcp) - LEAD == Ipv4Hdr::LEN - checksum);
};

const _: () = {
    lie!(
        Ipv6Frame, Ipv6Hdr, IP,
        version_and_label => vcf, payload_length => payload_len, next_header => next_hdr, hop_limit => hop_limit,
        source => src_addr, destination => dst_addr,
    );
    assert!(offset_of!(Ipv6Frame, tcp) == IP + Ipv6Hdr::LEN);
    lie!(
        Ipv6Start, Ipv6Hdr, IP,
        version_and_label => vcf, payload_length => payload_len, next_header => next_hdr, hop_limit => hop_limit,
        source => src_addr, destination => dst_addr,
    );
    assert!(size_of::<Ipv6Start>() == IP + Ipv6Hdr::LEN);
    lie!(
        Ipv6, Ipv6Hdr, 0,
        start => vcf, payload_length => payload_len, next_and_hops => next_hdr, source => src_addr, destination => dst_addr,
    );
    assert!(size_of::<Ipv6>() == Ipv6Hdr::LEN);
};

const _: () = {
    let icmp = IP + Ipv4Hdr::LEN;
    lie!(Ipv4TooBig, Icmpv4Hdr, icmp, kind => type_, checksum => check, unused => data);
    assert!(offset_of!(Ipv4TooBig, inner) == icmp + Icmpv4Hdr::LEN);
    let icmp = IP + Ipv6Hdr::LEN;
    lie!(Ipv6TooBig, Icmpv6Hdr, icmp, kind => type_, checksum => check, mtu => data);
    assert!(offset_of!(Ipv6TooBig, inner) == icmp + Icmpv6Hdr::LEN);
};
