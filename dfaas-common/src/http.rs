//! The head of an HTTP/1.1 request (RFC 9112), read in one table-driven pass.
//!
//! Each byte costs one table look-up and one store: no branch depends on the byte, which keeps the kernel's verifier
//! content (5.10 included) and lets host and kernel run the very same automaton.

mod table;

pub use table::{State, TABLE};

/// The capacity of the buffer that holds the first bytes of a connection: a whole Ethernet payload.
pub const HELD_BYTES: usize = 1536;

/// How many states the automaton can have; a state's number is masked with this less one before it is an index.
pub const STATES: usize = 128;

/// The longest function name, with or without namespace (RFC 1123 label length, as OpenFaaS asks).
pub const NAME_BYTES: usize = 64;

/// The longest peer identity that is looked up, in bytes.
pub const NODE_ID_BYTES: usize = 64;

/// For each state, one more than the position at which it was entered last; 0 where it never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Marks(pub [u16; STATES]);

impl Default for Marks {
    fn default() -> Self {
        Self([0; STATES])
    }
}

impl Marks {
    /// Forgets the marks that [`Head::from_marks`] reads.
    #[inline(always)]
    pub fn clear(&mut self) {
        let mut index = 0;
        while index < table::MARKED_STATES {
            self.0[index] = 0;
            index += 1;
        }
    }

    #[inline(always)]
    const fn at(&self, state: State) -> u16 {
        self.0[state as usize & (STATES - 1)]
    }
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
}

/// Runs the automaton over the first `length` bytes.
#[inline(always)]
pub fn scan(bytes: &[u8; HELD_BYTES], length: usize, marks: &mut Marks) -> Progress {
    let mut state = State::Start as u8;
    let mut index = 0;
    while index < HELD_BYTES {
        if index >= length {
            break;
        }
        state = TABLE[state as usize & (STATES - 1)][bytes[index] as usize];
        marks.0[state as usize & (STATES - 1)] = index as u16 + 1;
        index += 1;
    }
    if marks.at(State::End) != 0 {
        Progress::Complete
    } else if marks.at(State::Malformed) != 0 {
        Progress::Malformed
    } else {
        Progress::Incomplete
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

/// What the request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// `/`, exactly.
    Root,
    /// `/function/<name>`, with or without a path or query behind it.
    Function(Span),
    /// Any other target.
    Other,
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
    /// Whether the field `DFaaS-Node-ID` is there.
    pub from_node: bool,
}

impl Head {
    /// Reads the marks of a complete head.
    #[inline(always)]
    #[must_use]
    pub fn from_marks(marks: &Marks) -> Self {
        let target = if marks.at(State::OtherTarget) != 0 {
            Target::Other
        } else if let Some(name) = span(marks, State::NameFirst, State::NameMore) {
            Target::Function(name)
        } else if marks.at(State::RootEnd) != 0 {
            Target::Root
        } else {
            Target::Other
        };
        Self {
            target,
            fields_start: marks.at(State::RequestLineEnd),
            length: marks.at(State::End),
            node_id: span(marks, State::NodeIdFirst, State::NodeIdMore),
            from_node: marks.at(State::NodeIdColon) != 0,
        }
    }
}

/// The run that begins where `first` was entered and ends where `more` was entered last.
#[inline(always)]
fn span(marks: &Marks, first: State, more: State) -> Option<Span> {
    let first = marks.at(first);
    let more = marks.at(more);
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
mod tests;
