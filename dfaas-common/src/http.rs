//! HTTP/1.1 (RFC 9112) as far as steering needs it: where a request begins and ends, what it asks for, and where its
//! response ends.
//!
//! Heads are read by automata that cost two table look-ups and one store a byte: no branch depends on the byte, which
//! keeps the kernel's verifier content (5.10 included) and lets host and kernel run the very same code.

mod automaton;
mod chunks;
mod grammar;
mod passage;
mod request;
mod response;

pub use automaton::Words;
pub use chunks::{CHUNK_LINE_BYTES, ChunkLine};
pub use grammar::STATES;
pub use passage::Passage;
pub use request::{Head, Progress, Target, Unframed, read, scan_request};
pub use response::{Facts, Response, Stage, scan_response};

/// The capacity of the buffer that holds the first bytes of a message: a whole Ethernet payload.
pub const HELD_BYTES: usize = 1536;

/// The longest function name, with or without namespace (RFC 1123 label length, as OpenFaaS asks).
pub const NAME_BYTES: usize = 64;

/// The longest peer identity that is looked up, in bytes.
pub const NODE_ID_BYTES: usize = 64;

/// For each state, one more than the position at which it was entered last; 0 where it never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Marks(pub [u16; STATES]);

impl Default for Marks {
    fn default() -> Self {
        Self([0; STATES])
    }
}

impl Marks {
    /// Forgets the marks that anything reads.
    #[inline(always)]
    pub fn clear(&mut self) {
        let mut index = 0;
        while index < grammar::MARKED_STATES {
            self.0[index] = 0;
            index += 1;
        }
    }

    #[inline(always)]
    const fn at(&self, state: u8) -> u16 {
        self.0[state as usize]
    }

    /// The later mark of a state that exists before and behind a `Content-Length`.
    #[inline(always)]
    const fn of_field(&self, state: u8) -> u16 {
        let before = self.at(state);
        let behind = self.at(state + grammar::FIELD_MARKS);
        if behind > before { behind } else { before }
    }
}

/// A run of bytes in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Position of the first byte.
    pub start: u16,
    /// Number of bytes, at least 1.
    pub length: u16,
}

/// Goes on with a number whose first digits gave `number`; its next digits are at `start` to `end`.
#[inline(always)]
fn decimal(bytes: &[u8; HELD_BYTES], start: u16, end: u16, number: u64) -> u64 {
    let mut number = number;
    let mut index = 0;
    while index < DIGITS_MAX {
        let at = start.wrapping_add(index) as usize;
        if at >= end as usize || at >= HELD_BYTES {
            break;
        }
        number = number.wrapping_mul(10).wrapping_add((bytes[at] & 15) as u64);
        index += 1;
    }
    number
}

/// More digits than these are no length of anything that is ever sent.
const DIGITS_MAX: u16 = 15;

#[cfg(test)]
mod tests;
