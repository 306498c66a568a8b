//! SipHash-2-4: a keyed function of connections that nobody can compute without its secret.
//!
//! Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012. Initial sequence numbers (RFC 6528, section 3) and
//! source ports (RFC 6056, section 3.3) are made of it.

use crate::maps::FlowKey;

/// A state that takes words in.
#[derive(Clone, Copy)]
struct State([u64; 4]);

impl State {
    #[inline(always)]
    const fn new([k0, k1]: [u64; 2]) -> Self {
        Self([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ])
    }

    #[inline(always)]
    const fn round(self) -> Self {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        Self([a, b, c, d])
    }

    /// Takes a word in, little end first.
    #[inline(always)]
    const fn word(mut self, word: u64) -> Self {
        self.0[3] ^= word;
        self = self.round().round();
        self.0[0] ^= word;
        self
    }

    /// The hash; the last word has the message's length in its highest byte.
    #[inline(always)]
    const fn finish(self, last: u64) -> u64 {
        let mut state = self.word(last);
        state.0[2] ^= 0xff;
        let [a, b, c, d] = state.round().round().round().round().0;
        a ^ b ^ c ^ d
    }
}

/// What a hash of a connection is for: no two uses can learn of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// Our first sequence number towards a client.
    TowardsClient = 1,
    /// Our first sequence number towards a server.
    TowardsServer = 2,
    /// The source port of a connection to a server.
    Port = 3,
}

/// A connection and a purpose as words: the remote address's two, and one of both ports and the purpose.
#[inline(always)]
#[must_use]
pub const fn words(key: &FlowKey, purpose: Purpose) -> [u64; 3] {
    let [a, b, c, d] = key.remote.words();
    let remote = u16::from_ne_bytes(key.remote_port) as u64;
    let local = u16::from_ne_bytes(key.local_port) as u64;
    [
        a as u64 | (b as u64) << 32,
        c as u64 | (d as u64) << 32,
        remote | local << 16 | (purpose as u64) << 32,
    ]
}

/// The length of what is hashed: [`words`] and one more, in bytes.
const MESSAGE_BYTES: u64 = 32;

/// The keyed hash of four words.
#[inline(always)]
#[must_use]
pub const fn hash(secret: [u64; 2], [a, b, c, d]: [u64; 4]) -> u64 {
    let state = State::new(secret).word(a).word(b).word(c).word(d);
    state.finish(MESSAGE_BYTES << 56)
}

/// How many bits of the nanosecond clock a sequence number leaves out: it goes on by one each 64 ns, as Linux's does, and
/// comes round after 4.5 minutes (RFC 9293, section 3.4.1).
const CLOCK_SHIFT: u32 = 6;

/// The first sequence number of a connection of this hash at a time of the monotonic clock (RFC 6528, section 3).
#[inline(always)]
#[must_use]
pub const fn sequence_start(hash: u64, now_ns: u64) -> u32 {
    let clock = (now_ns >> CLOCK_SHIFT) as u32;
    clock.wrapping_add(hash as u32)
}

#[cfg(test)]
mod tests {
    use core::hash::Hasher as _;

    use proptest::prelude::*;

    use super::*;
    use crate::packet::Address;

    /// The key of the reference implementation's vectors: the bytes 0 to 15.
    const KEY: [u64; 2] = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];

    fn of_bytes(key: [u64; 2], bytes: &[u8]) -> u64 {
        let words = bytes.chunks_exact(8);
        let mut last = [0; 8];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        last[7] = bytes.len() as u8;
        let state = words.fold(State::new(key), |state, word| {
            state.word(u64::from_le_bytes(word.try_into().unwrap()))
        });
        state.finish(u64::from_le_bytes(last))
    }

    #[test]
    fn the_vectors_of_the_reference_come_out() {
        // `vectors_sip64` of the reference implementation: the message is the bytes 0, 1, 2, ... to its length.
        let vectors: [(usize, [u8; 8]); 6] = [
            (0, [0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72]),
            (1, [0xfd, 0x67, 0xdc, 0x93, 0xc5, 0x39, 0xf8, 0x74]),
            (2, [0x5a, 0x4f, 0xa9, 0xd9, 0x09, 0x80, 0x6c, 0x0d]),
            (7, [0x37, 0xd1, 0x01, 0x8b, 0xf5, 0x00, 0x02, 0xab]),
            (8, [0x62, 0x24, 0x93, 0x9a, 0x79, 0xf5, 0xf5, 0x93]),
            (15, [0xe5, 0x45, 0xbe, 0x49, 0x61, 0xca, 0x29, 0xa1]),
        ];
        for (length, want) in vectors {
            let message: std::vec::Vec<u8> = (0..length as u8).collect();
            assert_eq!(of_bytes(KEY, &message).to_le_bytes(), want, "{length}");
        }
    }

    proptest! {
        #[test]
        fn it_is_the_standard_library_s(k0: u64, k1: u64, bytes: std::vec::Vec<u8>) {
            #[expect(deprecated, reason = "the library's other hashers are not SipHash-2-4")]
            let mut theirs = core::hash::SipHasher::new_with_keys(k0, k1);
            theirs.write(&bytes);
            prop_assert_eq!(of_bytes([k0, k1], &bytes), theirs.finish());
        }
    }

    #[test]
    fn a_connection_s_hash_is_that_of_its_bytes() {
        let key = FlowKey {
            remote: Address::from_ipv6([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
            remote_port: [17, 18],
            local_port: [19, 20],
        };
        let mut message: std::vec::Vec<u8> = (1..=20).collect();
        message.extend([Purpose::Port as u8, 0, 0, 0]);
        message.extend(0x1122_3344_5566_7788_u64.to_le_bytes());
        let [a, b, c] = words(&key, Purpose::Port);
        assert_eq!(
            hash(KEY, [a, b, c, 0x1122_3344_5566_7788]),
            of_bytes(KEY, &message)
        );
        assert_ne!(
            words(&key, Purpose::TowardsClient),
            words(&key, Purpose::TowardsServer)
        );
    }

    #[test]
    fn later_connections_of_one_place_have_later_numbers() {
        let at = |now_ns| sequence_start(hash(KEY, [0; 4]), now_ns);
        for now_ns in [0, 1 << 38, u64::MAX - (1 << 30)] {
            let ahead = at(now_ns + 1_000_000).wrapping_sub(at(now_ns)) as i32;
            assert!((15_624..=15_626).contains(&ahead), "{ahead}");
        }
    }
}
