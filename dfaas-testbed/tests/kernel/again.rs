//! What a client sends again, and what only comes twice.

use dfaas_common::{
    decide::Answer,
    maps::{PROXY, Phase},
    meter::Limit,
};

use crate::{
    bench::{Bench, Seen, Verdict},
    frame::{CLIENT_ISN, Segment, Sent},
    handshake::open,
    leaving::answered,
    onward::answer_of_peer,
    talk::REQUEST,
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

#[test]
fn a_request_in_parts_that_no_server_takes_is_answered() {
    let mut bench = Bench::new();
    bench.offer("known", Limit::UNLIMITED, Limit::NONE);
    let our_isn = open(&mut bench, 45_003);
    let (first, rest) = REQUEST.split_at(10);
    let first = Sent::data(45_003, our_isn.wrapping_add(1), first.as_bytes());
    bench.ingress(&first.bytes());
    let rest = Sent {
        sequence: CLIENT_ISN + 11,
        payload: rest.into(),
        ..first
    };
    // It is decided again, as one that came as a whole.
    let answer = Answer::Unavailable.kept_response().concat();
    be_answered(&mut bench, &rest, 4, &answer);
    assert_eq!(bench.events()["decided_again"], 4);
}

#[test]
fn a_request_that_the_proxy_does_not_take_is_answered() {
    let mut bench = Bench::with_flags(PROXY);
    bench.offer("known", Limit::UNLIMITED, Limit::NONE);
    let our_isn = open(&mut bench, 45_004);
    let request = b"POST /function/known HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    be_answered(
        &mut bench,
        &Sent::data(45_004, our_isn.wrapping_add(1), request),
        5,
        Answer::Unavailable.response(),
    );
}

#[test]
fn who_has_closed_is_told_of_our_end_again() {
    let mut bench = Bench::new();
    let our_isn = open(&mut bench, 45_005);
    let end = Sent {
        flags: "FA",
        ..Sent::data(45_005, our_isn.wrapping_add(1), b"")
    };
    be_told_twice(&mut bench, &end);
}

#[test]
fn who_has_closed_behind_an_answer_is_told_of_our_end_again() {
    let (mut bench, mut talk) = answered(45_006, REQUEST);
    bench.ingress(&talk.client("A", "").bytes());
    bench.egress(&talk.server("FA", ""));
    be_told_twice(&mut bench, &talk.client("FA", ""));
    assert!(bench.client(&talk.sent.key()).is_none());
}

#[test]
fn a_new_connection_may_follow_one_that_was_closed() {
    let mut bench = Bench::new();
    let our_isn = open(&mut bench, 45_007);
    let end = Sent {
        flags: "FA",
        ..Sent::data(45_007, our_isn.wrapping_add(1), b"")
    };
    bench.ingress(&end.bytes());
    assert_ne!(open(&mut bench, 45_007), our_isn);
    let request = Sent::data(45_007, our_isn.wrapping_add(1), b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(bench.ingress(&request.bytes()).verdict, Verdict::Drop);
}

#[test]
fn an_end_keeps_nobody_waiting() {
    let (mut bench, sent, _) = ask(45_008, Limit::UNLIMITED, Limit::NONE);
    let end = Sent {
        sequence: CLIENT_ISN + 1 + REQUEST.len() as u32,
        flags: "FA",
        payload: Vec::new(),
        ..sent.clone()
    };
    let last_seen = |bench: &mut Bench| bench.client(&sent.key()).unwrap().last_seen;
    bench.tick(5);
    assert_eq!(bench.ingress(&end.bytes()).verdict, Verdict::Drop);
    assert_eq!(last_seen(&mut bench), 0);
    bench.ingress(&sent.bytes());
    assert_eq!(last_seen(&mut bench), 5);
}

/// A request that is the first one, and what was made of it.
pub(crate) fn ask(port: u16, local: Limit, cap: Limit) -> (Bench, Sent, Seen) {
    let mut bench = Bench::new();
    bench.offer("known", local, cap);
    let our_isn = open(&mut bench, port);
    let sent = Sent::data(port, our_isn.wrapping_add(1), REQUEST.as_bytes());
    let seen = bench.ingress(&sent.bytes());
    (bench, sent, seen)
}

/// Sends a request until its client is told, after so many more SYNs, that no server answers.
#[track_caller]
fn be_answered(bench: &mut Bench, sent: &Sent, syns: u32, want: &str) {
    bench.ingress(&sent.bytes());
    for number in 0..syns {
        assert_eq!(bench.client(&sent.key()).unwrap().phase(), Phase::Connecting);
        bench.wait(&sent.key(), RETRANSMISSION_MS);
        let seen = bench.ingress(&sent.bytes());
        assert_eq!(Segment::read(&seen.frame).flags(), "S", "{number}");
        assert_eq!(bench.ingress(&sent.bytes()).verdict, Verdict::Drop, "{number}");
    }
    bench.wait(&sent.key(), RETRANSMISSION_MS);
    let answer = Segment::read(&bench.ingress(&sent.bytes()).frame);
    assert_eq!(answer.text(), want);
    assert_eq!(bench.events()["upstream_failed"], 1);
    assert!(bench.upstream(&sent.key()).is_none());
}

/// A client that has closed, does not hear of our end at first, and then does.
#[track_caller]
fn be_told_twice(bench: &mut Bench, end: &Sent) {
    for number in 0..2 {
        let seen = bench.ingress(&end.bytes());
        assert_eq!(seen.verdict, Verdict::Redirect, "{number}");
        let answer = Segment::read(&seen.frame);
        assert_eq!(answer.flags(), "AF", "{number}");
        assert_eq!(answer.tcp.sequence_number, end.acknowledgment, "{number}");
        assert_eq!(answer.tcp.acknowledgment_number, end.sequence + 1, "{number}");
        let early = Sent {
            flags: "A",
            ..end.clone()
        };
        assert_eq!(bench.ingress(&early.bytes()).verdict, Verdict::Drop, "{number}");
    }
    let last = Sent {
        sequence: end.sequence + 1,
        acknowledgment: end.acknowledgment.wrapping_add(1),
        flags: "A",
        ..end.clone()
    };
    assert_eq!(bench.ingress(&last.bytes()).verdict, Verdict::Drop);
    assert!(bench.opening(&end.key()).is_none());
    assert_eq!(bench.events()["closed"], 1);
}
