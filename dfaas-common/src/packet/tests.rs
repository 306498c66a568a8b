use etherparse::{PacketBuilder, SlicedPacket, TcpHeaderSlice, TransportSlice};
use proptest::prelude::*;
use std::vec::Vec;

use super::*;

#[test]
fn headers_lie_as_they_do_on_the_wire() {
    let headers = read(&frame(SYN, &[], b""));
    assert!(headers.is_plain_tcp());
    assert_eq!(headers.source.raw().to_ne_bytes(), [10, 0, 0, 1]);
    assert_eq!(headers.destination_port.get(), 80);
    assert_eq!(headers.sequence.get(), 1_000);
    assert_eq!(headers.flags, SYN);
    assert_eq!(headers.payload_bytes(), 0);
}

#[test]
fn lengths_follow_options_and_payload() {
    let headers = read(&frame(ACK, &[1; 12], b"hello"));
    assert_eq!(headers.options_bytes(), 12);
    assert_eq!(headers.payload_offset(), 66);
    assert_eq!(headers.payload_bytes(), 5);
    assert_eq!(headers.sequence_end(), 1_005);
}

#[test]
fn syn_and_fin_take_a_sequence_number() {
    assert_eq!(read(&frame(SYN, &[], b"")).sequence_end(), 1_001);
    assert_eq!(read(&frame(FIN | ACK, &[], b"ab")).sequence_end(), 1_003);
}

#[test]
fn only_plain_tcp_is_ours() {
    let good = read(&frame(ACK, &[], b""));
    assert!(good.is_plain_tcp());
    for spoilt in [
        Headers {
            ethertype: Be16::new(0x86dd),
            ..good
        },
        Headers {
            version_and_length: 0x46,
            ..good
        },
        Headers { protocol: 17, ..good },
        Headers {
            fragment: Be16::new(0x2000),
            ..good
        },
        Headers {
            fragment: Be16::new(1),
            ..good
        },
        Headers {
            total_length: Be16::new(39),
            ..good
        },
        Headers {
            tcp_length: 0x40,
            ..good
        },
    ] {
        assert!(!spoilt.is_plain_tcp(), "{spoilt:?}");
    }
}

#[test]
fn contradicting_lengths_mean_no_payload() {
    let mut headers = read(&frame(ACK, &[], b"abc"));
    headers.tcp_length = 0xf0;
    assert_eq!(headers.payload_bytes(), 0);
}

#[test]
fn an_answer_turns_everything_round() {
    let headers = read(&frame(ACK | PSH, &[], b"abc"));
    let answer = headers.answer();
    assert_eq!(answer.source, headers.destination);
    assert_eq!(answer.destination_port, headers.source_port);
    assert_eq!(answer.ethernet_source, headers.ethernet_destination);
    assert_eq!(answer.sequence, headers.acknowledgment.get());
    assert_eq!(answer.acknowledgment, 1_003);
}

proptest! {
    #[test]
    fn made_segments_have_right_checksums(
        addresses in any::<(u32, u32, u16, u16)>(),
        numbers in any::<(u32, u32, u16, u8)>(),
        options in proptest::collection::vec(any::<u32>(), 0..3),
        payload in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let options: Vec<u8> = options.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let segment = Segment {
            ethernet_destination: [1, 2, 3],
            ethernet_source: [4, 5, 6],
            source: Be32::new(addresses.0),
            destination: Be32::new(addresses.1),
            source_port: Be16::new(addresses.2),
            destination_port: Be16::new(addresses.3),
            sequence: numbers.0,
            acknowledgment: numbers.1,
            flags: numbers.3 & 0x3f,
            window: numbers.2,
            options_bytes: options.len() as u16,
            payload_bytes: payload.len() as u16,
        };
        let mut headers = Headers::make(&segment);
        headers.finish_checksum(false, sum(&options) + sum(&payload));
        let mut bytes = write(&headers);
        bytes.extend_from_slice(&options);
        bytes.extend_from_slice(&payload);

        let ipv4 = etherparse::Ipv4HeaderSlice::from_slice(&bytes[ETHERNET_BYTES..]).unwrap();
        prop_assert_eq!(ipv4.header_checksum(), ipv4.to_header().calc_header_checksum());
        let tcp = TcpHeaderSlice::from_slice(&bytes[ETHERNET_BYTES + IPV4_BYTES..]).unwrap();
        let want = tcp.to_header().calc_checksum_ipv4(&ipv4.to_header(), &payload).unwrap();
        prop_assert_eq!(tcp.checksum(), want);
        prop_assert!(SlicedPacket::from_ethernet(&bytes).is_ok());
    }

    #[test]
    fn a_partial_checksum_is_recognised(payload in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut headers = read(&frame(ACK, &[], &payload));
        headers.finish_checksum(true, 0);
        prop_assert!(headers.has_partial_checksum());
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

fn frame(flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(40_000, 80, 1_000, 8_192)
        .options_raw(options)
        .unwrap();
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    bytes[47] = flags;
    let TransportSlice::Tcp(_) = SlicedPacket::from_ethernet(&bytes).unwrap().transport.unwrap() else {
        panic!("no TCP");
    };
    bytes
}

fn read(bytes: &[u8]) -> Headers {
    let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
    let long = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    Headers {
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
    }
}

fn write(headers: &Headers) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |part: &[u8]| bytes.extend_from_slice(part);
    for word in headers
        .ethernet_destination
        .into_iter()
        .chain(headers.ethernet_source)
    {
        put(&word.to_ne_bytes());
    }
    put(&headers.ethertype.raw().to_ne_bytes());
    put(&[headers.version_and_length, headers.service]);
    for word in [headers.total_length, headers.identification, headers.fragment] {
        put(&word.raw().to_ne_bytes());
    }
    put(&[headers.time_to_live, headers.protocol]);
    put(&headers.ipv4_checksum.raw().to_ne_bytes());
    for long in [headers.source, headers.destination] {
        put(&long.raw().to_ne_bytes());
    }
    for word in [headers.source_port, headers.destination_port] {
        put(&word.raw().to_ne_bytes());
    }
    for long in [headers.sequence, headers.acknowledgment] {
        put(&long.raw().to_ne_bytes());
    }
    put(&[headers.tcp_length, headers.flags]);
    for word in [headers.window, headers.checksum, headers.urgent] {
        put(&word.raw().to_ne_bytes());
    }
    bytes
}
