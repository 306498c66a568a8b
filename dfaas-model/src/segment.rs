//! A TCP segment and whose it is.

use std::fmt;

/// `FIN`
pub const FIN: u8 = 1;
/// `SYN`
pub const SYN: u8 = 2;
/// `RST`
pub const RST: u8 = 4;
/// `PSH`
pub const PSH: u8 = 8;
/// `ACK`
pub const ACK: u8 = 16;

/// An address with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    /// An IPv4 address.
    pub address: [u8; 4],
    /// A TCP port.
    pub port: u16,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ".{}:{}", self.address[3], self.port)
    }
}

/// What a segment says in its options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Maximum segment size, in bytes.
    pub segment_size: Option<u16>,
    /// Window scale.
    pub scale: Option<u8>,
    /// Whether selective acknowledgments are permitted.
    pub permits_sack: bool,
    /// Blocks that are acknowledged selectively: first byte, and the one behind the last.
    pub sacks: Vec<(u32, u32)>,
}

/// A TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Who sends it.
    pub from: End,
    /// Who is to get it.
    pub to: End,
    /// Its sequence number.
    pub sequence: u32,
    /// Its acknowledgment number, if it has [`ACK`].
    pub acknowledgment: u32,
    /// Its flags.
    pub flags: u8,
    /// Its window as it stands in the header.
    pub window: u16,
    /// Its options.
    pub options: Options,
    /// Its bytes.
    pub payload: Vec<u8>,
}

impl Segment {
    /// Whether it has any of these flags.
    #[must_use]
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// How many sequence numbers it takes.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.payload.len() as u32 + u32::from(self.has(SYN)) + u32::from(self.has(FIN))
    }

    /// The sequence number behind it.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.sequence.wrapping_add(self.length())
    }

    /// The flags as letters.
    #[must_use]
    pub fn letters(&self) -> String {
        [(SYN, 'S'), (ACK, 'A'), (PSH, 'P'), (FIN, 'F'), (RST, 'R')]
            .into_iter()
            .filter_map(|(flag, letter)| self.has(flag).then_some(letter))
            .collect()
    }

    /// What a host without such a connection answers (RFC 9293, section 3.10.7.1); nothing to a reset.
    #[must_use]
    pub fn refusal(&self) -> Option<Self> {
        if self.has(RST) {
            return None;
        }
        let (sequence, acknowledgment, flags) = if self.has(ACK) {
            (self.acknowledgment, 0, RST)
        } else {
            (0, self.end(), RST | ACK)
        };
        Some(Self {
            from: self.to,
            to: self.from,
            sequence,
            acknowledgment,
            flags,
            window: 0,
            options: Options::default(),
            payload: Vec::new(),
        })
    }
}
