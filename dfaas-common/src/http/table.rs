//! The automaton's table, made at compile time from the grammar of RFC 9112, sections 3 and 5.

use super::STATES;

/// The states that something reads a mark of, and the fixed part of the grammar.
///
/// The states that spell out `/function/` and the names of header fields follow behind [`State::FirstFree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Not in a valid request; final.
    Malformed = 0,
    /// The empty line behind the head is complete.
    End,
    /// The request line is complete.
    RequestLineEnd,
    /// In a target that is neither `/` nor `/function/<name>`.
    OtherTarget,
    /// Behind the target `/`.
    RootEnd,
    /// At the first byte of a function's name.
    NameFirst,
    /// At a further byte of a function's name.
    NameMore,
    /// Behind the colon of `DFaaS-Node-ID`.
    NodeIdColon,
    /// At the first byte of a node's identity.
    NodeIdFirst,
    /// At a further byte of a node's identity.
    NodeIdMore,
    /// Before the first byte.
    Start,
    /// In the method.
    Method,
    /// Behind the method.
    MethodEnd,
    /// At the slash that begins the target.
    Slash,
    /// In the path or query behind a function's name.
    NameTail,
    /// At the space before the protocol version.
    VersionStart,
    /// Behind the last digit of the protocol version.
    VersionEnd,
    /// At the carriage return of the request line.
    RequestLineReturn,
    /// At the end of a field line.
    FieldLineEnd,
    /// In the name of a field that nobody asks for.
    FieldName,
    /// In the value of a field that nobody asks for.
    FieldValue,
    /// At the carriage return of a field line.
    FieldReturn,
    /// In the white space behind a node's identity.
    NodeIdTrail,
    /// At the carriage return of the empty line.
    EndReturn,
    /// In the body; final.
    Body,
    /// The first number that is free for literals.
    FirstFree,
}

/// The states up to here are read by [`super::Head::from_marks`].
pub(super) const MARKED_STATES: usize = State::Start as usize;

/// The next state for a state and a byte. A masked state and a byte are always valid indices.
pub static TABLE: [[u8; 256]; STATES] = build();

const NODE_ID: &[u8] = b"dfaas-node-id";

const fn build() -> [[u8; 256]; STATES] {
    let mut table = [[State::Malformed as u8; 256]; STATES];
    let mut free = State::FirstFree as u8;
    request_line(&mut table, &mut free);
    fields(&mut table);
    free = field_name(&mut table, free, NODE_ID, State::NodeIdColon);
    node_id(&mut table);
    let mut byte = 0;
    while byte < 256 {
        table[State::End as usize][byte] = State::Body as u8;
        table[State::Body as usize][byte] = State::Body as u8;
        byte += 1;
    }
    assert!(free as usize <= STATES);
    table
}

const fn request_line(table: &mut [[u8; 256]; STATES], free: &mut u8) {
    let mut byte = 0;
    while byte < 256 {
        let value = byte as u8;
        if is_token(value) {
            set(table, State::Start, value, State::Method);
            set(table, State::Method, value, State::Method);
        }
        if is_visible(value) {
            set(table, State::MethodEnd, value, State::OtherTarget);
            set(table, State::OtherTarget, value, State::OtherTarget);
            set(table, State::Slash, value, State::OtherTarget);
            set(table, State::NameTail, value, State::NameTail);
            set(table, State::NameFirst, value, State::OtherTarget);
            set(table, State::NameMore, value, State::OtherTarget);
        }
        byte += 1;
    }
    set(table, State::Method, b' ', State::MethodEnd);
    set(table, State::MethodEnd, b'/', State::Slash);
    set(table, State::Slash, b' ', State::RootEnd);
    set(table, State::OtherTarget, b' ', State::VersionStart);
    set(table, State::NameTail, b' ', State::VersionStart);
    function_path(table, free);
    version(table, free);
}

/// `function/<name>` behind the first slash.
const fn function_path(table: &mut [[u8; 256]; STATES], free: &mut u8) {
    let literal = b"function/";
    let mut from = State::Slash as u8;
    let mut at = 0;
    while at < literal.len() {
        table[from as usize][literal[at] as usize] = *free;
        from = *free;
        *free += 1;
        let mut byte = 0;
        while byte < 256 {
            if is_visible(byte as u8) {
                table[from as usize][byte] = State::OtherTarget as u8;
            }
            byte += 1;
        }
        // A target that stops within the literal is a path like any other, and has to be marked as one.
        table[from as usize][b' ' as usize] = State::VersionStart as u8;
        at += 1;
    }
    let mut byte = 0;
    while byte < 256 {
        let value = byte as u8;
        if is_name(value) {
            table[from as usize][byte] = State::NameFirst as u8;
            set(table, State::NameFirst, value, State::NameMore);
            set(table, State::NameMore, value, State::NameMore);
        }
        byte += 1;
    }
    end_of_name(table, State::NameFirst);
    end_of_name(table, State::NameMore);
}

const fn end_of_name(table: &mut [[u8; 256]; STATES], state: State) {
    set(table, state, b'/', State::NameTail);
    set(table, state, b'?', State::NameTail);
    set(table, state, b' ', State::VersionStart);
}

/// ` HTTP/1.0` or ` HTTP/1.1` and the end of the line.
const fn version(table: &mut [[u8; 256]; STATES], free: &mut u8) {
    let literal = b"HTTP/1.";
    let mut from = *free;
    // The same literal follows `VersionStart` and `RootEnd`.
    set_raw(table, State::VersionStart as u8, literal[0], from);
    set_raw(table, State::RootEnd as u8, literal[0], from);
    *free += 1;
    let mut at = 1;
    while at < literal.len() {
        set_raw(table, from, literal[at], *free);
        from = *free;
        *free += 1;
        at += 1;
    }
    set_raw(table, from, b'0', State::VersionEnd as u8);
    set_raw(table, from, b'1', State::VersionEnd as u8);
    set(table, State::VersionEnd, b'\r', State::RequestLineReturn);
    set(table, State::RequestLineReturn, b'\n', State::RequestLineEnd);
}

const fn fields(table: &mut [[u8; 256]; STATES]) {
    let mut byte = 0;
    while byte < 256 {
        let value = byte as u8;
        if is_token(value) {
            set(table, State::RequestLineEnd, value, State::FieldName);
            set(table, State::FieldLineEnd, value, State::FieldName);
            set(table, State::FieldName, value, State::FieldName);
        }
        if is_field_byte(value) {
            set(table, State::FieldValue, value, State::FieldValue);
        }
        byte += 1;
    }
    set(table, State::FieldName, b':', State::FieldValue);
    set(table, State::FieldValue, b'\r', State::FieldReturn);
    set(table, State::FieldReturn, b'\n', State::FieldLineEnd);
    set(table, State::RequestLineEnd, b'\r', State::EndReturn);
    set(table, State::FieldLineEnd, b'\r', State::EndReturn);
    set(table, State::EndReturn, b'\n', State::End);
}

/// Spells out a field's name, in any case, to the state behind its colon. Returns the next free state.
///
/// Names that begin alike share their states.
const fn field_name(table: &mut [[u8; 256]; STATES], free: u8, name: &[u8], behind: State) -> u8 {
    let mut free = free;
    let mut from = State::RequestLineEnd as u8;
    let mut at = 0;
    while at < name.len() {
        let lower = name[at];
        let known = table[from as usize][lower as usize];
        let to = if known >= State::FirstFree as u8 {
            known
        } else {
            free
        };
        if to == free {
            free += 1;
            continue_as_other_name(table, to);
        }
        set_any_case(table, from, lower, to);
        if at == 0 {
            set_any_case(table, State::FieldLineEnd as u8, lower, to);
        }
        from = to;
        at += 1;
    }
    set_raw(table, from, b':', behind as u8);
    free
}

/// A name that leaves the literal is the name of some other field.
const fn continue_as_other_name(table: &mut [[u8; 256]; STATES], state: u8) {
    let mut byte = 0;
    while byte < 256 {
        if is_token(byte as u8) {
            table[state as usize][byte] = State::FieldName as u8;
        }
        byte += 1;
    }
    set_raw(table, state, b':', State::FieldValue as u8);
}

const fn node_id(table: &mut [[u8; 256]; STATES]) {
    let mut byte = 0;
    while byte < 256 {
        let value = byte as u8;
        if is_field_byte(value) {
            set(table, State::NodeIdColon, value, State::NodeIdFirst);
            set(table, State::NodeIdFirst, value, State::NodeIdMore);
            set(table, State::NodeIdMore, value, State::NodeIdMore);
            set(table, State::NodeIdTrail, value, State::NodeIdMore);
        }
        byte += 1;
    }
    white_space(table, State::NodeIdColon, State::NodeIdColon);
    white_space(table, State::NodeIdFirst, State::NodeIdTrail);
    white_space(table, State::NodeIdMore, State::NodeIdTrail);
    white_space(table, State::NodeIdTrail, State::NodeIdTrail);
    set(table, State::NodeIdColon, b'\r', State::FieldReturn);
    set(table, State::NodeIdFirst, b'\r', State::FieldReturn);
    set(table, State::NodeIdMore, b'\r', State::FieldReturn);
    set(table, State::NodeIdTrail, b'\r', State::FieldReturn);
}

const fn white_space(table: &mut [[u8; 256]; STATES], from: State, to: State) {
    set(table, from, b' ', to);
    set(table, from, b'\t', to);
}

const fn set(table: &mut [[u8; 256]; STATES], from: State, byte: u8, to: State) {
    table[from as usize][byte as usize] = to as u8;
}

const fn set_raw(table: &mut [[u8; 256]; STATES], from: u8, byte: u8, to: u8) {
    table[from as usize][byte as usize] = to;
}

const fn set_any_case(table: &mut [[u8; 256]; STATES], from: u8, lower: u8, to: u8) {
    table[from as usize][lower as usize] = to;
    table[from as usize][lower.to_ascii_uppercase() as usize] = to;
}

/// RFC 9110, section 5.6.2: tchar.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// VCHAR (RFC 5234, appendix B.1).
const fn is_visible(byte: u8) -> bool {
    byte > b' ' && byte < 0x7f
}

/// RFC 9110, section 5.5: field-vchar, SP and HTAB.
const fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// The bytes that OpenFaaS allows in `name` and `name.namespace`.
const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}
