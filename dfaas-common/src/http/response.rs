//! Where a response ends (RFC 9112, section 6.3), followed over as many segments as it takes.

use super::{
    DIGITS_MAX, HELD_BYTES, Marks,
    automaton::{Automaton, Words, words},
    chunks::{self, ChunkLine},
    decimal,
    grammar::{
        BODY, CODING_COLON, Class, END, FIELD_MARKS, FIRST_OWN_FIELD_MARK, Grammar, LENGTH_BAD, LENGTH_FIRST,
        LENGTH_MORE, Layer, MALFORMED,
    },
};

/// Behind a status of 100 to 199 but 101.
const INTERIM_STATUS: u8 = 3;
/// Behind the status 101.
const SWITCHING_STATUS: u8 = 4;
/// Behind the status 204 or 304.
const BODILESS_STATUS: u8 = 5;
/// Behind a status with which a node of ours refuses: 403, 429 or 503.
const REFUSAL_STATUS: u8 = 6;
/// Behind the version HTTP/1.0.
const OLD_VERSION: u8 = 7;

/// So many digits of a length may come in a segment behind the one in which it began.
const LATER_DIGITS_MAX: u16 = 9;

/// At the last byte of the coding `chunked`.
const CHUNKED: u8 = FIRST_OWN_FIELD_MARK;
/// In another coding.
const OTHER_CODING: u8 = FIRST_OWN_FIELD_MARK + 1;
/// Behind the colon of `DFaaS-Refused`.
const REFUSED_COLON: u8 = FIRST_OWN_FIELD_MARK + 2;
/// At the end of a line that names no coding, or not the whole of its name.
const CUT_CODING: u8 = FIRST_OWN_FIELD_MARK + 3;

/// Behind the connection option `close`.
const CLOSE: u8 = FIRST_OWN_FIELD_MARK + 4;
/// Behind the connection option `keep-alive`.
const KEEP: u8 = FIRST_OWN_FIELD_MARK + 5;

pub(super) static AUTOMATON: Automaton = build();
const START: u8 = build().start;

const fn build() -> Automaton {
    let mut grammar = Grammar::new();
    let start = grammar.state();
    let line_return = grammar.state();
    status_line(&mut grammar, start, line_return);
    let before = grammar.layer(0);
    let behind = grammar.layer(FIELD_MARKS);
    grammar.on(line_return, b'\n', before.line);
    grammar.content_length(&before, &behind);
    fields(&mut grammar, &before);
    fields(&mut grammar, &behind);
    Automaton::new(&grammar.table, start)
}

const fn status_line(grammar: &mut Grammar, start: u8, line_return: u8) {
    let literal = b"HTTP/1.";
    let mut from = start;
    let mut at = 0;
    while at < literal.len() {
        let to = grammar.state();
        grammar.on(from, literal[at], to);
        from = to;
        at += 1;
    }
    let version = grammar.state();
    grammar.on(from, b'0', OLD_VERSION);
    grammar.on(from, b'1', version);
    let space = grammar.state();
    grammar.on(OLD_VERSION, b' ', space);
    grammar.on(version, b' ', space);
    let first = grammar.state();
    let second = grammar.state();
    let status = grammar.state();
    let reason = grammar.state();
    grammar.on_class(space, Class::Digit, first);
    // RFC 9110, section 15: a status is 100 or more.
    grammar.on(space, b'0', MALFORMED);
    grammar.on_class(first, Class::Digit, second);
    grammar.on_class(second, Class::Digit, status);
    // 1xx: every third digit is interim, but the one of 101.
    let one = grammar.state();
    let one_any = grammar.state();
    let one_zero = grammar.state();
    grammar.on(space, b'1', one);
    grammar.on_class(one, Class::Digit, one_any);
    grammar.on_class(one_any, Class::Digit, INTERIM_STATUS);
    grammar.on(one, b'0', one_zero);
    grammar.on_class(one_zero, Class::Digit, INTERIM_STATUS);
    grammar.on(one_zero, b'1', SWITCHING_STATUS);
    whole_status(grammar, space, b"204", second, status, BODILESS_STATUS);
    whole_status(grammar, space, b"304", second, status, BODILESS_STATUS);
    whole_status(grammar, space, b"429", second, status, REFUSAL_STATUS);
    whole_status(grammar, space, b"503", second, status, REFUSAL_STATUS);
    // 403 begins as 429 does.
    let four = grammar.table[space as usize][b'4' as usize];
    let four_zero = grammar.state();
    grammar.on(four, b'0', four_zero);
    grammar.on_class(four_zero, Class::Digit, status);
    grammar.on(four_zero, b'3', REFUSAL_STATUS);
    let ends = [
        status,
        INTERIM_STATUS,
        SWITCHING_STATUS,
        BODILESS_STATUS,
        REFUSAL_STATUS,
        reason,
    ];
    let mut at = 0;
    while at < ends.len() {
        grammar.on(ends[at], b' ', reason);
        grammar.on(ends[at], b'\r', line_return);
        at += 1;
    }
    grammar.on_class(reason, Class::Field, reason);
}

/// A status that means something; its first digit is that of no other such status.
const fn whole_status(
    grammar: &mut Grammar,
    space: u8,
    digits: &[u8; 3],
    other_second: u8,
    other_third: u8,
    end: u8,
) {
    let first = grammar.state();
    let second = grammar.state();
    grammar.on(space, digits[0], first);
    grammar.on_class(first, Class::Digit, other_second);
    grammar.on(first, digits[1], second);
    grammar.on_class(second, Class::Digit, other_third);
    grammar.on(second, digits[2], end);
}

const fn fields(grammar: &mut Grammar, layer: &Layer) {
    coding(grammar, layer);
    grammar.field_name(layer, b"dfaas-refused", REFUSED_COLON + layer.marks);
    grammar.on_value(layer, REFUSED_COLON + layer.marks, layer.value);
    let options: [(&[u8], u8); 2] = [
        (b"close", CLOSE + layer.marks),
        (b"keep-alive", KEEP + layer.marks),
    ];
    grammar.connection_options(layer, &options);
}

const fn coding(grammar: &mut Grammar, layer: &Layer) {
    let colon = CODING_COLON + layer.marks;
    let other = OTHER_CODING + layer.marks;
    grammar.field_name(layer, b"transfer-encoding", colon);
    grammar.on_value(layer, colon, other);
    grammar.on_white_space(colon, colon);
    let cut = CUT_CODING + layer.marks;
    grammar.on(colon, b'\r', cut);
    grammar.on(cut, b'\n', layer.line);
    grammar.on_value(layer, other, other);
    let literal = b"chunked";
    let mut from = colon;
    let mut at = 0;
    while at < literal.len() {
        let is_last = at + 1 == literal.len();
        let to = if is_last {
            CHUNKED + layer.marks
        } else {
            grammar.state()
        };
        grammar.on_value(layer, to, other);
        if !is_last {
            grammar.on(to, b'\r', cut);
        }
        grammar.on_any_case(from, literal[at], to);
        from = to;
        at += 1;
    }
    let trail = grammar.state();
    grammar.on_value(layer, trail, other);
    grammar.on_white_space(from, trail);
    grammar.on_white_space(trail, trail);
}

/// Runs the automaton over the first `length` bytes of (a part of) a response's head, from a state to a state.
#[inline(always)]
pub fn scan_response(words: &Words, length: usize, from: u8, marks: &mut Marks) -> u8 {
    marks.clear();
    AUTOMATON.run(words, length, from, marks)
}

/// What is awaited of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Nothing: all that was asked is answered.
    #[default]
    Idle = 0,
    /// (More of) a head.
    Head = 1,
    /// Bytes of a body of known length.
    Length = 2,
    /// (More of) the line before a chunk, and of the line end behind the last one.
    ChunkLine = 3,
    /// Bytes of a chunk.
    ChunkData = 4,
    /// Whatever comes until the server closes.
    Endless = 5,
    /// The rest of a response that could not be followed.
    Unknown = 6,
}

/// What a response's head says, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts(u8);

impl Facts {
    const HEAD_ONLY: u8 = 1;
    const INTERIM: u8 = 2;
    const SWITCHING: u8 = 4;
    const BODILESS: u8 = 8;
    const LENGTH: u8 = 16;
    /// A coding or a length that nothing can be made of.
    const UNFRAMED: u8 = 32;
    const CHUNKED: u8 = 64;
    const OLD_VERSION: u8 = 128;
}

/// A response as far as it has passed. Sequence numbers are the server's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Response {
    /// Bytes of the body or chunk still to come; within a head or a chunk's line, the length as far as it was read.
    pub left: u64,
    /// The sequence number of the first byte that is not followed yet.
    pub at: u32,
    /// [`Stage`] as a number.
    pub stage: u8,
    /// The automaton's state.
    pub state: u8,
    /// [`Facts`].
    pub facts: u8,
    /// What else the head says: `REFUSES` and its like.
    pub says: u8,
}

/// Bit of [`Response::says`]: the head has the field of a node of ours that refuses a request.
const REFUSES: u8 = 1;
/// Bit of [`Response::says`]: the server closes behind the response (RFC 9112, section 9.6).
const CLOSES: u8 = 2;
/// Bit of [`Response::says`]: the server keeps the connection, also in HTTP/1.0 (RFC 9112, section 9.3).
const KEEPS: u8 = 4;
/// Bit of [`Response::says`]: there are bytes behind the response that nobody has asked for.
const SURPLUS: u8 = 8;
/// Bit of [`Response::says`]: the status is one that a refusal of a node of ours can have.
const CAN_REFUSE: u8 = 16;

impl Response {
    /// What is awaited.
    #[inline(always)]
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match self.stage {
            0 => Stage::Idle,
            1 => Stage::Head,
            2 => Stage::Length,
            3 => Stage::ChunkLine,
            4 => Stage::ChunkData,
            5 => Stage::Endless,
            _ => Stage::Unknown,
        }
    }

    /// Whether a node of ours refuses the request.
    #[inline(always)]
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        self.says & (REFUSES | CAN_REFUSE) == REFUSES | CAN_REFUSE
    }

    /// Whether the server closes behind the response, as its client may expect.
    #[inline(always)]
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.says & (CLOSES | SURPLUS) != 0 || self.facts & Facts::OLD_VERSION != 0
    }

    /// Whether nothing may follow it on its connection (RFC 9112, section 9.6).
    #[inline(always)]
    #[must_use]
    pub const fn is_final(&self) -> bool {
        self.says & (CLOSES | SURPLUS) != 0
            || (self.facts & Facts::OLD_VERSION != 0 && self.says & KEEPS == 0)
    }

    /// Whether bytes came behind it that nobody has asked for: the body of an answer that must have none, or more than was
    /// announced. Where they end is not known, so nothing can follow (RFC 9112, section 6.3).
    #[inline(always)]
    #[must_use]
    pub const fn has_surplus(&self) -> bool {
        self.says & SURPLUS != 0
    }

    /// Notes that there are bytes behind it.
    #[inline(always)]
    pub const fn note_surplus(&mut self) {
        self.says |= SURPLUS;
    }

    /// Whether nothing of it has passed, but interim responses.
    #[inline(always)]
    #[must_use]
    pub const fn is_all_to_come(&self) -> bool {
        self.stage as u32 == Stage::Head as u32 && self.state as u32 == START as u32
    }

    /// Awaits the response to a request.
    #[inline(always)]
    pub const fn begin(&mut self, wants_no_body: bool) {
        self.facts = if wants_no_body { Facts::HEAD_ONLY } else { 0 };
        self.says = 0;
        self.begin_head();
    }

    #[inline(always)]
    const fn begin_head(&mut self) {
        self.stage = Stage::Head as u8;
        self.state = START;
        self.left = 0;
    }

    /// Gives up following: the rest is whatever comes.
    #[inline(always)]
    pub const fn give_up(&mut self) {
        self.stage = Stage::Unknown as u8;
    }

    /// Follows (a part of) a head of `length` bytes at least 1. Returns how many bytes belong to the head.
    #[inline(always)]
    pub fn follow_head(&mut self, bytes: &[u8; HELD_BYTES], length: usize, marks: &mut Marks) -> u32 {
        let state = scan_response(&words(bytes), length, self.state, marks);
        self.note_head(bytes, length, state, marks)
    }

    /// Notes what [`scan_response`] found in `length` bytes, which it left in this state. Returns how many bytes belong
    /// to the head.
    #[inline(always)]
    pub fn note_head(&mut self, bytes: &[u8; HELD_BYTES], length: usize, state: u8, marks: &Marks) -> u32 {
        self.note(bytes, marks);
        if state == END || state == BODY {
            self.end_head();
            return marks.at(END) as u32;
        }
        if state == MALFORMED {
            self.stage = Stage::Endless as u8;
        }
        self.state = state;
        length as u32
    }

    #[inline(always)]
    fn note(&mut self, bytes: &[u8; HELD_BYTES], marks: &Marks) {
        self.facts |= bit(marks.at(INTERIM_STATUS), Facts::INTERIM)
            | bit(marks.at(SWITCHING_STATUS), Facts::SWITCHING)
            | bit(marks.at(BODILESS_STATUS), Facts::BODILESS)
            | bit(marks.at(LENGTH_FIRST), Facts::LENGTH)
            | bit(marks.of_field(LENGTH_BAD), Facts::UNFRAMED)
            | bit(marks.of_field(CHUNKED), Facts::CHUNKED)
            | bit(marks.of_field(OTHER_CODING), Facts::UNFRAMED)
            | bit(marks.of_field(CUT_CODING), Facts::UNFRAMED)
            | bit(marks.at(OLD_VERSION), Facts::OLD_VERSION);
        self.says |= bit(marks.of_field(REFUSED_COLON), REFUSES)
            | bit(marks.of_field(CLOSE), CLOSES)
            | bit(marks.of_field(KEEP), KEEPS)
            | bit(marks.at(REFUSAL_STATUS), CAN_REFUSE);
        let first = marks.at(LENGTH_FIRST);
        let more = marks.at(LENGTH_MORE);
        if first != 0 {
            let end = if more > first { more } else { first };
            self.facts |= is_more(end - first + 1, DIGITS_MAX) * Facts::UNFRAMED;
            self.left = decimal(bytes, first - 1, end, 0);
        } else if more != 0 {
            // Its first digits came in an earlier segment.
            self.facts |= (is_more(more, LATER_DIGITS_MAX) | is_large(self.left)) * Facts::UNFRAMED;
            self.left = decimal(bytes, 0, more, self.left);
        }
    }

    #[inline(always)]
    const fn end_head(&mut self) {
        let facts = self.facts;
        if facts & Facts::INTERIM != 0 {
            self.facts = facts & Facts::HEAD_ONLY;
            self.says = 0;
            self.begin_head();
        } else if facts & Facts::SWITCHING != 0 {
            self.stage = Stage::Endless as u8;
        } else if facts & (Facts::HEAD_ONLY | Facts::BODILESS) != 0 {
            self.stage = Stage::Idle as u8;
        } else if facts & Facts::UNFRAMED != 0 {
            self.stage = Stage::Endless as u8;
        } else if facts & Facts::CHUNKED != 0 {
            self.begin_chunks();
        } else if facts & Facts::LENGTH == 0 {
            self.stage = Stage::Endless as u8;
        } else if self.left == 0 {
            self.stage = Stage::Idle as u8;
        } else {
            self.stage = Stage::Length as u8;
        }
    }

    #[inline(always)]
    const fn begin_chunks(&mut self) {
        if self.facts & Facts::OLD_VERSION != 0 {
            // RFC 9112, section 6.1: HTTP/1.0 has no codings, so there is no telling what its sender means.
            self.stage = Stage::Endless as u8;
        } else {
            self.begin_line(chunks::START);
        }
    }

    #[inline(always)]
    const fn begin_line(&mut self, state: u8) {
        self.stage = Stage::ChunkLine as u8;
        self.state = state;
        self.left = 0;
    }

    /// Follows (a part of) the line before a chunk, or the lines behind the last one. Returns how many bytes belong
    /// to it.
    #[inline(always)]
    pub fn follow_chunk_line(&mut self, line: &ChunkLine, length: usize) -> u32 {
        let read = line.read(length, self.state, self.left);
        self.left = read.size;
        self.state = read.state;
        match read.state {
            chunks::SIZE_DONE if read.size == 0 => self.state = chunks::TRAILER,
            chunks::SIZE_DONE if read.size & chunks::TOO_LARGE != 0 => self.stage = Stage::Endless as u8,
            chunks::SIZE_DONE => self.stage = Stage::ChunkData as u8,
            chunks::ALL_DONE => self.stage = Stage::Idle as u8,
            chunks::BAD => self.stage = Stage::Endless as u8,
            _ => {}
        }
        read.used
    }

    /// Follows up to `length` bytes of a body or chunk. Returns how many belong to it.
    #[inline(always)]
    pub const fn follow_body(&mut self, length: u32) -> u32 {
        if self.left > length as u64 {
            self.left -= length as u64;
            return length;
        }
        let used = self.left as u32;
        if self.stage == Stage::ChunkData as u8 {
            self.begin_line(chunks::DATA_END);
        } else {
            self.stage = Stage::Idle as u8;
        }
        self.left = 0;
        used
    }
}

/// 1 if a number below 2^15 is more than another, without a branch.
#[inline(always)]
const fn is_more(number: u16, most: u16) -> u8 {
    (most.wrapping_sub(number) >> 15) as u8
}

/// 1 if [`LATER_DIGITS_MAX`] more digits could make a length too large for 64 bits, without a branch.
#[inline(always)]
const fn is_large(length: u64) -> u8 {
    (((length >> 34) + ((1 << 30) - 1)) >> 30) as u8
}

/// The bit, if there is a mark. Marks are no larger than a segment; a branch here would be a path of its own to the
/// verifier for every set of facts.
#[inline(always)]
const fn bit(mark: u16, bit: u8) -> u8 {
    (((mark as u32 + 2047) >> 11) & 1) as u8 * bit
}
