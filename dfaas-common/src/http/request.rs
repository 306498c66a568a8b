//! The head of a request (RFC 9112, sections 3 and 6).

use super::{
    DIGITS_MAX, HELD_BYTES, Marks, Span,
    automaton::{Automaton, WORD_BYTES, Words, words},
    decimal,
    grammar::{
        BODY, CODING_COLON, Class, END, FIELD_MARKS, FIRST_OWN_FIELD_MARK, Grammar, LENGTH_BAD, LENGTH_COLON,
        LENGTH_FIRST, LENGTH_MORE, Layer, MALFORMED,
    },
};

const REQUEST_LINE_END: u8 = 3;
/// In a target that is neither `/`, `/healthz` nor `/function/<name>`.
const OTHER_TARGET: u8 = 4;
/// Behind the target `/` or `/healthz`.
const ROOT_END: u8 = 5;
const NAME_FIRST: u8 = 6;
const NAME_MORE: u8 = 7;
/// Behind the method HEAD, whose response has no body.
const HEAD_METHOD_END: u8 = 8;
/// In a version that is not HTTP/1: the preface of HTTP/2 (RFC 9113, section 3.4) has one.
const OTHER_VERSION: u8 = 9;
/// Behind the first byte of a TLS record (RFC 8446, section 5.1).
const TLS: u8 = 10;
/// Behind `HTTP/1.0`.
const OLD_VERSION: u8 = 11;

const NODE_COLON: u8 = FIRST_OWN_FIELD_MARK;
const NODE_FIRST: u8 = FIRST_OWN_FIELD_MARK + 1;
const NODE_MORE: u8 = FIRST_OWN_FIELD_MARK + 2;
const TOKEN_COLON: u8 = FIRST_OWN_FIELD_MARK + 3;
const TOKEN_FIRST: u8 = FIRST_OWN_FIELD_MARK + 4;
const TOKEN_MORE: u8 = FIRST_OWN_FIELD_MARK + 5;
const UPGRADE_COLON: u8 = FIRST_OWN_FIELD_MARK + 6;
/// Behind the connection option `close`.
const CLOSE: u8 = FIRST_OWN_FIELD_MARK + 7;

pub(super) static AUTOMATON: Automaton = build();
const START: u8 = build().start;

const fn build() -> Automaton {
    let mut grammar = Grammar::new();
    let start = request_line(&mut grammar);
    let before = grammar.layer(0);
    let behind = grammar.layer(FIELD_MARKS);
    // The end of the request line is the start of a field line that has a mark.
    grammar.content_length(&before, &behind);
    own_fields(&mut grammar, &before);
    own_fields(&mut grammar, &behind);
    grammar.table[REQUEST_LINE_END as usize] = grammar.table[before.line as usize];
    Automaton::new(&grammar.table, start)
}

const fn own_fields(grammar: &mut Grammar, layer: &Layer) {
    grammar.field_name(layer, b"dfaas-node-id", NODE_COLON + layer.marks);
    grammar.text(
        layer,
        NODE_COLON + layer.marks,
        NODE_FIRST + layer.marks,
        NODE_MORE + layer.marks,
    );
    grammar.field_name(layer, b"dfaas-node-token", TOKEN_COLON + layer.marks);
    grammar.text(
        layer,
        TOKEN_COLON + layer.marks,
        TOKEN_FIRST + layer.marks,
        TOKEN_MORE + layer.marks,
    );
    grammar.field_name(layer, b"transfer-encoding", CODING_COLON + layer.marks);
    grammar.on_value(layer, CODING_COLON + layer.marks, layer.value);
    grammar.field_name(layer, b"upgrade", UPGRADE_COLON + layer.marks);
    grammar.on_value(layer, UPGRADE_COLON + layer.marks, layer.value);
    grammar.connection_options(layer, &[(b"close", CLOSE + layer.marks)]);
}

const fn request_line(grammar: &mut Grammar) -> u8 {
    let start = grammar.state();
    let method_end = method(grammar, start);
    let slash = grammar.state();
    grammar.on_class(method_end, Class::Visible, OTHER_TARGET);
    grammar.on(method_end, b'/', slash);
    grammar.on_class(slash, Class::Visible, OTHER_TARGET);
    grammar.on_class(OTHER_TARGET, Class::Visible, OTHER_TARGET);
    let version_start = grammar.state();
    absolute_form(grammar, method_end, slash, version_start);
    grammar.table[HEAD_METHOD_END as usize] = grammar.table[method_end as usize];
    grammar.on(slash, b' ', ROOT_END);
    grammar.on(OTHER_TARGET, b' ', version_start);
    health_path(grammar, slash, version_start);
    function_path(grammar, slash, version_start);
    version(grammar, version_start);
    start
}

/// `http://<authority>` before the path, which a server takes from whoever sends it (RFC 9112, section 3.2.2). The authority
/// is not read: this node's users call it by many names. An empty one is none (RFC 9110, section 4.2.1).
const fn absolute_form(grammar: &mut Grammar, method_end: u8, slash: u8, version_start: u8) {
    let from = literal(grammar, method_end, b"http://", true, version_start);
    let authority = grammar.state();
    authority_byte(grammar, from, authority);
    authority_byte(grammar, authority, authority);
    grammar.on(authority, b'/', slash);
    // An empty path is the root (RFC 9110, section 4.2.3).
    grammar.on(authority, b' ', ROOT_END);
}

const fn authority_byte(grammar: &mut Grammar, from: u8, to: u8) {
    grammar.on_class(from, Class::Visible, to);
    grammar.on(from, b'/', OTHER_TARGET);
    grammar.on(from, b'?', OTHER_TARGET);
    grammar.on(from, b'#', OTHER_TARGET);
}

const fn method(grammar: &mut Grammar, start: u8) -> u8 {
    let method = grammar.state();
    let method_end = grammar.state();
    grammar.on_class(start, Class::Token, method);
    grammar.on_class(method, Class::Token, method);
    grammar.on(method, b' ', method_end);
    grammar.on(start, 0x16, TLS);
    grammar.on_class(TLS, Class::Any, MALFORMED);
    let head = b"HEAD";
    let mut from = start;
    let mut at = 0;
    while at < head.len() {
        let to = grammar.state();
        grammar.on_class(to, Class::Token, method);
        grammar.on(to, b' ', method_end);
        grammar.on(from, head[at], to);
        from = to;
        at += 1;
    }
    grammar.on(from, b' ', HEAD_METHOD_END);
    method_end
}

/// `healthz` behind the first slash: what the HAProxy of a Go agent asks under its strategies but Recalc.
const fn health_path(grammar: &mut Grammar, slash: u8, version_start: u8) {
    let end = literal(grammar, slash, b"healthz", false, version_start);
    grammar.on(end, b' ', ROOT_END);
}

/// A part of a target that is a mere literal, in lower or any case. A target that stops within it is like any other: it has
/// no mark, and no name.
const fn literal(
    grammar: &mut Grammar,
    start: u8,
    literal: &[u8],
    is_any_case: bool,
    version_start: u8,
) -> u8 {
    let mut from = start;
    let mut at = 0;
    while at < literal.len() {
        let to = grammar.state();
        grammar.on_class(to, Class::Visible, OTHER_TARGET);
        grammar.on(to, b' ', version_start);
        if is_any_case {
            grammar.on_any_case(from, literal[at], to);
        } else {
            grammar.on(from, literal[at], to);
        }
        from = to;
        at += 1;
    }
    from
}

/// `function/<name>` behind the first slash.
const fn function_path(grammar: &mut Grammar, slash: u8, version_start: u8) {
    let from = literal(grammar, slash, b"function/", false, version_start);
    let tail = grammar.state();
    grammar.on_class(from, Class::Name, NAME_FIRST);
    name(grammar, NAME_FIRST, tail, version_start);
    name(grammar, NAME_MORE, tail, version_start);
    grammar.on_class(tail, Class::Visible, tail);
    grammar.on(tail, b' ', version_start);
}

const fn name(grammar: &mut Grammar, state: u8, tail: u8, version_start: u8) {
    grammar.on_class(state, Class::Visible, OTHER_TARGET);
    grammar.on_class(state, Class::Name, NAME_MORE);
    grammar.on(state, b'/', tail);
    grammar.on(state, b'?', tail);
    grammar.on(state, b' ', version_start);
}

/// `HTTP/1.0` or `HTTP/1.1` and the end of the line.
const fn version(grammar: &mut Grammar, start: u8) {
    let literal = b"HTTP/1.";
    let mut from = start;
    let mut at = 0;
    while at < literal.len() {
        let to = grammar.state();
        grammar.on(from, literal[at], to);
        if at == 0 {
            grammar.on(ROOT_END, literal[at], to);
        }
        if literal[at] == b'1' {
            grammar.on_class(from, Class::Digit, OTHER_VERSION);
            grammar.on(from, literal[at], to);
        }
        from = to;
        at += 1;
    }
    grammar.on_class(OTHER_VERSION, Class::Any, MALFORMED);
    let end = grammar.state();
    let line_return = grammar.state();
    grammar.on(from, b'0', OLD_VERSION);
    grammar.on(from, b'1', end);
    grammar.on(OLD_VERSION, b'\r', line_return);
    grammar.on(end, b'\r', line_return);
    grammar.on(line_return, b'\n', REQUEST_LINE_END);
}

/// How far the automaton came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The head is whole; [`Head::from_marks`] says what is in it.
    Complete,
    /// Every byte so far could belong to a request; more are needed.
    Incomplete,
    /// This is no HTTP/1.1 request.
    Malformed,
    /// This is another protocol: HTTP/2 or TLS.
    OtherProtocol,
}

/// Reads the first `length` bytes as a request's head.
#[inline(always)]
pub fn read(bytes: &[u8; HELD_BYTES], length: usize, marks: &mut Marks) -> Progress {
    let state = scan_request(&words(bytes), length, marks);
    Progress::from_state(state, marks, bytes, length)
}

/// What HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Runs the automaton over the first `length` bytes of a request; [`Progress::from_state`] says what its state means.
#[inline(always)]
pub fn scan_request(words: &Words, length: usize, marks: &mut Marks) -> u8 {
    marks.clear();
    AUTOMATON.run(words, length, START, marks)
}

impl Progress {
    /// What a state of the automaton and its marks mean, after the first `length` bytes.
    #[inline(always)]
    #[must_use]
    pub fn from_state(state: u8, marks: &Marks, bytes: &[u8; HELD_BYTES], length: usize) -> Self {
        let progress = progress(state, marks);
        // Who speaks HTTP/2 knows it by the whole of its preface only.
        if matches!(progress, Self::OtherProtocol) && begins_preface(bytes, length) {
            return Self::Incomplete;
        }
        progress
    }
}

/// Whether the first `length` bytes are a part of HTTP/2's preface, and not yet the whole.
///
/// A word at a time, because the kernel's verifier follows every branch.
#[inline(always)]
fn begins_preface(bytes: &[u8; HELD_BYTES], length: usize) -> bool {
    let (words, _) = bytes.as_chunks();
    let (wanted, _) = PREFACE.as_chunks();
    let mut differs = 0;
    let mut rest = length;
    for (word, want) in words.iter().zip(wanted) {
        let counts = if rest < WORD_BYTES {
            (1 << (8 * rest)) - 1
        } else {
            u64::MAX
        };
        differs |= (u64::from_le_bytes(*word) ^ u64::from_le_bytes(*want)) & counts;
        rest = rest.saturating_sub(WORD_BYTES);
    }
    length < PREFACE.len() && differs == 0
}

#[inline(always)]
fn progress(state: u8, marks: &Marks) -> Progress {
    if state == END || state == BODY {
        Progress::Complete
    } else if marks.at(OTHER_VERSION) != 0 || marks.at(TLS) != 0 {
        Progress::OtherProtocol
    } else if state == MALFORMED {
        Progress::Malformed
    } else {
        Progress::Incomplete
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// `/` or `/healthz`, exactly.
    Root,
    /// `/function/<name>`, with or without a path or query behind it.
    Function(Span),
    /// Any other target.
    Other,
}

/// Why the end of a request cannot be told from its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Unframed {
    /// It can.
    No = 0,
    /// `Transfer-Encoding`: the end is in the body.
    Coding = 1,
    /// `Upgrade`: what follows may be another protocol.
    Upgrade = 2,
    /// A `Content-Length` that is no number, too large, or there twice.
    Length = 3,
}

/// What the data plane has to know of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the request asks for.
    pub target: Target,
    /// Where the first header field starts: the place for a stamp.
    pub fields_start: u16,
    /// Length of the head with its empty line.
    pub length: u16,
    /// The value of `DFaaS-Node-ID`, if the field is there and not empty.
    pub node_id: Option<Span>,
    /// The value of `DFaaS-Node-Token`, if the field is there and not empty.
    pub token: Option<Span>,
    /// Whether the field `DFaaS-Node-ID` is there.
    pub from_node: bool,
    /// Whether the method is HEAD.
    pub wants_no_body: bool,
    /// Whether the method is idempotent (RFC 9110, section 9.2.2), so that the request may be sent once more where nobody
    /// knows whether it has run. A method that is not known is not.
    pub is_idempotent: bool,
    /// Whether its client expects the connection to end behind the response (RFC 9112, section 9.6): it says so, or speaks
    /// HTTP/1.0. An option that begins with `close` counts as it.
    pub closes: bool,
    /// Whether the request's end is known.
    pub unframed: Unframed,
    /// Length of the body in bytes.
    pub body: u64,
}

/// Whether a method is idempotent, by its first four bytes, the space behind it included. Others that begin in the same way
/// are not registered.
#[inline(always)]
const fn is_idempotent(start: u32) -> bool {
    const GET: u32 = u32::from_be_bytes(*b"GET ");
    const HEAD: u32 = u32::from_be_bytes(*b"HEAD");
    const PUT: u32 = u32::from_be_bytes(*b"PUT ");
    const DELETE: u32 = u32::from_be_bytes(*b"DELE");
    const OPTIONS: u32 = u32::from_be_bytes(*b"OPTI");
    const TRACE: u32 = u32::from_be_bytes(*b"TRAC");
    matches!(start, GET | HEAD | PUT | DELETE | OPTIONS | TRACE)
}

impl Head {
    /// Reads the marks of a complete head.
    #[inline(always)]
    #[must_use]
    pub fn from_marks(bytes: &[u8; HELD_BYTES], marks: &Marks) -> Self {
        let target = if marks.at(OTHER_TARGET) != 0 {
            Target::Other
        } else if let Some(name) = span(marks.at(NAME_FIRST), marks.at(NAME_MORE)) {
            Target::Function(name)
        } else if marks.at(ROOT_END) != 0 {
            Target::Root
        } else {
            Target::Other
        };
        Self {
            target,
            fields_start: marks.at(REQUEST_LINE_END),
            length: marks.at(END),
            node_id: span(marks.of_field(NODE_FIRST), marks.of_field(NODE_MORE)),
            token: span(marks.of_field(TOKEN_FIRST), marks.of_field(TOKEN_MORE)),
            from_node: marks.of_field(NODE_COLON) != 0,
            wants_no_body: marks.at(HEAD_METHOD_END) != 0,
            is_idempotent: is_idempotent(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
            closes: marks.at(OLD_VERSION) | marks.of_field(CLOSE) != 0,
            unframed: unframed(marks),
            body: body(bytes, marks),
        }
    }
}

#[inline(always)]
fn unframed(marks: &Marks) -> Unframed {
    let first = marks.at(LENGTH_FIRST);
    let is_bad = marks.of_field(LENGTH_BAD) != 0 || (marks.at(LENGTH_COLON) != 0 && first == 0);
    let is_long = marks.at(LENGTH_MORE) >= first + DIGITS_MAX;
    if marks.of_field(CODING_COLON) != 0 {
        Unframed::Coding
    } else if is_bad || is_long {
        Unframed::Length
    } else if marks.of_field(UPGRADE_COLON) != 0 {
        Unframed::Upgrade
    } else {
        Unframed::No
    }
}

#[inline(always)]
fn body(bytes: &[u8; HELD_BYTES], marks: &Marks) -> u64 {
    let first = marks.at(LENGTH_FIRST);
    if first == 0 {
        return 0;
    }
    let more = marks.at(LENGTH_MORE);
    let end = if more > first { more } else { first };
    decimal(bytes, first - 1, end, 0)
}

/// The run that begins where its first byte was marked and ends where a further one was marked last.
#[inline(always)]
fn span(first: u16, more: u16) -> Option<Span> {
    if first == 0 {
        return None;
    }
    let length = if more > first { more - first + 1 } else { 1 };
    Some(Span {
        start: first - 1,
        length,
    })
}

#[cfg(test)]
mod tests {
    use super::is_idempotent;

    #[test]
    fn what_may_run_twice_is_told_by_its_method() {
        for method in ["GET ", "HEAD", "PUT ", "DELE", "OPTI", "TRAC"] {
            assert!(check(method), "{method}");
        }
        for method in ["POST", "PATC", "GETS", "get ", "BREW"] {
            assert!(!check(method), "{method}");
        }
    }

    fn check(start: &str) -> bool {
        let bytes = start.as_bytes();
        is_idempotent(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}
