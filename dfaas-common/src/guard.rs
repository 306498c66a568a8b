//! What nobody at the service port ever wants, told from a packet's headers alone.

use crate::{
    meter::Limit,
    packet::{ACK, Address, FIN, RST, SYN},
};

/// The room for prefixes of addresses that are blocked.
pub const BLOCKED: usize = 16_384;
/// How many networks' SYNs are metered at once; those that were seen the longest ago are forgotten first.
pub const NETWORKS: usize = 65_536;

/// The length of a whole address of either version, in bits of a prefix.
pub const ADDRESS_BITS: u32 = 128;

/// What the guard is told. Agent -> kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Guard {
    /// How many SYNs a network may send; the bucket is not used.
    pub syns: Limit,
    /// How many prefixes are blocked: none need no look-up.
    pub blocked: u32,
    /// Keeps the layout free of padding.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Guard>() == 32);

/// Whether no stack sends a segment with these flags: without ACK, SYN or RST (each segment behind the first SYN has an
/// ACK, RFC 9293, section 3.10.7.4), or with two of SYN, RST and FIN.
#[inline(always)]
#[must_use]
pub const fn are_impossible(flags: u8) -> bool {
    let kinds = flags & (SYN | RST | FIN);
    flags & (ACK | SYN | RST) == 0 || kinds & kinds.wrapping_sub(1) != 0
}

/// The network of a host, as far as its SYNs are metered together: a `/24` of IPv4, a `/56` of IPv6, which is what a
/// site is given (RFC 6177, section 2).
#[inline(always)]
#[must_use]
pub const fn network(host: &Address) -> Address {
    const THREE_BYTES: u32 = 0xffff_ff00_u32.to_be();
    let [first, second, third, last] = host.words();
    if host.is_ipv6() {
        Address::from_words([first, second & THREE_BYTES, 0, 0])
    } else {
        Address::from_words([first, second, third, last & THREE_BYTES])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::PSH;

    #[test]
    fn flags_of_ordinary_segments_are_possible() {
        for flags in [
            SYN,
            SYN | ACK,
            ACK,
            ACK | PSH,
            ACK | FIN,
            ACK | FIN | PSH,
            RST,
            RST | ACK,
        ] {
            assert!(!are_impossible(flags), "{flags:#x}");
            // Congestion is told by the two highest bits (RFC 3168), urgent data by 0x20.
            assert!(!are_impossible(flags | 0xe0), "{flags:#x}");
        }
    }

    #[test]
    fn flags_of_scanners_are_impossible() {
        let xmas = FIN | PSH | 0x20;
        for flags in [
            0,
            FIN,
            xmas,
            PSH,
            SYN | FIN,
            SYN | RST,
            RST | FIN,
            SYN | FIN | ACK,
            0xff,
        ] {
            assert!(are_impossible(flags), "{flags:#x}");
        }
    }

    #[test]
    fn neighbours_are_of_one_network() {
        let ipv4 = [[192, 0, 2, 1], [192, 0, 2, 250], [192, 0, 3, 1]].map(Address::from_ipv4);
        assert_eq!(network(&ipv4[0]), network(&ipv4[1]));
        assert_ne!(network(&ipv4[0]), network(&ipv4[2]));
        let ipv6 = |byte: usize| {
            let mut octets = [0x20; 16];
            octets[byte] = 1;
            Address::from_ipv6(octets)
        };
        assert_eq!(network(&ipv6(7)), network(&ipv6(15)));
        assert_ne!(network(&ipv6(6)), network(&ipv6(15)));
    }
}
