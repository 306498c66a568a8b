//! The automata that read heads, made of a grammar at compile time, and how they run.
//!
//! Small tables stay in the processor's first cache: bytes that no state tells apart share a column. And what most of a
//! head consists of, the middle of a value, is left behind eight bytes at a time.

use super::{
    HELD_BYTES, Marks,
    grammar::{LAST_FINAL, STATES, Table},
};

/// More columns than any grammar here needs; a power of two, so that an index is made by a shift.
const COLUMNS: usize = 64;
/// What is looked at at once.
pub(super) const WORD_BYTES: usize = 8;
/// The bytes of a buffer as words in the order of memory.
pub type Words = [u64; HELD_BYTES / WORD_BYTES];

const EVERY_BYTE: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x80 * EVERY_BYTE;
/// The last byte of ASCII that can be seen.
const TILDE: u8 = b'~';

/// A deterministic finite automaton over bytes.
pub(super) struct Automaton {
    /// The column of a byte.
    columns: [u8; 256],
    /// The next state for a state and a column.
    next: [[u8; COLUMNS]; STATES],
    /// For a state that all bytes from a space or an exclamation mark up to a tilde lead back to, the first of these; 0
    /// for others.
    stays_from: [u8; STATES],
    /// Where it begins.
    pub(super) start: u8,
}

impl Automaton {
    pub(super) const fn new(table: &Table, start: u8) -> Self {
        let mut automaton = Self {
            columns: [0; 256],
            next: [[0; COLUMNS]; STATES],
            stays_from: [0; STATES],
            start,
        };
        let mut firsts = [0; COLUMNS];
        let mut count = 0;
        let mut byte = 0;
        while byte < 256 {
            let mut column = 0;
            while column < count && !are_alike(table, firsts[column], byte) {
                column += 1;
            }
            if column == count {
                assert!(
                    count < COLUMNS,
                    "a grammar tells more bytes apart than there are columns"
                );
                firsts[column] = byte;
                automaton.fill_column(table, column, byte);
                count += 1;
            }
            automaton.columns[byte] = column as u8;
            byte += 1;
        }
        let mut state = 0;
        while state < STATES {
            automaton.stays_from[state] = stays_from(table, state);
            state += 1;
        }
        automaton
    }

    const fn fill_column(&mut self, table: &Table, column: usize, byte: usize) {
        let mut state = 0;
        while state < STATES {
            self.next[state][column] = table[state][byte];
            state += 1;
        }
    }

    /// The state behind a byte.
    #[inline(always)]
    const fn step(&self, state: u8, byte: u8) -> u8 {
        self.next[state as usize][self.columns[byte as usize] as usize % COLUMNS]
    }

    /// Runs over the first `length` bytes of a buffer, from a state to a state.
    #[inline(always)]
    pub(super) fn run(&self, words: &Words, length: usize, from: u8, marks: &mut Marks) -> u8 {
        let length = if length > HELD_BYTES { HELD_BYTES } else { length };
        let mut state = from;
        let mut index = 0;
        while index < HELD_BYTES {
            if index >= length || state <= LAST_FINAL {
                break;
            }
            let word = u64::from_le(words[index / WORD_BYTES]);
            let behind = index + WORD_BYTES;
            if behind > length {
                return self.run_over(word, index, length - index, state, marks);
            }
            let stays_from = self.stays_from[state as usize];
            if stays_from != 0 && is_within(word, stays_from) {
                marks.0[state as usize] = behind as u16;
            } else {
                state = self.run_over(word, index, WORD_BYTES, state, marks);
            }
            index = behind;
        }
        state
    }

    /// Runs over the first `count` bytes of the word at a position.
    #[inline(always)]
    fn run_over(&self, word: u64, position: usize, count: usize, from: u8, marks: &mut Marks) -> u8 {
        let mut state = from;
        let mut rest = word;
        let mut done = 0;
        while done < WORD_BYTES {
            if done >= count {
                break;
            }
            done += 1;
            state = self.step(state, rest as u8);
            marks.0[state as usize] = (position + done) as u16;
            rest >>= 8;
        }
        state
    }
}

/// Whether no state tells two bytes apart.
const fn are_alike(table: &Table, one: usize, other: usize) -> bool {
    let mut state = 0;
    while state < STATES {
        if table[state][one] != table[state][other] {
            return false;
        }
        state += 1;
    }
    true
}

const fn stays_from(table: &Table, state: usize) -> u8 {
    let mut byte = TILDE;
    while byte >= b' ' && table[state][byte as usize] as usize == state {
        byte -= 1;
    }
    let first = byte + 1;
    if first <= b'!' && state > LAST_FINAL as usize {
        first
    } else {
        0
    }
}

/// Whether all eight bytes of a word are at least `first` (1 to 128) and at most a tilde.
///
/// Of a sum or a difference of words, the lowest byte that is out of bounds is told rightly; what it carries into higher
/// ones can only say no once more.
#[inline(always)]
const fn is_within(word: u64, first: u8) -> bool {
    let below = word.wrapping_sub(first as u64 * EVERY_BYTE) & !word;
    let above = word.wrapping_add((0x7f - TILDE as u64) * EVERY_BYTE) | word;
    (below | above) & HIGH_BITS == 0
}

/// The words of a buffer, where it may lie anywhere.
pub(super) fn words(bytes: &[u8; HELD_BYTES]) -> Words {
    let mut words = [0; HELD_BYTES / WORD_BYTES];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use std::{format, vec::Vec};

    use proptest::prelude::*;

    use super::*;
    use crate::http::{grammar::MARKED_STATES, request, response};

    /// As [`Automaton::run`], byte by byte.
    fn walk(automaton: &Automaton, bytes: &[u8], from: u8, marks: &mut Marks) -> u8 {
        let mut state = from;
        for (at, byte) in bytes.iter().enumerate() {
            if state <= LAST_FINAL {
                break;
            }
            state = automaton.step(state, *byte);
            marks.0[state as usize] = at as u16 + 1;
        }
        state
    }

    fn check(automaton: &Automaton, bytes: &[u8]) -> Result<(), TestCaseError> {
        let mut buffer = [0xaa; HELD_BYTES];
        buffer[..bytes.len()].copy_from_slice(bytes);
        let (mut marks, mut walked) = (Marks::default(), Marks::default());
        let state = automaton.run(&words(&buffer), bytes.len(), automaton.start, &mut marks);
        let want = walk(automaton, bytes, automaton.start, &mut walked);
        if want > LAST_FINAL {
            prop_assert_eq!(state, want);
        }
        // Where a head has ended, or is none, nobody asks how far behind that was looked.
        prop_assert_eq!(state <= LAST_FINAL, want <= LAST_FINAL);
        let marked = LAST_FINAL as usize + 1..MARKED_STATES;
        prop_assert_eq!(&marks.0[marked.clone()], &walked.0[marked]);
        Ok(())
    }

    /// Heads with long values, and some bytes of them changed.
    fn head(start: &'static str) -> impl Strategy<Value = Vec<u8>> {
        let field = prop_oneof![
            "[A-Za-z-]{1,30}: ?[ -~]{0,90}\r\n",
            "(?i)dfaas-node-(id|token): ?[!-~]{0,90} ?\r\n",
            "Content-Length: ?[0-9]{0,20}\r\n",
            "(?i)(upgrade|connection|transfer-encoding): ?[ -~]{0,30}\r\n",
        ];
        let fields = proptest::collection::vec(field, 0..7);
        let changes = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3);
        (fields, changes).prop_map(move |(fields, changes)| {
            let mut bytes = format!("{start}\r\n{}\r\nbody", fields.concat()).into_bytes();
            bytes.truncate(HELD_BYTES);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        })
    }

    proptest! {
        #[test]
        fn requests_are_read_as_byte_by_byte(bytes in head("POST /function/figlet?a=b HTTP/1.1")) {
            check(&request::AUTOMATON, &bytes)?;
        }

        #[test]
        fn responses_are_read_as_byte_by_byte(bytes in head("HTTP/1.1 200 OK, and what is said of it")) {
            check(&response::AUTOMATON, &bytes)?;
        }

        #[test]
        fn a_word_within_bounds_is_known(bytes: [u8; 8], first in 0x20_u8..=0x21) {
            let want = bytes.iter().all(|byte| (first..=TILDE).contains(byte));
            prop_assert_eq!(is_within(u64::from_le_bytes(bytes), first), want);
        }

        #[test]
        fn a_word_near_the_bounds_is_known(bytes in proptest::array::uniform8(0x1f_u8..=0x80), first in 0x20_u8..=0x21) {
            let want = bytes.iter().all(|byte| (first..=TILDE).contains(byte));
            prop_assert_eq!(is_within(u64::from_le_bytes(bytes), first), want);
        }
    }
}
