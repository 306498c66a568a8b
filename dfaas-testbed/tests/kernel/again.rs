//! What a client sends again, and what only comes twice.

use dfaas_common::meter::Limit;

use crate::{
    bench::{Bench, Seen, Verdict},
    frame::{Segment, Sent},
    handshake::open,
    leaving::REQUEST,
    onward::answer_of_peer,
};

/// More than what comes sooner was doubled on its way.
const RETRANSMISSION_MS: u32 = 200;

#[test]
fn doubled_packets_leave_no_peer() {
    let (mut bench, sent, seen) = ask(45_001, Limit::NONE, Limit::UNLIMITED);
    let answer = answer_of_peer(&Segment::read(&seen.frame));
    bench.ingress(&answer.bytes());
    for number in 0..10 {
        let seen = bench.ingress(&sent.bytes());
        assert_eq!(seen.verdict, Verdict::Redirect, "{number}");
        assert!(Segment::read(&seen.frame).text().starts_with("GET "), "{number}");
    }
    for _ in 0..3 {
        assert_eq!(bench.events().get("upstream_silent"), None);
        bench.wait(&sent.key(), RETRANSMISSION_MS);
        bench.ingress(&sent.bytes());
        bench.ingress(&sent.bytes());
    }
    assert_eq!(bench.events()["upstream_silent"], 1);
}

#[test]
fn doubled_requests_leave_no_server_that_was_asked_just_now() {
    let (mut bench, sent, _) = ask(45_002, Limit::UNLIMITED, Limit::NONE);
    for round in 0..2 {
        for _ in 0..3 {
            let seen = bench.ingress(&sent.bytes());
            assert_eq!(seen.verdict, Verdict::Drop, "{round}");
        }
        assert_eq!(bench.events().get("decided_again"), None, "{round}");
        bench.wait(&sent.key(), RETRANSMISSION_MS);
        let seen = bench.ingress(&sent.bytes());
        assert_eq!(Segment::read(&seen.frame).flags(), "S", "{round}");
    }
    let events = bench.events();
    assert_eq!((events["upstream_retried"], events["decided_again"]), (1, 1));
}

/// A request that is the first one, and what was made of it.
fn ask(port: u16, local: Limit, cap: Limit) -> (Bench, Sent, Seen) {
    let mut bench = Bench::new();
    bench.offer("known", local, cap);
    let our_isn = open(&mut bench, port);
    let sent = Sent::data(port, our_isn.wrapping_add(1), REQUEST.as_bytes());
    let seen = bench.ingress(&sent.bytes());
    (bench, sent, seen)
}
