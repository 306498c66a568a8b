//! Frames and TCP options, here and according to etherparse and to RFC 9293.

use dfaas_common::{
    packet::{
        ACK, Address, Be16, Be32, Ethernet, FIN, HEADERS_BYTES_MAX, HEADERS_BYTES_MIN, Headers, Ipv4Frame,
        Ipv6Frame, PSH, RST, SYN, Tcp,
    },
    tcp_options::{NO_WINDOW_SCALE, OPTIONS_BYTES, SACK_BLOCK_BYTES, SACK_BLOCKS, SackBlocks, SynOptions},
};
use etherparse::{IpNumber, Ipv4Slice, Ipv6Slice, NetSlice, SlicedPacket, TransportSlice};

/// What TCP assumes where a SYN says nothing (RFC 9293, section 3.7.1).
const DEFAULT_SEGMENT_SIZE: u16 = 536;
/// RFC 7323, section 2.3.
const WINDOW_SCALE_MAX: u8 = 14;

/// The headers of a plain TCP segment as the programs read them; nothing if it is none.
#[must_use]
pub fn headers(frame: &[u8]) -> Option<Headers> {
    let ethernet = |bytes: &[u8]| Ethernet {
        lead: 0,
        destination: [0, 2, 4].map(|at| word(bytes, at)),
        source: [6, 8, 10].map(|at| word(bytes, at)),
        ethertype: Be16::from_raw(word(bytes, 12)),
    };
    let bytes: &[u8; HEADERS_BYTES_MIN] = frame.first_chunk()?;
    let read = Ipv4Frame {
        ethernet: ethernet(bytes),
        version_and_length: bytes[14],
        service: bytes[15],
        total_length: Be16::from_raw(word(bytes, 16)),
        identification: Be16::from_raw(word(bytes, 18)),
        fragment: Be16::from_raw(word(bytes, 20)),
        time_to_live: bytes[22],
        protocol: bytes[23],
        checksum: Be16::from_raw(word(bytes, 24)),
        source: long(bytes, 26),
        destination: long(bytes, 30),
        tcp: tcp(bytes, 34),
    };
    if read.is_plain_tcp() {
        return Some(read.headers());
    }
    let bytes: &[u8; HEADERS_BYTES_MAX] = frame.first_chunk()?;
    let address = |at: usize| Address::from_words([0, 4, 8, 12].map(|more| long(bytes, at + more)));
    let read = Ipv6Frame {
        ethernet: ethernet(bytes),
        version_and_label: [bytes[14], bytes[15], bytes[16], bytes[17]],
        payload_length: Be16::from_raw(word(bytes, 18)),
        next_header: bytes[20],
        hop_limit: bytes[21],
        source: address(22),
        destination: address(38),
        tcp: tcp(bytes, 54),
    };
    read.is_plain_tcp().then(|| read.headers())
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn tcp(bytes: &[u8], at: usize) -> Tcp {
    Tcp {
        source_port: Be16::from_raw(word(bytes, at)),
        destination_port: Be16::from_raw(word(bytes, at + 2)),
        sequence: Be32::from_raw(long(bytes, at + 4)),
        acknowledgment: Be32::from_raw(long(bytes, at + 8)),
        length: bytes[at + 12],
        flags: bytes[at + 13],
        window: Be16::from_raw(word(bytes, at + 14)),
        checksum: Be16::from_raw(word(bytes, at + 16)),
        urgent: Be16::from_raw(word(bytes, at + 18)),
    }
}

/// Reads a frame and asks etherparse about it. Returns whether it is one that the programs look at.
///
/// # Panics
///
/// If the two disagree about a frame that is as long as it says.
pub fn check(frame: &[u8]) -> bool {
    let Some(ours) = headers(frame) else {
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
    addresses: (Address, Address),
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
            addresses: (headers.source, headers.destination),
            ports: (headers.source_port.get(), headers.destination_port.get()),
            sequence: headers.sequence.get(),
            acknowledgment: headers.acknowledgment.get(),
            flags: headers.flags & (FIN | SYN | RST | PSH | ACK),
            window: headers.window.get(),
            options_bytes: headers.options_bytes().into(),
            payload_bytes: headers.payload_bytes().into(),
        }
    }

    /// A whole segment in IP without options, extensions, fragments or VLAN, as etherparse reads it.
    fn read(frame: &[u8]) -> Option<Self> {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let Some(TransportSlice::Tcp(tcp)) = packet.transport else {
            return None;
        };
        let addresses = match packet.net? {
            NetSlice::Ipv4(ip) => ipv4_addresses(&ip)?,
            NetSlice::Ipv6(ip) => ipv6_addresses(&ip)?,
            NetSlice::Arp(_) => return None,
        };
        if !packet.link_exts.is_empty() {
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
            addresses,
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

fn ipv4_addresses(ip: &Ipv4Slice<'_>) -> Option<(Address, Address)> {
    let header = ip.header();
    let is_plain = header.slice().len() == 20
        && !header.is_fragmenting_payload()
        // The flag that RFC 3514 makes fun of is not ours to judge, but a packet that has it is left alone.
        && header.slice()[6] & 0x80 == 0
        // An authentication header may stand between.
        && header.protocol() == IpNumber::TCP;
    is_plain.then(|| {
        (
            Address::from_ipv4(header.source()),
            Address::from_ipv4(header.destination()),
        )
    })
}

fn ipv6_addresses(ip: &Ipv6Slice<'_>) -> Option<(Address, Address)> {
    let header = ip.header();
    let (source, destination) = (
        Address::from_ipv6(header.source()),
        Address::from_ipv6(header.destination()),
    );
    let is_plain = header.next_header() == IpNumber::TCP && source.is_ipv6() && destination.is_ipv6();
    is_plain.then_some((source, destination))
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
