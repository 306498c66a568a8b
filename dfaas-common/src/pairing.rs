//! Who sent a request: an identity is no secret, so a token that only the peer has goes with it.

use crate::{decide::Origin, http::NODE_ID_BYTES, maps::Peer};

/// A token as it stands in `DFaaS-Node-Token`: 128 bits in hexadecimal.
pub const TOKEN_BYTES: usize = 32;
/// So many tokens of a peer are accepted at a time: its present one, and the one before or after.
pub const TOKENS_ACCEPTED: usize = 2;
/// Bit of [`Peer::flags`]: the peer's identity is enough.
pub const PEER_TOKENLESS: u32 = 1;

const WORD_BYTES: usize = 8;
const WORDS: usize = TOKEN_BYTES / WORD_BYTES;

/// The bytes of a token; zeros for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TokenText(pub [u64; WORDS]);

impl TokenText {
    /// The first bytes of a field's value.
    #[inline(always)]
    #[must_use]
    pub const fn new(value: &[u8; NODE_ID_BYTES]) -> Self {
        let mut words = [0; WORDS];
        let mut index = 0;
        while index < WORDS {
            let at = index * WORD_BYTES;
            words[index] = u64::from_ne_bytes([
                value[at],
                value[at + 1],
                value[at + 2],
                value[at + 3],
                value[at + 4],
                value[at + 5],
                value[at + 6],
                value[at + 7],
            ]);
            index += 1;
        }
        Self(words)
    }

    /// Whether the other is the same, and both are tokens. Takes as long for every other.
    #[inline(always)]
    const fn is(&self, other: &Self) -> bool {
        let mut differs = 0;
        let mut index = 0;
        while index < WORDS {
            differs |= self.0[index] ^ other.0[index];
            index += 1;
        }
        // A token is text, so no word of it is zero.
        (differs == 0) & (self.0[0] != 0)
    }
}

impl Peer {
    /// Whether a request with this token is the peer's.
    #[inline(always)]
    #[must_use]
    pub const fn admits(&self, token: &TokenText) -> bool {
        (self.flags & PEER_TOKENLESS != 0) | self.tokens[0].is(token) | self.tokens[1].is(token)
    }

    /// Who sent a request that has the identity of this peer.
    #[inline(always)]
    #[must_use]
    pub const fn origin(&self, token: &TokenText) -> Origin {
        if self.admits(token) {
            Origin::Peer(self.index)
        } else {
            Origin::Forged
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "00112233445566778899aabbccddeeff";
    const OLD: &str = "ffeeddccbbaa99887766554433221100";

    #[test]
    fn the_present_token_and_the_one_before_are_accepted() {
        let peer = peer([NEW, OLD], 0);
        assert_eq!(peer.origin(&text(NEW)), Origin::Peer(7));
        assert_eq!(peer.origin(&text(OLD)), Origin::Peer(7));
    }

    #[test]
    fn every_other_token_is_forged() {
        let peer = peer([NEW, OLD], 0);
        for at in 0..TOKEN_BYTES {
            let mut bytes = NEW.as_bytes().to_vec();
            bytes[at] ^= 1;
            let other = core::str::from_utf8(&bytes).unwrap();
            assert_eq!(peer.origin(&text(other)), Origin::Forged, "{other}");
        }
        assert_eq!(peer.origin(&TokenText::default()), Origin::Forged);
        assert_eq!(peer.origin(&text(&NEW[..31])), Origin::Forged);
    }

    #[test]
    fn an_empty_place_accepts_nothing() {
        let peer = peer([NEW, ""], 0);
        assert_eq!(peer.origin(&TokenText::default()), Origin::Forged);
        assert_eq!(peer.origin(&text(OLD)), Origin::Forged);
        assert_eq!(Peer::default().origin(&TokenText::default()), Origin::Forged);
    }

    #[test]
    fn a_peer_without_the_ability_needs_none() {
        let peer = peer(["", ""], PEER_TOKENLESS);
        assert_eq!(peer.origin(&TokenText::default()), Origin::Peer(7));
        assert_eq!(peer.origin(&text(OLD)), Origin::Peer(7));
    }

    fn peer(tokens: [&str; TOKENS_ACCEPTED], flags: u32) -> Peer {
        Peer {
            index: 7,
            flags,
            tokens: tokens.map(text),
            ..Peer::default()
        }
    }

    fn text(token: &str) -> TokenText {
        let mut value = [0; NODE_ID_BYTES];
        value[..token.len()].copy_from_slice(token.as_bytes());
        TokenText::new(&value)
    }
}
