use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use std::vec::Vec;

use super::*;

#[test]
fn headers_lie_as_they_do_on_the_wire() {
    for is_ipv6 in [false, true] {
        let headers = read(&frame(is_ipv6, SYN, &[], b"")).unwrap();
        assert_eq!(headers.source, addresses(is_ipv6).0);
        assert_eq!(headers.is_ipv6(), is_ipv6);
        assert_eq!(headers.destination_port.get(), 80);
        assert_eq!(headers.sequence.get(), 1_000);
        assert_eq!(headers.flags, SYN);
        assert_eq!(headers.payload_bytes(), 0);
    }
}

#[test]
fn lengths_follow_options_and_payload() {
    for (is_ipv6, payload_offset) in [(false, 66), (true, 86)] {
        let headers = read(&frame(is_ipv6, ACK, &[1; 12], b"hello")).unwrap();
        assert_eq!(headers.options_bytes(), 12);
        assert_eq!(headers.payload_offset(), payload_offset);
        assert_eq!(headers.payload_bytes(), 5);
        assert_eq!(headers.sequence_end(), 1_005);
    }
}

#[test]
fn syn_and_fin_take_a_sequence_number() {
    let end = |flags, payload| read(&frame(false, flags, &[], payload)).unwrap().sequence_end();
    assert_eq!(end(SYN, &b""[..]), 1_001);
    assert_eq!(end(FIN | ACK, b"ab"), 1_003);
}

#[test]
fn only_plain_tcp_of_ipv4_is_ours() {
    let good = ipv4(&frame(false, ACK, &[], b""));
    assert!(good.is_plain_tcp());
    for spoilt in [
        Ipv4Frame {
            ethernet: Ethernet {
                ethertype: Be16::new(0x86dd),
                ..good.ethernet
            },
            ..good
        },
        Ipv4Frame {
            version_and_length: 0x46,
            ..good
        },
        Ipv4Frame { protocol: 17, ..good },
        Ipv4Frame {
            fragment: Be16::new(0x2000),
            ..good
        },
        Ipv4Frame {
            fragment: Be16::new(1),
            ..good
        },
        Ipv4Frame {
            total_length: Be16::new(39),
            ..good
        },
        Ipv4Frame {
            tcp: Tcp {
                length: 0x40,
                ..good.tcp
            },
            ..good
        },
    ] {
        assert!(!spoilt.is_plain_tcp(), "{spoilt:?}");
    }
}

#[test]
fn only_plain_tcp_of_ipv6_is_ours() {
    let good = ipv6(&frame(true, ACK, &[], b""));
    assert!(good.is_plain_tcp());
    for spoilt in [
        Ipv6Frame {
            ethernet: Ethernet {
                ethertype: Be16::new(0x0800),
                ..good.ethernet
            },
            ..good
        },
        Ipv6Frame {
            version_and_label: [0x40, 0, 0, 0],
            ..good
        },
        // A fragment.
        Ipv6Frame {
            next_header: 44,
            ..good
        },
        Ipv6Frame {
            payload_length: Be16::new(19),
            ..good
        },
        Ipv6Frame {
            source: Address::from_ipv4([10, 0, 0, 1]),
            ..good
        },
        Ipv6Frame {
            tcp: Tcp {
                length: 0x40,
                ..good.tcp
            },
            ..good
        },
    ] {
        assert!(!spoilt.is_plain_tcp(), "{spoilt:?}");
    }
}

#[test]
fn contradicting_lengths_mean_no_payload() {
    let mut headers = read(&frame(false, ACK, &[], b"abc")).unwrap();
    headers.tcp_length = 0xf0;
    assert_eq!(headers.payload_bytes(), 0);
}

#[test]
fn an_answer_turns_everything_round() {
    let headers = read(&frame(true, ACK | PSH, &[], b"abc")).unwrap();
    let mut answer = Segment::default();
    headers.answer(&mut answer);
    assert_eq!(answer.source, headers.destination);
    assert_eq!(answer.destination_port, headers.source_port);
    assert_eq!(answer.ethernet_source, headers.ethernet_destination);
    assert_eq!(answer.sequence, headers.acknowledgment.get());
    assert_eq!(answer.acknowledgment, 1_003);
}

proptest! {
    #[test]
    fn made_segments_have_right_checksums(
        is_ipv6: bool,
        addresses in any::<([u8; 16], [u8; 16], u16, u16)>(),
        numbers in any::<(u32, u32, u16, u8)>(),
        options in proptest::collection::vec(any::<u32>(), 0..3),
        payload in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let options: Vec<u8> = options.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let address = |bytes: [u8; 16]| if is_ipv6 {
            Address::from_ipv6(bytes)
        } else {
            Address::from_ipv4(*bytes.first_chunk().unwrap())
        };
        let segment = Segment {
            ethernet_destination: [1, 2, 3],
            ethernet_source: [4, 5, 6],
            source: address(addresses.0),
            destination: address(addresses.1),
            source_port: Be16::new(addresses.2),
            destination_port: Be16::new(addresses.3),
            sequence: numbers.0,
            acknowledgment: numbers.1,
            flags: numbers.3 & 0x3f,
            window: numbers.2,
            options_bytes: options.len() as u16,
            payload_bytes: payload.len() as u16,
            ip_bytes: if is_ipv6 { IPV6_BYTES } else { IPV4_BYTES } as u16,
        };
        prop_assume!(segment.source.is_ipv6() == is_ipv6 && segment.destination.is_ipv6() == is_ipv6);
        let mut bytes = make(&segment, false, sum(&options) + sum(&payload));
        bytes.extend_from_slice(&options);
        bytes.extend_from_slice(&payload);
        prop_assert!(checksums_are_right(&bytes));
        let headers = read(&bytes).unwrap();
        prop_assert_eq!((headers.source, headers.destination), (segment.source, segment.destination));
        prop_assert_eq!(usize::from(headers.payload_bytes()), payload.len());
    }

    #[test]
    fn a_partial_checksum_is_recognised(is_ipv6: bool, payload in proptest::collection::vec(any::<u8>(), 0..100)) {
        let headers = read(&frame(is_ipv6, ACK, &[], &payload)).unwrap();
        let mut segment = Segment::default();
        headers.onward(&mut segment);
        segment.payload_bytes = payload.len() as u16;
        let made = read(&[make(&segment, true, 0), payload].concat()).unwrap();
        prop_assert!(made.has_partial_checksum());
    }

    #[test]
    fn addresses_update_a_checksum(old: [u8; 16], new: [u8; 16], rest: u32) {
        let (old, new) = (Address::from_ipv6(old), Address::from_ipv6(new));
        let got = fold(u64::from(fold(old.sum() + u64::from(rest))) + new.gain_over(&old));
        prop_assert_eq!(got % 0xffff, fold(new.sum() + u64::from(rest)) % 0xffff);
    }

    #[test]
    fn differences_update_a_checksum(words in proptest::collection::vec(any::<u32>(), 1..9), new: u32, at: prop::sample::Index) {
        let total: u64 = words.iter().map(|&word| u64::from(word)).sum();
        let mut changed = words.clone();
        let at = at.index(words.len());
        changed[at] = new;
        let want: u64 = changed.iter().map(|&word| u64::from(word)).sum();
        let got = fold(u64::from(fold(total)) + difference(words[at], new));
        // 0 and 0xffff are the same number in ones' complement.
        prop_assert_eq!(got % 0xffff, fold(want) % 0xffff);
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes
        .chunks(2)
        .map(|pair| u64::from(u16::from_ne_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum()
}

fn addresses(is_ipv6: bool) -> (Address, Address) {
    if is_ipv6 {
        (Address::from_ipv6([0xfd; 16]), Address::from_ipv6([0xfe; 16]))
    } else {
        (
            Address::from_ipv4([10, 0, 0, 1]),
            Address::from_ipv4([10, 0, 0, 2]),
        )
    }
}

fn frame(is_ipv6: bool, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let builder = if is_ipv6 {
        builder.ipv6([0xfd; 16], [0xfe; 16], 64)
    } else {
        builder.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
    };
    let mut bytes = Vec::new();
    builder
        .tcp(40_000, 80, 1_000, 8_192)
        .options_raw(options)
        .unwrap()
        .write(&mut bytes, payload)
        .unwrap();
    bytes[if is_ipv6 { 67 } else { 47 }] = flags;
    bytes
}

/// Whether etherparse takes a frame, and computes the same checksums.
fn checksums_are_right(frame: &[u8]) -> bool {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else {
        panic!("no TCP");
    };
    let header = tcp.to_header();
    let want = match packet.net.unwrap() {
        NetSlice::Ipv4(ip) => {
            let ip = ip.header().to_header();
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            header.calc_checksum_ipv4(&ip, tcp.payload())
        }
        NetSlice::Ipv6(ip) => header.calc_checksum_ipv6(&ip.header().to_header(), tcp.payload()),
        NetSlice::Arp(_) => panic!("no IP"),
    };
    tcp.checksum() == want.unwrap()
}

fn read(bytes: &[u8]) -> Option<Headers> {
    let frame = ipv4(bytes);
    if frame.is_plain_tcp() {
        return Some(frame.headers());
    }
    let frame = ipv6(bytes);
    frame.is_plain_tcp().then(|| frame.headers())
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn ethernet(bytes: &[u8]) -> Ethernet {
    Ethernet {
        lead: 0,
        destination: [0, 2, 4].map(|at| word(bytes, at)),
        source: [6, 8, 10].map(|at| word(bytes, at)),
        ethertype: Be16::from_raw(word(bytes, 12)),
    }
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

fn ipv4(bytes: &[u8]) -> Ipv4Frame {
    Ipv4Frame {
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
    }
}

fn ipv6(bytes: &[u8]) -> Ipv6Frame {
    let address = |at: usize| Address::from_words([0, 4, 8, 12].map(|more| long(bytes, at + more)));
    Ipv6Frame {
        ethernet: ethernet(bytes),
        version_and_label: *bytes[14..].first_chunk().unwrap(),
        payload_length: Be16::from_raw(word(bytes, 18)),
        next_header: bytes[20],
        hop_limit: bytes[21],
        source: address(22),
        destination: address(38),
        tcp: tcp(bytes, 54),
    }
}

/// A made segment's headers as they lie in the packet.
fn make(segment: &Segment, partial: bool, rest: u64) -> Vec<u8> {
    let pseudo = segment.pseudo_sum();
    if segment.is_ipv6() {
        let mut frame = Ipv6Frame::default();
        frame.fill(segment);
        frame.tcp.finish_checksum(partial, pseudo, rest);
        let mut bytes = ethernet_bytes(&frame.ethernet);
        bytes.extend_from_slice(&frame.version_and_label);
        bytes.extend_from_slice(&frame.payload_length.raw().to_ne_bytes());
        bytes.extend_from_slice(&[frame.next_header, frame.hop_limit]);
        for word in [frame.source, frame.destination].iter().flat_map(Address::words) {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.extend(tcp_bytes(&frame.tcp));
        return bytes;
    }
    let mut frame = Ipv4Frame::default();
    frame.fill(segment);
    frame.tcp.finish_checksum(partial, pseudo, rest);
    let mut bytes = ethernet_bytes(&frame.ethernet);
    bytes.extend_from_slice(&[frame.version_and_length, frame.service]);
    for word in [frame.total_length, frame.identification, frame.fragment] {
        bytes.extend_from_slice(&word.raw().to_ne_bytes());
    }
    bytes.extend_from_slice(&[frame.time_to_live, frame.protocol]);
    bytes.extend_from_slice(&frame.checksum.raw().to_ne_bytes());
    bytes.extend_from_slice(&frame.source.to_ne_bytes());
    bytes.extend_from_slice(&frame.destination.to_ne_bytes());
    bytes.extend(tcp_bytes(&frame.tcp));
    bytes
}

fn ethernet_bytes(header: &Ethernet) -> Vec<u8> {
    let words = header.destination.into_iter().chain(header.source);
    let words = words.chain([header.ethertype.raw()]);
    words.flat_map(u16::to_ne_bytes).collect()
}

fn tcp_bytes(header: &Tcp) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [header.source_port, header.destination_port] {
        bytes.extend_from_slice(&word.raw().to_ne_bytes());
    }
    for long in [header.sequence, header.acknowledgment] {
        bytes.extend_from_slice(&long.raw().to_ne_bytes());
    }
    bytes.extend_from_slice(&[header.length, header.flags]);
    for word in [header.window, header.checksum, header.urgent] {
        bytes.extend_from_slice(&word.raw().to_ne_bytes());
    }
    bytes
}
