//! The lines of the chunked transfer coding (RFC 9112, section 7.1).

use super::grammar::Class;

/// So many bytes are read of a chunk's line at once.
pub const CHUNK_LINE_BYTES: usize = 16;

/// A size with any of these bits is none that anybody sends. Once set they stay set, whatever is shifted out.
pub(super) const TOO_LARGE: u64 = 0xf << 60;

/// The size line is read; final.
pub(super) const SIZE_DONE: u8 = 0;
/// The empty line behind the last chunk and the trailer is read; final.
pub(super) const ALL_DONE: u8 = 1;
/// Not the chunked coding; final.
pub(super) const BAD: u8 = 2;
/// Before the first digit of a size.
pub(super) const START: u8 = 3;
const SIZE: u8 = 4;
const EXTENSION: u8 = 5;
const SIZE_RETURN: u8 = 6;
/// At the start of a trailer's line.
pub(super) const TRAILER: u8 = 7;
const TRAILER_FIELD: u8 = 8;
const TRAILER_RETURN: u8 = 9;
const LAST_RETURN: u8 = 10;
const TRAILER_NAME: u8 = 11;
/// Behind a chunk's data, whose line end is not part of its size.
pub(super) const DATA_END: u8 = 12;
const DATA_RETURN: u8 = 13;
const SIZE_SPACE: u8 = 14;

const STATES: usize = 16;

static TABLE: [[u8; 256]; STATES] = build();
/// 1 in every state that is not final.
static ALIVE: [u8; STATES] = [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0];
/// By how many bits a size grows in a state.
static GROWTH: [u8; STATES] = [0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// The value of a hexadecimal digit.
static DIGIT: [u8; 256] = digits();

const fn build() -> [[u8; 256]; STATES] {
    let mut table = [[BAD; 256]; STATES];
    table[SIZE_DONE as usize] = [SIZE_DONE; 256];
    table[ALL_DONE as usize] = [ALL_DONE; 256];
    let mut byte = 0;
    while byte < 256 {
        let value = byte as u8;
        if value.is_ascii_hexdigit() {
            table[START as usize][byte] = SIZE;
            table[SIZE as usize][byte] = SIZE;
        }
        if Class::Field.has(value) {
            table[EXTENSION as usize][byte] = EXTENSION;
            table[TRAILER_FIELD as usize][byte] = TRAILER_FIELD;
        }
        if Class::Token.has(value) {
            table[TRAILER as usize][byte] = TRAILER_NAME;
            table[TRAILER_NAME as usize][byte] = TRAILER_NAME;
        }
        byte += 1;
    }
    table[SIZE as usize][b';' as usize] = EXTENSION;
    table[SIZE as usize][b' ' as usize] = SIZE_SPACE;
    table[SIZE as usize][b'\t' as usize] = SIZE_SPACE;
    table[SIZE as usize][b'\r' as usize] = SIZE_RETURN;
    table[SIZE_SPACE as usize][b' ' as usize] = SIZE_SPACE;
    table[SIZE_SPACE as usize][b'\t' as usize] = SIZE_SPACE;
    table[SIZE_SPACE as usize][b';' as usize] = EXTENSION;
    table[SIZE_SPACE as usize][b'\r' as usize] = SIZE_RETURN;
    table[EXTENSION as usize][b'\r' as usize] = SIZE_RETURN;
    table[SIZE_RETURN as usize][b'\n' as usize] = SIZE_DONE;
    table[DATA_END as usize][b'\r' as usize] = DATA_RETURN;
    table[DATA_RETURN as usize][b'\n' as usize] = START;
    table[TRAILER as usize][b'\r' as usize] = LAST_RETURN;
    table[LAST_RETURN as usize][b'\n' as usize] = ALL_DONE;
    table[TRAILER_NAME as usize][b':' as usize] = TRAILER_FIELD;
    table[TRAILER_FIELD as usize][b'\r' as usize] = TRAILER_RETURN;
    table[TRAILER_RETURN as usize][b'\n' as usize] = TRAILER;
    table
}

const fn digits() -> [u8; 256] {
    let mut digits = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let value = byte as u8;
        digits[byte] = if value.is_ascii_digit() {
            value - b'0'
        } else if value.is_ascii_hexdigit() {
            (value | 0x20) - b'a' + 10
        } else {
            0
        };
        byte += 1;
    }
    digits
}

/// Bytes in which a chunk's line begins or goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct ChunkLine(pub [u8; CHUNK_LINE_BYTES]);

/// How far a line was read.
pub(super) struct Read {
    pub(super) state: u8,
    pub(super) size: u64,
    pub(super) used: u32,
}

impl ChunkLine {
    /// Reads the first `length` bytes, from a state and with the digits of the size so far.
    #[inline(always)]
    pub(super) fn read(&self, length: usize, from: u8, size: u64) -> Read {
        let mut read = Read {
            state: from,
            size,
            used: 0,
        };
        let mut index = 0;
        while index < CHUNK_LINE_BYTES {
            // All ones before the end, else zero: a branch here would double the verifier's paths at every byte.
            let within = 0u32.wrapping_sub((index as u32).wrapping_sub(length as u32) >> 31);
            let byte = self.0[index];
            let before = (read.state & 15) as u32;
            read.used += ALIVE[before as usize] as u32 & within;
            let next = TABLE[before as usize][byte as usize] as u32;
            let state = (before ^ ((before ^ next) & within)) & 15;
            let growth = GROWTH[state as usize] as u32 & within;
            // A final state changes nothing: its growth is 0, and so is the digit's part.
            let digit = DIGIT[byte as usize] as u64 & ((1 << (growth & 7)) - 1);
            read.size = (read.size << (growth & 7)) | digit | (read.size & TOO_LARGE);
            read.state = state as u8;
            index += 1;
        }
        read
    }
}
