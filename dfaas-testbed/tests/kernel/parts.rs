//! Heads that came in parts: what was acknowledged to their clients reaches a server, or the clients hear of it.

use dfaas_common::{decide::Answer, maps::Held, meter::Limit};

use crate::{
    bench::{Bench, STAMP, Verdict},
    frame::{Segment, Sent},
    onward::answer_of_peer,
    talk::{REQUEST, RESPONSE, Talk},
};

/// Where the head is cut: before the place of the stamp, and behind it.
const CUTS: [usize; 2] = [10, 32];
const RETRANSMISSION_MS: u32 = 200;

#[test]
fn a_lost_replay_to_a_new_peer_is_made_again() {
    for cut in CUTS {
        let mut bench = bench(Limit::NONE, Limit::UNLIMITED);
        let (talk, syn) = asked(&mut bench, 50_001, cut);
        let greeting = answer_of_peer(&syn);
        let replay = Segment::read(&bench.ingress(&greeting.bytes()).frame);
        assert_eq!(replay.text(), stamped());
        // It is lost, and the client sends again what it has no acknowledgment for.
        for number in 0..2 {
            let again = Segment::read(&bench.ingress(&talk.client_again().bytes()).frame);
            assert_eq!(again.text(), stamped(), "{cut} {number}");
            assert_eq!(again.tcp.sequence_number, replay.tcp.sequence_number);
            assert_eq!(again.tcp.acknowledgment_number, replay.tcp.acknowledgment_number);
            assert_eq!(again.tcp.destination_port, 80);
        }
    }
}

#[test]
fn a_lost_request_to_a_kept_peer_is_made_again() {
    for cut in CUTS {
        let mut bench = bench(Limit::NONE, Limit::UNLIMITED);
        let mut talk = Talk::open(&mut bench, 50_002);
        let peer = answered_by_peer(&mut bench, &mut talk);
        talk.client_says(&mut bench, &REQUEST[..cut]);
        let seen = talk.client_says(&mut bench, &REQUEST[cut..]);
        let onward = Segment::read(&seen.frame);
        assert_eq!(onward.text(), stamped(), "{cut}: to the peer of the last request");
        assert_eq!(onward.tcp.source_port, peer.destination_port);
        let again = Segment::read(&bench.ingress(&talk.client_again().bytes()).frame);
        assert_eq!(again.text(), stamped(), "{cut}");
        assert_eq!(again.tcp.sequence_number, onward.tcp.sequence_number);
        assert_eq!(again.tcp.acknowledgment_number, onward.tcp.acknowledgment_number);
    }
}

#[test]
fn a_lost_request_with_the_next_one_behind_it_is_made_again() {
    for cut in CUTS {
        let mut bench = bench(Limit::NONE, Limit::UNLIMITED);
        let mut talk = Talk::open(&mut bench, 50_007);
        let peer = answered_by_peer(&mut bench, &mut talk);
        talk.client_says(&mut bench, &REQUEST[..cut]);
        let both = format!("{}{}", &REQUEST[cut..], &REQUEST[..20]);
        let onward = Segment::read(&talk.client_says(&mut bench, &both).frame);
        assert_eq!(onward.text(), stamped(), "{cut}: the first one alone");
        assert_eq!(onward.tcp.source_port, peer.destination_port);
        for number in 0..2 {
            let again = Segment::read(&bench.ingress(&talk.client_again().bytes()).frame);
            assert_eq!(again.text(), stamped(), "{cut} {number}");
            assert_eq!(again.tcp.sequence_number, onward.tcp.sequence_number);
        }
        // The peer stays silent.
        for _ in 0..2 {
            bench.wait(&talk.sent.key(), RETRANSMISSION_MS);
            let again = Segment::read(&bench.ingress(&talk.client_again().bytes()).frame);
            assert_eq!(again.text(), stamped(), "{cut}");
        }
        bench.wait(&talk.sent.key(), RETRANSMISSION_MS);
        let reset = Segment::read(&bench.ingress(&talk.client_again().bytes()).frame);
        assert!(reset.tcp.rst, "{cut}: the peer is told");
        assert_eq!(bench.events()["upstream_silent"], 1);
    }
}

#[test]
fn a_lost_replay_to_the_stack_is_made_again() {
    let mut bench = bench(Limit::UNLIMITED, Limit::NONE);
    let mut talk = Talk::open(&mut bench, 50_003);
    let first = talk.client_says(&mut bench, &REQUEST[..10]);
    assert_eq!(first.verdict, Verdict::Redirect, "acknowledged");
    talk.client_says(&mut bench, &REQUEST[10..]);
    let replay = Segment::read(&talk.server_takes_from(&mut bench, 10).frame);
    assert_eq!(replay.text(), REQUEST);
    let seen = bench.ingress(&talk.client_again().bytes());
    assert_eq!(seen.verdict, Verdict::Pass);
    let again = Segment::read(&seen.frame);
    assert_eq!(again.text(), REQUEST);
    assert_eq!(again.tcp.sequence_number, replay.tcp.sequence_number);
    assert_eq!(again.tcp.acknowledgment_number, replay.tcp.acknowledgment_number);
}

#[test]
fn a_peer_that_keeps_silent_about_parts_is_left() {
    for cut in CUTS {
        let mut bench = bench(Limit::NONE, Limit::UNLIMITED);
        let (talk, syn) = asked(&mut bench, 50_004, cut);
        bench.ingress(&answer_of_peer(&syn).bytes());
        let mut last = None;
        for _ in 0..3 {
            bench.wait(&talk.sent.key(), RETRANSMISSION_MS);
            last = Some(bench.ingress(&talk.client_again().bytes()));
        }
        let reset = Segment::read(&last.unwrap().frame);
        assert!(reset.tcp.rst, "{cut}: the peer is told");
        assert_eq!(bench.events()["upstream_silent"], 1);
        let syn = Segment::read(&bench.ingress(&talk.client_again().bytes()).frame);
        assert_eq!(syn.flags(), "S", "{cut}: decided again");
        let replay = Segment::read(&bench.ingress(&answer_of_peer(&syn).bytes()).frame);
        assert_eq!(replay.text(), stamped(), "{cut}: stamped once");
    }
}

#[test]
fn a_server_that_is_not_there_is_left_with_parts_too() {
    let mut bench = bench(Limit::NONE, Limit::UNLIMITED);
    let (talk, first) = asked(&mut bench, 50_005, 32);
    for _ in 0..2 {
        bench.wait(&talk.sent.key(), RETRANSMISSION_MS);
        let seen = bench.ingress(&talk.client_again().bytes());
        let syn = Segment::read(&seen.frame);
        assert_eq!(syn.flags(), "S");
        if syn.tcp.source_port != first.tcp.source_port {
            let replay = Segment::read(&bench.ingress(&answer_of_peer(&syn).bytes()).frame);
            assert_eq!(replay.text(), stamped());
            return;
        }
    }
    panic!("the request was not decided again");
}

#[test]
fn a_client_whose_first_part_is_gone_is_told() {
    let mut bench = bench(Limit::NONE, Limit::UNLIMITED);
    let (talk, syn) = asked(&mut bench, 50_006, 32);
    bench.ingress(&answer_of_peer(&syn).bytes());
    let key = talk.sent.key();
    bench.remove::<Held>("HELD", &key);
    let seen = bench.ingress(&talk.client_again().bytes());
    let answer = Segment::read(&seen.frame);
    assert_eq!(answer.text(), Answer::Unavailable.response());
    assert_eq!(answer.tcp.sequence_number, talk.our_next);
    assert_eq!(answer.tcp.acknowledgment_number, talk.client_next);
}

#[test]
fn a_head_that_does_not_fit_with_the_stamp_is_not_cut() {
    for (length, want) in [(1_280, "S"), (1_281, "HTTP/1.1 431 "), (1_304, "HTTP/1.1 431 ")] {
        let mut bench = bench(Limit::NONE, Limit::UNLIMITED);
        let mut talk = Talk::open(&mut bench, 50_007);
        let fill = "x".repeat(length - REQUEST.len() - 5);
        let head = REQUEST.replacen("\r\n\r\n", &format!("\r\nX: {fill}\r\n\r\n"), 1);
        assert_eq!(head.len(), length);
        talk.client_says(&mut bench, &head[..536]);
        let seen = Segment::read(&talk.client_says(&mut bench, &head[536..]).frame);
        assert!(
            seen.flags() == want || seen.text().starts_with(want),
            "{length}: {} {}",
            seen.flags(),
            seen.text()
        );
    }
}

fn bench(local: Limit, cap: Limit) -> Bench {
    let mut bench = Bench::new();
    bench.offer("known", local, cap);
    bench
}

fn stamped() -> String {
    REQUEST.replacen("HTTP/1.1\r\n", &format!("HTTP/1.1\r\n{STAMP}"), 1)
}

/// A client that has sent its head in two parts, and the SYN to its server.
fn asked(bench: &mut Bench, port: u16, cut: usize) -> (Talk, Segment) {
    let mut talk = Talk::open(bench, port);
    let first = talk.client_says(bench, &REQUEST[..cut]);
    assert_eq!(first.verdict, Verdict::Redirect, "acknowledged");
    let syn = Segment::read(&talk.client_says(bench, &REQUEST[cut..]).frame);
    assert_eq!(syn.flags(), "S");
    (talk, syn)
}

/// A client whose first request a peer has answered, and a segment of that peer.
fn answered_by_peer(bench: &mut Bench, talk: &mut Talk) -> Sent {
    let syn = Segment::read(&talk.client_says(bench, REQUEST).frame);
    let greeting = answer_of_peer(&syn);
    let request = Segment::read(&bench.ingress(&greeting.bytes()).frame);
    let response = Sent {
        sequence: greeting.sequence + 1,
        acknowledgment: request.tcp.sequence_number + request.payload.len() as u32,
        flags: "AP",
        options: Vec::new(),
        payload: RESPONSE.into(),
        ..greeting
    };
    bench.ingress(&response.bytes());
    talk.our_next = talk.our_next.wrapping_add(RESPONSE.len() as u32);
    bench.ingress(&talk.client("A", "").bytes());
    response
}
