//! The handshake with the client, which the programs answer themselves.

use crate::{
    bench::{Bench, SEGMENT_SIZE, Verdict},
    frame::{CLIENT, CLIENT_ISN, CLIENT_MAC, LINUX_OPTIONS, NODE_MAC, Segment, Sent},
};

#[test]
fn a_syn_is_answered() {
    let mut bench = Bench::new();
    let sent = Sent::syn(40_001);
    let seen = bench.ingress(&sent.bytes());
    assert_eq!(seen.verdict, Verdict::Redirect);
    let answer = Segment::read(&seen.frame);
    assert_eq!(answer.flags(), "SA");
    assert_eq!(answer.ipv4.destination, CLIENT);
    assert_eq!(answer.macs, (NODE_MAC, CLIENT_MAC));
    assert_eq!(
        (answer.tcp.source_port, answer.tcp.destination_port),
        (80, 40_001)
    );
    assert_eq!(answer.tcp.acknowledgment_number, CLIENT_ISN + 1);
    assert_eq!(
        answer.tcp.window_size, SEGMENT_SIZE,
        "as much is to come as can be held"
    );
    let [high, low] = SEGMENT_SIZE.to_be_bytes();
    assert_eq!(
        answer.tcp.options.as_slice(),
        [2, 4, high, low, 1, 1, 4, 2, 1, 3, 3, 7]
    );
    assert_eq!(answer.payload, b"");
    assert_eq!(
        bench.opening(&sent.key()).unwrap().our_isn,
        answer.tcp.sequence_number
    );
    assert_eq!(bench.events()["opened"], 1);
}

#[test]
fn a_window_scale_is_offered_only_to_who_offers_one() {
    let mut bench = Bench::new();
    // Selective acknowledgments are permitted to who permits them, too.
    let cases: &[(&[u8], [u8; 8])] = &[
        (&[], [1, 1, 1, 1, 1, 1, 1, 1]),
        (&[2, 4, 5, 0xb4], [1, 1, 1, 1, 1, 1, 1, 1]),
        (&[1, 3, 3, 14], [1, 1, 1, 1, 1, 3, 3, 7]),
        (&[4, 2, 1, 1], [1, 1, 4, 2, 1, 1, 1, 1]),
        (&LINUX_OPTIONS, [1, 1, 4, 2, 1, 3, 3, 7]),
        // A length of zero ends the reading.
        (&[9, 0, 1, 1, 1, 3, 3, 7], [1, 1, 1, 1, 1, 1, 1, 1]),
    ];
    for (port, (options, want)) in (40_100..).zip(cases) {
        let sent = Sent {
            options: options.to_vec(),
            ..Sent::syn(port)
        };
        let seen = bench.ingress(&sent.bytes());
        let answer = Segment::read(&seen.frame);
        assert_eq!(answer.tcp.options.as_slice()[4..], *want, "{options:?}");
    }
}

#[test]
fn a_syn_sent_again_gets_the_same_answer() {
    let mut bench = Bench::new();
    let sent = Sent::syn(40_002);
    let first = Segment::read(&bench.ingress(&sent.bytes()).frame);
    let second = Segment::read(&bench.ingress(&sent.bytes()).frame);
    assert_eq!(first.tcp, second.tcp);
    let other = Sent { sequence: 77, ..sent };
    let third = Segment::read(&bench.ingress(&other.bytes()).frame);
    assert_eq!(third.tcp.acknowledgment_number, 78);
    assert_ne!(third.tcp.sequence_number, first.tcp.sequence_number);
}

#[test]
fn data_in_a_stranger_s_syn_is_not_taken() {
    let mut bench = Bench::new();
    let sent = Sent {
        payload: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        ..Sent::syn(40_003)
    };
    let answer = Segment::read(&bench.ingress(&sent.bytes()).frame);
    assert_eq!(answer.flags(), "SA");
    assert_eq!(
        answer.tcp.acknowledgment_number,
        CLIENT_ISN + 1,
        "the data is to come again"
    );
}

#[test]
fn the_acknowledgment_of_the_handshake_is_swallowed() {
    let mut bench = Bench::new();
    let our_isn = open(&mut bench, 40_004);
    let sent = Sent {
        flags: "A",
        ..Sent::data(40_004, our_isn.wrapping_add(1), b"")
    };
    assert_eq!(bench.ingress(&sent.bytes()).verdict, Verdict::Drop);
    assert!(
        bench.opening(&sent.key()).is_some(),
        "the connection is still there"
    );
    let before = bench.events().get("out_of_handshake").copied();
    assert_eq!(before, None);
}

#[test]
fn a_wrong_acknowledgment_is_dropped_and_counted() {
    let mut bench = Bench::new();
    let our_isn = open(&mut bench, 40_005);
    for wrong in [0, our_isn, our_isn.wrapping_add(2)] {
        let sent = Sent::data(40_005, wrong, b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(bench.ingress(&sent.bytes()).verdict, Verdict::Drop);
    }
    assert_eq!(bench.events()["out_of_handshake"], 3);
}

#[test]
fn a_reset_ends_an_opening() {
    let mut bench = Bench::new();
    let our_isn = open(&mut bench, 40_006);
    let sent = Sent {
        flags: "RA",
        ..Sent::data(40_006, our_isn.wrapping_add(1), b"")
    };
    assert_eq!(bench.ingress(&sent.bytes()).verdict, Verdict::Drop);
    assert!(bench.opening(&sent.key()).is_none());
}

#[test]
fn a_head_in_parts_is_held_until_it_is_whole() {
    let mut bench = Bench::new();
    let our_isn = open(&mut bench, 40_007);
    let whole = b"GET / HTTP/1.1\r\nHost: node\r\n\r\n";
    let (first, second) = whole.split_at(10);
    let part = Sent::data(40_007, our_isn.wrapping_add(1), first);
    let seen = bench.ingress(&part.bytes());
    assert_eq!(seen.verdict, Verdict::Redirect);
    let answer = Segment::read(&seen.frame);
    assert_eq!(
        (answer.flags().as_str(), answer.payload.len()),
        ("A", 0),
        "more is asked for"
    );
    assert_eq!(answer.tcp.acknowledgment_number, CLIENT_ISN + 1 + 10);
    // Our acknowledgment was lost: it is given again.
    let answer = Segment::read(&bench.ingress(&part.bytes()).frame);
    assert_eq!(answer.tcp.acknowledgment_number, CLIENT_ISN + 1 + 10);
    assert!(answer.tcp.window_size > 0);
    // Out of order: dropped, so that the client sends what is missing.
    let late = Sent {
        sequence: CLIENT_ISN + 1 + 12,
        ..Sent::data(40_007, our_isn.wrapping_add(1), b"x")
    };
    assert_eq!(bench.ingress(&late.bytes()).verdict, Verdict::Drop);
    let rest = Sent {
        sequence: CLIENT_ISN + 1 + 10,
        ..Sent::data(40_007, our_isn.wrapping_add(1), second)
    };
    let seen = bench.ingress(&rest.bytes());
    let answer = Segment::read(&seen.frame);
    assert!(answer.text().starts_with("HTTP/1.1 200 "), "{}", answer.text());
}

/// Sends a SYN and returns the number of the answer.
pub(crate) fn open(bench: &mut Bench, port: u16) -> u32 {
    let seen = bench.ingress(&Sent::syn(port).bytes());
    Segment::read(&seen.frame).tcp.sequence_number
}
