//! The parts of RFC 9112's grammar that requests and responses share, as transitions of an automaton, made at compile
//! time.

/// How many states an automaton can have: a state is a byte, so that every state is a valid index.
pub const STATES: usize = 256;

/// The next state for a state and a byte.
pub(super) type Table = [[u8; 256]; STATES];

/// Not in a valid head; final.
pub(super) const MALFORMED: u8 = 0;
/// The empty line behind the head is complete; final.
pub(super) const END: u8 = 1;
/// Behind the head; final.
pub(super) const BODY: u8 = 2;
/// The last of the final states.
pub(super) const LAST_FINAL: u8 = BODY;

/// States of the start line that something reads a mark of are below this.
pub(super) const FIRST_FIELD_MARK: u8 = 16;
/// How many states of the fields something reads a mark of. They exist twice: before a `Content-Length`, and behind
/// one, where a second one can be told.
pub(super) const FIELD_MARKS: u8 = 16;
/// The states below this may be read.
pub(super) const MARKED_STATES: usize = (FIRST_FIELD_MARK + 2 * FIELD_MARKS) as usize;

/// Behind the colon of `Content-Length`.
pub(super) const LENGTH_COLON: u8 = FIRST_FIELD_MARK;
/// At the first digit of a length.
pub(super) const LENGTH_FIRST: u8 = FIRST_FIELD_MARK + 1;
/// At a further digit of a length.
pub(super) const LENGTH_MORE: u8 = FIRST_FIELD_MARK + 2;
/// In a length that is no number, or in a second length.
pub(super) const LENGTH_BAD: u8 = FIRST_FIELD_MARK + 3;
/// Behind the colon of `Transfer-Encoding`.
pub(super) const CODING_COLON: u8 = FIRST_FIELD_MARK + 4;
/// The first mark that requests or responses may use for fields of their own.
pub(super) const FIRST_OWN_FIELD_MARK: u8 = FIRST_FIELD_MARK + 5;

/// A set of bytes.
#[derive(Clone, Copy)]
pub(super) enum Class {
    /// RFC 9110, section 5.6.2: tchar.
    Token,
    /// VCHAR (RFC 5234, appendix B.1).
    Visible,
    /// RFC 9110, section 5.5: field-vchar, SP and HTAB.
    Field,
    /// The bytes that OpenFaaS allows in `name` and `name.namespace`.
    Name,
    /// 0 to 9.
    Digit,
    /// All bytes.
    Any,
}

impl Class {
    pub(super) const fn has(self, byte: u8) -> bool {
        match self {
            Self::Token => {
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
            Self::Visible => byte > b' ' && byte < 0x7f,
            Self::Field => byte == b'\t' || (byte >= b' ' && byte != 0x7f),
            Self::Name => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'),
            Self::Digit => byte.is_ascii_digit(),
            Self::Any => true,
        }
    }
}

/// The states in which fields are read that nobody asks for, before or behind a `Content-Length`.
#[derive(Clone, Copy)]
pub(super) struct Layer {
    /// At the start of a field line.
    pub(super) line: u8,
    /// In a field's name.
    pub(super) name: u8,
    /// In a field's value.
    pub(super) value: u8,
    /// At the carriage return of a field line.
    pub(super) line_return: u8,
    /// What is added to a mark's state.
    pub(super) marks: u8,
}

/// A table in the making.
pub(super) struct Grammar {
    pub(super) table: Table,
    free: u8,
}

impl Grammar {
    /// Every byte is malformed, but behind the end.
    pub(super) const fn new() -> Self {
        let mut grammar = Self {
            table: [[MALFORMED; 256]; STATES],
            free: MARKED_STATES as u8,
        };
        grammar.on_class(END, Class::Any, BODY);
        grammar.on_class(BODY, Class::Any, BODY);
        grammar
    }

    /// A new state.
    pub(super) const fn state(&mut self) -> u8 {
        self.free += 1;
        self.free - 1
    }

    pub(super) const fn on(&mut self, from: u8, byte: u8, to: u8) {
        self.table[from as usize][byte as usize] = to;
    }

    pub(super) const fn on_any_case(&mut self, from: u8, lower: u8, to: u8) {
        self.on(from, lower, to);
        self.on(from, lower.to_ascii_uppercase(), to);
    }

    pub(super) const fn on_class(&mut self, from: u8, class: Class, to: u8) {
        let mut byte = 0;
        while byte < 256 {
            if class.has(byte as u8) {
                self.on(from, byte as u8, to);
            }
            byte += 1;
        }
    }

    pub(super) const fn on_white_space(&mut self, from: u8, to: u8) {
        self.on(from, b' ', to);
        self.on(from, b'\t', to);
    }

    /// Field lines that nobody asks for, and the empty line behind them.
    pub(super) const fn layer(&mut self, marks: u8) -> Layer {
        let layer = Layer {
            line: self.state(),
            name: self.state(),
            value: self.state(),
            line_return: self.state(),
            marks,
        };
        let empty_return = self.state();
        self.on_class(layer.line, Class::Token, layer.name);
        self.on_class(layer.name, Class::Token, layer.name);
        self.on(layer.name, b':', layer.value);
        self.on_value(&layer, layer.value, layer.value);
        self.on(layer.line_return, b'\n', layer.line);
        self.on(layer.line, b'\r', empty_return);
        self.on(empty_return, b'\n', END);
        layer
    }

    /// The rest of a value that is read as any other.
    pub(super) const fn on_value(&mut self, layer: &Layer, from: u8, to: u8) {
        self.on_class(from, Class::Field, to);
        self.on(from, b'\r', layer.line_return);
    }

    /// Spells out a field's name, in any case, to the state behind its colon. Names that begin alike share states.
    pub(super) const fn field_name(&mut self, layer: &Layer, name: &[u8], behind: u8) {
        let mut from = layer.line;
        let mut at = 0;
        while at < name.len() {
            let known = self.table[from as usize][name[at] as usize];
            let to = if known == layer.name {
                let to = self.state();
                // A name that leaves the literal is the name of some other field.
                self.on_class(to, Class::Token, layer.name);
                self.on(to, b':', layer.value);
                self.on_any_case(from, name[at], to);
                to
            } else {
                known
            };
            from = to;
            at += 1;
        }
        self.on(from, b':', behind);
    }

    /// A value without white space at its ends, to be marked by its first and further bytes.
    pub(super) const fn text(&mut self, layer: &Layer, colon: u8, first: u8, more: u8) {
        let trail = self.state();
        self.on_value(layer, colon, first);
        self.on_value(layer, first, more);
        self.on_value(layer, more, more);
        self.on_value(layer, trail, more);
        self.on_white_space(colon, colon);
        self.on_white_space(first, trail);
        self.on_white_space(more, trail);
        self.on_white_space(trail, trail);
    }

    /// `Content-Length` in both layers: it leads from the first to the second, where another one is bad.
    pub(super) const fn content_length(&mut self, before: &Layer, behind: &Layer) {
        let name = b"content-length";
        self.field_name(before, name, LENGTH_COLON);
        self.field_name(behind, name, LENGTH_BAD + behind.marks);
        self.on_value(behind, LENGTH_BAD + behind.marks, LENGTH_BAD + behind.marks);
        let trail = self.state();
        self.on_value(behind, LENGTH_COLON, LENGTH_BAD);
        self.on_value(behind, LENGTH_FIRST, LENGTH_BAD);
        self.on_value(behind, LENGTH_MORE, LENGTH_BAD);
        self.on_value(behind, LENGTH_BAD, LENGTH_BAD);
        self.on_value(behind, trail, LENGTH_BAD);
        self.on_white_space(LENGTH_COLON, LENGTH_COLON);
        self.on_white_space(LENGTH_FIRST, trail);
        self.on_white_space(LENGTH_MORE, trail);
        self.on_white_space(trail, trail);
        self.on_class(LENGTH_COLON, Class::Digit, LENGTH_FIRST);
        self.on_class(LENGTH_FIRST, Class::Digit, LENGTH_MORE);
        self.on_class(LENGTH_MORE, Class::Digit, LENGTH_MORE);
    }

    /// The list of `Connection` (RFC 9110, section 7.6.1), in which each of these options leads through a state of its own.
    /// No two begin alike.
    pub(super) const fn connection_options(&mut self, layer: &Layer, options: &[(&[u8], u8)]) {
        let start = self.state();
        let other = self.state();
        self.field_name(layer, b"connection", start);
        self.on_value(layer, start, other);
        self.on_value(layer, other, other);
        self.on(other, b',', start);
        self.on(start, b',', start);
        self.on_white_space(start, start);
        let mut index = 0;
        while index < options.len() {
            let (literal, mark) = options[index];
            let mut from = start;
            let mut at = 0;
            while at < literal.len() {
                let is_last = at + 1 == literal.len();
                let to = if is_last { mark } else { self.state() };
                self.on_value(layer, to, other);
                self.on(to, b',', start);
                self.on_any_case(from, literal[at], to);
                from = to;
                at += 1;
            }
            index += 1;
        }
    }
}
