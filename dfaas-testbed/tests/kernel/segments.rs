//! What differs between the two sides of a connection: options, windows, and who has which part of a request.

use dfaas_common::meter::Limit;

use crate::{
    again::ask,
    bench::{Bench, Verdict},
    frame::{CLIENT_ISN, Segment, Sent},
    onward::{answer_of_peer, answer_of_stack},
    talk::{REQUEST, Talk},
};

const UPLOAD: &str = "POST /function/known HTTP/1.1\r\nContent-Length: 500000\r\n\r\n";

/// What makes a segment of a side with these options, a number of the other's bytes there, and the same here.
type Side<'a> = (&'a dyn Fn(Vec<u8>) -> Sent, u32, u32);

#[test]
fn selective_acknowledgments_name_bytes_in_the_numbers_of_who_sent_them() {
    let (mut bench, sent, seen) = ask(48_001, Limit::NONE, Limit::UNLIMITED);
    let greeting = answer_of_peer(&Segment::read(&seen.frame));
    let request = Segment::read(&bench.ingress(&greeting.bytes()).frame);
    let of_client = |options| Sent {
        sequence: sent.sequence + REQUEST.len() as u32,
        flags: "A",
        options,
        payload: Vec::new(),
        ..sent.clone()
    };
    // The stamp is no part of what the client has sent.
    let behind = request.tcp.sequence_number + request.payload.len() as u32;
    let of_peer = |options| Sent {
        sequence: greeting.sequence + 1,
        acknowledgment: behind,
        flags: "A",
        options,
        payload: Vec::new(),
        ..greeting.clone()
    };
    let both: [Side<'_>; 2] = [
        (&of_client, sent.acknowledgment, greeting.sequence + 1),
        (&of_peer, behind, sent.sequence + REQUEST.len() as u32),
    ];
    for (segment, theirs, others) in both {
        for count in 1..=4 {
            // At an even place and at an odd one, where each byte counts in the other half of the sum.
            for padding in [1, 2] {
                let options = |start: u32| {
                    let edges = (0..2 * count).map(|edge| start.wrapping_add(1_000 * (edge + 1)));
                    let mut options = vec![1; padding];
                    options.extend([5, 2 + 8 * count as u8]);
                    options.extend(edges.flat_map(u32::to_be_bytes));
                    options.resize(options.len().next_multiple_of(4), 0);
                    options
                };
                let seen = bench.ingress(&segment(options(theirs)).bytes());
                assert_eq!(seen.verdict, Verdict::Redirect);
                let segment = Segment::read(&seen.frame);
                assert_eq!(
                    segment.tcp.options.as_slice(),
                    options(others),
                    "{count} {padding}"
                );
            }
        }
    }
}

#[test]
fn a_server_is_told_the_options_of_its_client() {
    let cases: &[(&[u8], [u8; 12])] = &[
        (&[], [2, 4, 2, 24, 1, 1, 1, 1, 1, 1, 1, 1]),
        (&[2, 4, 4, 0], [2, 4, 4, 0, 1, 1, 1, 1, 1, 1, 1, 1]),
        (
            &[2, 4, 4, 0, 4, 2, 1, 3, 3, 9],
            [2, 4, 4, 0, 1, 1, 4, 2, 1, 3, 3, 9],
        ),
    ];
    let mut bench = Bench::new();
    bench.offer("known", Limit::NONE, Limit::UNLIMITED);
    for (port, (options, want)) in (48_002..).zip(cases) {
        let syn = Sent {
            options: options.to_vec(),
            ..Sent::syn(port)
        };
        let our_isn = Segment::read(&bench.ingress(&syn.bytes()).frame)
            .tcp
            .sequence_number;
        let request = Sent::data(port, our_isn.wrapping_add(1), REQUEST.as_bytes());
        let onward = Segment::read(&bench.ingress(&request.bytes()).frame);
        assert_eq!(onward.flags(), "S");
        assert_eq!(onward.tcp.options.as_slice(), want, "{options:?}");
    }
}

#[test]
fn windows_change_from_the_unit_of_the_server_to_the_one_promised() {
    // Ours is 128 bytes. The last server promises none.
    for (port, options, window, want, of_client) in [
        (48_011, vec![1, 3, 3, 10], 100, 800, 300),
        (48_012, vec![1, 3, 3, 5], 100, 25, 300),
        (48_013, vec![], 64_000, 500, 300 << 7),
    ] {
        let mut bench = Bench::new();
        bench.offer("known", Limit::UNLIMITED, Limit::NONE);
        let mut talk = Talk::open(&mut bench, port);
        talk.client_says(&mut bench, UPLOAD);
        talk.server_takes_with(&mut bench, &options);
        let answer = Sent {
            window,
            ..talk.server_sent("A", "")
        };
        let seen = bench.egress(&answer.bytes_to(talk.sent.source));
        let segment = Segment::read(&seen.frame);
        assert_eq!(segment.tcp.window_size, want, "{options:?}");
        // A client's is in the unit that it has told the server itself, unless the server takes none.
        for flags in ["AP", "A"] {
            let sent = Sent {
                window: 300,
                ..talk.client(flags, "body")
            };
            let seen = bench.ingress(&sent.bytes());
            assert_eq!(
                Segment::read(&seen.frame).tcp.window_size,
                of_client,
                "{options:?}"
            );
        }
    }
}

#[test]
fn a_greeting_sent_again_gets_the_request_again() {
    let (mut bench, sent, _) = ask(48_021, Limit::UNLIMITED, Limit::NONE);
    let greeting = answer_of_stack(&sent, 5_000, CLIENT_ISN + 1, "SA", b"");
    for number in 0..3 {
        let seen = bench.egress(&greeting);
        assert_eq!(seen.verdict, Verdict::Redirect, "{number}");
        assert_eq!(Segment::read(&seen.frame).text(), REQUEST, "{number}");
    }
    // It came meanwhile: only the handshake is to be ended.
    let greeting = answer_of_stack(&sent, 5_000, CLIENT_ISN + 1 + REQUEST.len() as u32, "SA", b"");
    let seen = Segment::read(&bench.egress(&greeting).frame);
    assert_eq!((seen.flags().as_str(), seen.text().as_str()), ("A", ""));
    let other = answer_of_stack(&sent, 6_000, CLIENT_ISN + 1, "SA", b"");
    assert_eq!(
        bench.egress(&other).verdict,
        Verdict::Drop,
        "of another connection"
    );
    assert_eq!(bench.events()["out_of_handshake"], 1);
}

#[test]
fn first_segments_may_come_in_any_order_and_twice() {
    let parts = [&REQUEST[..15], &REQUEST[15..30], &REQUEST[30..]];
    let orders: [&[usize]; 4] = [
        &[1, 2, 0, 1, 2],
        &[0, 2, 1, 2],
        &[0, 0, 1, 1, 2],
        &[2, 1, 0, 2, 1, 0, 2],
    ];
    let mut bench = Bench::new();
    bench.offer("known", Limit::UNLIMITED, Limit::NONE);
    for (port, order) in (48_031..).zip(orders) {
        let mut talk = Talk::open(&mut bench, port);
        let segments = parts.map(|part| talk.client("AP", part));
        let mut onward = Vec::new();
        for number in order {
            let seen = bench.ingress(&segments[*number].bytes());
            if seen.verdict == Verdict::Pass {
                onward.push(Segment::read(&seen.frame));
            }
        }
        assert_eq!(onward.len(), 1, "{order:?}");
        assert_eq!(onward[0].flags(), "S", "{order:?}");
        talk.sent = segments[0].clone();
        let seen = talk.server_takes(&mut bench);
        assert_eq!(Segment::read(&seen.frame).text(), REQUEST, "{order:?}");
    }
}
