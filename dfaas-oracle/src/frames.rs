//! Frames and TCP options, here and according to etherparse and to RFC 9293.

use dfaas_common::{
    packet::{ACK, Be16, Be32, FIN, HEADERS_BYTES, Headers, PSH, RST, SYN},
    tcp_options::{NO_WINDOW_SCALE, OPTIONS_BYTES, SACK_BLOCK_BYTES, SACK_BLOCKS, SackBlocks, SynOptions},
};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

/// What TCP assumes where a SYN says nothing (RFC 9293, section 3.7.1).
const DEFAULT_SEGMENT_SIZE: u16 = 536;
/// RFC 7323, section 2.3.
const WINDOW_SCALE_MAX: u8 = 14;

/// The headers of a frame as the programs read them; nothing if it is too short for them.
#[must_use]
pub fn headers(frame: &[u8]) -> Option<Headers> {
    let bytes: &[u8; HEADERS_BYTES] = frame.first_chunk()?;
    let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
    let long = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    Some(Headers {
        lead: 0,
        ethernet_destination: [word(0), word(2), word(4)],
        ethernet_source: [word(6), word(8), word(10)],
        ethertype: Be16::from_raw(word(12)),
        version_and_length: bytes[14],
        service: bytes[15],
        total_length: Be16::from_raw(word(16)),
        identification: Be16::from_raw(word(18)),
        fragment: Be16::from_raw(word(20)),
        time_to_live: bytes[22],
        protocol: bytes[23],
        ipv4_checksum: Be16::from_raw(word(24)),
        source: Be32::from_raw(long(26)),
        destination: Be32::from_raw(long(30)),
        source_port: Be16::from_raw(word(34)),
        destination_port: Be16::from_raw(word(36)),
        sequence: Be32::from_raw(long(38)),
        acknowledgment: Be32::from_raw(long(42)),
        tcp_length: bytes[46],
        flags: bytes[47],
        window: Be16::from_raw(word(48)),
        checksum: Be16::from_raw(word(50)),
        urgent: Be16::from_raw(word(52)),
    })
}

/// Reads a frame and asks etherparse about it. Returns whether it is one that the programs look at.
///
/// # Panics
///
/// If the two disagree about a frame that is as long as it says.
pub fn check(frame: &[u8]) -> bool {
    let Some(ours) = headers(frame).filter(Headers::is_plain_tcp) else {
        // The other way round: what etherparse takes for a plain segment is one.
        if let Some(segment) = Segment::read(frame) {
            panic!("missed {segment:?}: {frame:x?}");
        }
        return false;
    };
    if let Some(theirs) = Segment::read(frame) {
        assert_eq!(Segment::of(&ours), theirs, "{frame:x?}");
    }
    true
}

/// What is read of a segment.
#[derive(Debug, PartialEq, Eq)]
struct Segment {
    addresses: ([u8; 4], [u8; 4]),
    ports: (u16, u16),
    sequence: u32,
    acknowledgment: u32,
    flags: u8,
    window: u16,
    options_bytes: usize,
    payload_bytes: usize,
}

impl Segment {
    fn of(headers: &Headers) -> Self {
        Self {
            addresses: (
                headers.source.raw().to_ne_bytes(),
                headers.destination.raw().to_ne_bytes(),
            ),
            ports: (headers.source_port.get(), headers.destination_port.get()),
            sequence: headers.sequence.get(),
            acknowledgment: headers.acknowledgment.get(),
            flags: headers.flags & (FIN | SYN | RST | PSH | ACK),
            window: headers.window.get(),
            options_bytes: headers.options_bytes().into(),
            payload_bytes: headers.payload_bytes().into(),
        }
    }

    /// A whole segment in IPv4 without options, fragments or VLAN, as etherparse reads it.
    fn read(frame: &[u8]) -> Option<Self> {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let (Some(NetSlice::Ipv4(ipv4)), Some(TransportSlice::Tcp(tcp))) = (packet.net, packet.transport)
        else {
            return None;
        };
        let header = ipv4.header();
        if !packet.link_exts.is_empty() || header.slice().len() != 20 || header.is_fragmenting_payload() {
            return None;
        }
        // The flag that RFC 3514 makes fun of is not ours to judge, but a packet that has it is left alone.
        if header.slice()[6] & 0x80 != 0 {
            return None;
        }
        // An authentication header may stand between.
        if header.protocol() != etherparse::IpNumber::TCP {
            return None;
        }
        let flags = [
            (tcp.fin(), FIN),
            (tcp.syn(), SYN),
            (tcp.rst(), RST),
            (tcp.psh(), PSH),
            (tcp.ack(), ACK),
        ];
        Some(Self {
            addresses: (header.source(), header.destination()),
            ports: (tcp.source_port(), tcp.destination_port()),
            sequence: tcp.sequence_number(),
            acknowledgment: tcp.acknowledgment_number(),
            flags: flags
                .iter()
                .filter(|(is_set, _)| *is_set)
                .map(|(_, flag)| flag)
                .sum(),
            window: tcp.window_size(),
            options_bytes: tcp.options().len(),
            payload_bytes: tcp.payload().len(),
        })
    }
}

/// Reads the options of a segment and compares with what a plain loop over them finds.
///
/// # Panics
///
/// If the two disagree.
pub fn check_options(options: &[u8]) {
    let options = &options[..options.len().min(OPTIONS_BYTES)];
    let mut buffer = [0xee; 64];
    buffer[..options.len()].copy_from_slice(options);
    // What was in the marks before must not count.
    let syn = SynOptions::read(&buffer, options.len(), &mut [9; 64]);
    let sack = SackBlocks::find(&buffer, options.len(), &mut [9; 64]);
    let want = plain_options(options);
    assert_eq!((syn, sack.count), (want.syn, want.sack.1), "{options:x?}");
    if sack.count > 0 {
        assert_eq!(sack.start, want.sack.0, "{options:x?}");
    }
}

struct Options {
    syn: SynOptions,
    /// Where the blocks begin, and how many there are.
    sack: (u32, u32),
}

/// Options as Linux's `tcp_parse_options` reads them: a length that contradicts itself ends the reading, and an
/// option of a length that is not its own means nothing. In one thing we differ: blocks are not translated where
/// more of them are announced behind them than there are. Their receiver finds them out of its window.
fn plain_options(options: &[u8]) -> Options {
    let mut found = Options {
        syn: SynOptions {
            segment_size: DEFAULT_SEGMENT_SIZE,
            window_scale: NO_WINDOW_SCALE,
            permits_sack: false,
        },
        sack: (0, 0),
    };
    let mut at = 0;
    while at < options.len() {
        let rest = &options[at..];
        if rest[0] == 0 {
            break;
        }
        if rest[0] == 1 {
            at += 1;
            continue;
        }
        let Some(length) = rest.get(1).map(|length| usize::from(*length)) else {
            if rest[0] == 5 {
                found.sack = (0, 0);
            }
            break;
        };
        let Some(option) = rest.get(..length).filter(|option| option.len() >= 2) else {
            if rest[0] == 5 {
                found.sack = (0, 0);
            }
            break;
        };
        match *option {
            [2, 4, high, low] => found.syn.segment_size = u16::from_be_bytes([high, low]),
            [3, 3, scale] => found.syn.window_scale = scale.min(WINDOW_SCALE_MAX),
            [4, 2] => found.syn.permits_sack = true,
            [5, _, ref blocks @ ..] => {
                let count = (blocks.len() as u32 / SACK_BLOCK_BYTES).min(SACK_BLOCKS);
                found.sack = (at as u32 + 2, count);
            }
            _ => {}
        }
        at += length;
    }
    found
}
