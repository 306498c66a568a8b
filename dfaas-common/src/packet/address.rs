//! Addresses of both versions of IP.

/// The first words of an IPv4 address, as it stands among IPv6 addresses (RFC 4291, section 2.5.5.2).
const IPV4: [u32; 3] = [0, 0, 0xffff_u32.to_be()];

/// An IP address. One of IPv4 is written `::ffff:a.b.c.d`; zeros are none.
///
/// Words as they lie in memory, so that comparing takes four steps and checksums take them as they are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct Address {
    words: [u32; 4],
}

impl Address {
    /// No address.
    pub const NONE: Self = Self { words: [0; 4] };

    /// An IPv4 address from its bytes.
    #[inline(always)]
    #[must_use]
    pub const fn from_ipv4(octets: [u8; 4]) -> Self {
        Self::from_ipv4_word(u32::from_ne_bytes(octets))
    }

    /// An IPv4 address from the word that it is in memory.
    #[inline(always)]
    #[must_use]
    pub const fn from_ipv4_word(word: u32) -> Self {
        Self {
            words: [IPV4[0], IPV4[1], IPV4[2], word],
        }
    }

    /// An IPv6 address from the words that it is in memory.
    #[inline(always)]
    #[must_use]
    pub const fn from_words(words: [u32; 4]) -> Self {
        Self { words }
    }

    /// An IPv6 address from its bytes.
    #[must_use]
    pub const fn from_ipv6(octets: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        Self {
            words: [
                u32::from_ne_bytes([a, b, c, d]),
                u32::from_ne_bytes([e, f, g, h]),
                u32::from_ne_bytes([i, j, k, l]),
                u32::from_ne_bytes([m, n, o, p]),
            ],
        }
    }

    /// The words as they lie in memory.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> [u32; 4] {
        self.words
    }

    /// An IPv4 address as the word that it is in memory.
    #[inline(always)]
    #[must_use]
    pub const fn ipv4_word(&self) -> u32 {
        self.words[3]
    }

    /// Whether this is an address of IPv6, and not one of IPv4 in its clothes. No address counts as one of IPv6.
    #[inline(always)]
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        (self.words[0] ^ IPV4[0]) | (self.words[1] ^ IPV4[1]) | (self.words[2] ^ IPV4[2]) != 0
    }

    /// Whether there is no address.
    #[inline(always)]
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.words[0] | self.words[1] | self.words[2] | self.words[3] == 0
    }

    /// The sum of the words, as the Internet checksum takes it.
    #[inline(always)]
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.words[0] as u64 + self.words[1] as u64 + self.words[2] as u64 + self.words[3] as u64
    }

    /// What a checksum gains when this address takes the place of another.
    #[inline(always)]
    #[must_use]
    pub const fn gain_over(&self, old: &Self) -> u64 {
        let inverted = 4 * (u32::MAX as u64) - old.sum();
        self.sum() + inverted
    }
}

impl PartialEq for Address {
    /// By words: comparing byte by byte is dear where nothing is inlined by hand.
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&self.words, &other.words);
        (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) == 0
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use super::*;

    #[test]
    fn versions_are_told_apart() {
        let old = Address::from_ipv4([10, 77, 0, 1]);
        let new = Address::from_ipv6("fd00:77::1".parse::<Ipv6Addr>().unwrap().octets());
        assert!(!old.is_ipv6() && new.is_ipv6());
        assert_eq!(old.ipv4_word().to_ne_bytes(), [10, 77, 0, 1]);
        let mapped = "::ffff:10.77.0.1".parse::<Ipv6Addr>().unwrap();
        assert_eq!(Address::from_ipv6(mapped.octets()), old);
        assert!(Address::NONE.is_none() && !old.is_none() && !new.is_none());
        assert_ne!(old, new);
    }
}
