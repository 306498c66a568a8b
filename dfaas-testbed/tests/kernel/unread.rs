//! Packets that the programs do not read do not get around them: they are refused, and counted.

use std::collections::BTreeMap;

use dfaas_common::{
    maps::{PROXY, PROXY_IPV6},
    meter::Limit,
};
use etherparse::PacketBuilder;

use crate::{
    bench::{Bench, NODE_IPV6, PEER_IPV6, PORT, Verdict},
    frame::{CLIENT_MAC, NODE_MAC, Sent},
    talk::{REQUEST, Talk},
};

const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
const TCP: u8 = 6;

/// What it is called, and what becomes of a frame.
type Way = (&'static str, fn(&[u8]) -> Vec<u8>);

/// The ways in which a client can hide a segment from who reads plain headers only.
const WAYS: [Way; 4] = [
    ("IP options", |frame| with_options(frame, 1)),
    ("as many as there can be", |frame| with_options(frame, 10)),
    ("a first fragment", |frame| with(frame, 20, &[0x20, 0])),
    ("a bit that nobody may set", |frame| with(frame, 20, &[0x80, 0])),
];

#[test]
fn a_decided_connection_takes_nothing_unread() {
    for flags in [0, PROXY | PROXY_IPV6] {
        let mut bench = Bench::with_flags(flags);
        bench.offer("known", Limit::UNLIMITED, Limit::NONE);
        let mut talk = Talk::open(&mut bench, 42_000);
        talk.client_says(&mut bench, REQUEST);
        talk.server_takes(&mut bench);
        let next = talk.client("AP", REQUEST).bytes();
        let before = count(&mut bench, "unread");
        for (number, (what, hide)) in WAYS.iter().enumerate() {
            let frame = hide(&next);
            assert_eq!(bench.ingress(&frame).verdict, Verdict::Drop, "{what} {flags}");
            assert_eq!(count(&mut bench, "unread"), before + number as u64 + 1, "{what}");
        }
        // Nor does another handshake under its addresses.
        let again = with_options(&Sent::syn(42_000).bytes(), 1);
        assert_eq!(bench.ingress(&again).verdict, Verdict::Drop);
    }
}

#[test]
fn without_a_proxy_only_syns_reach_the_stack_unread() {
    for (flags, data) in [(0, Verdict::Drop), (PROXY, Verdict::Pass)] {
        let mut bench = Bench::with_flags(flags);
        for (what, hide) in WAYS {
            let frame = hide(&Sent::syn(42_100).bytes());
            let seen = bench.ingress(&frame);
            assert_eq!((seen.verdict, seen.frame), (Verdict::Pass, frame), "{what}");
            let frame = hide(&Sent::data(42_101, 7, REQUEST.as_bytes()).bytes());
            assert_eq!(bench.ingress(&frame).verdict, data, "{what} {flags}");
        }
    }
}

#[test]
fn a_short_fragment_has_ports_too() {
    let mut bench = Bench::new();
    let mut frame = with(&Sent::data(42_200, 7, REQUEST.as_bytes()).bytes(), 20, &[0x20, 0]);
    frame.truncate(14 + 20 + 8);
    frame[16..18].copy_from_slice(&28_u16.to_be_bytes());
    assert_eq!(bench.ingress(&frame).verdict, Verdict::Drop);
    assert_eq!(count(&mut bench, "unread"), 1);
}

#[test]
fn other_peoples_packets_may_have_options() {
    let mut bench = Bench::new();
    let elsewhere = Sent {
        destination_port: 22,
        ..Sent::data(42_300, 7, b"x")
    };
    let mut foreign = Sent::data(42_301, 7, b"x").bytes();
    foreign[33] = 99;
    for frame in [elsewhere.bytes(), foreign] {
        for (what, hide) in WAYS {
            let frame = hide(&frame);
            for program in ["ingress", "egress"] {
                let seen = bench.try_run(program, &frame).unwrap();
                assert_eq!((seen.verdict, &seen.frame), (Verdict::Pass, &frame), "{what}");
            }
        }
    }
    let later = with(&Sent::data(42_302, 7, b"x").bytes(), 20, &[0, 1]);
    assert_eq!(bench.ingress(&later).verdict, Verdict::Pass);
    assert_eq!(bench.events(), BTreeMap::new());
}

#[test]
fn extension_headers_hide_nothing() {
    let mut bench = Bench::new();
    let cases: [(&str, Vec<u8>, Verdict); 8] = [
        ("none", ipv6(TCP, &[], PORT), Verdict::Pass),
        (
            "destination options",
            ipv6(DESTINATION_OPTIONS, &extension(TCP), PORT),
            Verdict::Drop,
        ),
        (
            "another port",
            ipv6(DESTINATION_OPTIONS, &extension(TCP), 22),
            Verdict::Pass,
        ),
        (
            "two of them",
            ipv6(
                HOP_BY_HOP,
                &[extension(DESTINATION_OPTIONS), extension(TCP)].concat(),
                PORT,
            ),
            Verdict::Drop,
        ),
        (
            "a first fragment",
            ipv6(FRAGMENT, &fragment(TCP, 0), PORT),
            Verdict::Drop,
        ),
        (
            "a later fragment",
            ipv6(FRAGMENT, &fragment(TCP, 100), PORT),
            Verdict::Pass,
        ),
        (
            "more than anybody needs",
            ipv6(
                DESTINATION_OPTIONS,
                &[extension(DESTINATION_OPTIONS).repeat(11), extension(TCP)].concat(),
                PORT,
            ),
            Verdict::Drop,
        ),
        (
            "UDP",
            ipv6(DESTINATION_OPTIONS, &extension(17), PORT),
            Verdict::Pass,
        ),
    ];
    let mut dropped = 0;
    for (what, frame, want) in cases {
        let seen = bench.ingress(&frame);
        assert_eq!(seen.verdict, want, "{what}");
        dropped += u64::from(want == Verdict::Drop);
        assert_eq!(count(&mut bench, "unread"), dropped, "{what}");
        if want == Verdict::Pass {
            assert_eq!(seen.frame, frame, "{what}");
        }
    }
    // A fragment whose chain goes on in the next one.
    let mut cut = ipv6(
        FRAGMENT,
        &[fragment(DESTINATION_OPTIONS, 0), extension(TCP)].concat(),
        PORT,
    );
    cut.truncate(14 + 40 + 8);
    cut[18..20].copy_from_slice(&8_u16.to_be_bytes());
    assert_eq!(bench.ingress(&cut).verdict, Verdict::Drop);
}

fn count(bench: &mut Bench, event: &str) -> u64 {
    bench.events().get(event).copied().unwrap_or_default()
}

/// The frame with so many words of options that do nothing.
fn with_options(frame: &[u8], words: u8) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[14] = 0x45 + words;
    let options = vec![1; usize::from(words) * 4];
    frame.splice(34..34, options);
    let total = u16::try_from(frame.len() - 14).unwrap();
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame
}

fn with(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// An extension header of padding.
fn extension(next: u8) -> Vec<u8> {
    vec![next, 0, 1, 4, 0, 0, 0, 0]
}

/// A fragment header (RFC 8200, section 4.5) of a packet that goes on; the offset is in units of eight bytes.
fn fragment(next: u8, offset: u16) -> Vec<u8> {
    let [high, low] = (offset << 3 | 1).to_be_bytes();
    vec![next, 0, high, low, 0, 0, 0, 7]
}

/// A segment of a connection that nobody knows, behind these extension headers.
fn ipv6(next: u8, extensions: &[u8], port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(CLIENT_MAC, NODE_MAC)
        .ipv6(PEER_IPV6, NODE_IPV6, 64)
        .tcp(42_400, port, 7, 1_000)
        .ack(9)
        .write(&mut frame, REQUEST.as_bytes())
        .unwrap();
    frame[20] = next;
    frame.splice(54..54, extensions.iter().copied());
    let length = u16::try_from(frame.len() - 54).unwrap();
    frame[18..20].copy_from_slice(&length.to_be_bytes());
    frame
}
