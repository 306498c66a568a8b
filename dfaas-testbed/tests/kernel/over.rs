//! Connections that end behind an answer: nothing follows one that said so, or that had more bytes than it may.

use dfaas_common::{maps::Phase, meter::Limit};

use crate::{
    again::ask,
    bench::{Bench, NODE, Verdict},
    frame::{CLIENT, Segment, Sent},
    onward::answer_of_peer,
    talk::{REQUEST, RESPONSE, Talk},
};

const HEAD: &str = "HEAD /function/known HTTP/1.1\r\nHost: n\r\n\r\n";
const HEAD_RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
const BODY: &str = "ok\n";
const LAST_RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

#[test]
fn a_body_in_the_segment_of_a_head_ends_the_connection() {
    let (mut bench, mut talk) = Talk::asked(47_001, HEAD);
    let seen = talk.server_says(&mut bench, &format!("{HEAD_RESPONSE}{BODY}"));
    assert_eq!(seen.verdict, Verdict::Pass, "its client may be who reads it");
    let seen = bench.ingress(&talk.client("A", "").bytes());
    be_ended(&mut bench, &mut talk, &seen.frame);
}

#[test]
fn a_body_behind_the_segment_of_a_head_is_not_passed() {
    for is_acknowledged in [false, true] {
        let (mut bench, mut talk) = Talk::asked(47_002, HEAD);
        talk.server_says(&mut bench, HEAD_RESPONSE);
        if is_acknowledged {
            bench.ingress(&talk.client("A", "").bytes());
        }
        let seen = bench.egress(&talk.server("AP", BODY));
        if !is_acknowledged {
            assert_eq!(seen.verdict, Verdict::Drop);
            let seen = bench.ingress(&talk.client("A", "").bytes());
            be_ended(&mut bench, &mut talk, &seen.frame);
            continue;
        }
        assert_eq!(seen.verdict, Verdict::Pass);
        let end = Segment::read(&seen.frame);
        assert_eq!((end.ipv4.source, end.ipv4.destination), (NODE, CLIENT));
        be_ended(&mut bench, &mut talk, &seen.frame);
    }
}

#[test]
fn a_request_behind_such_a_body_is_not_served() {
    let (mut bench, mut talk) = Talk::asked(47_003, HEAD);
    talk.server_says(&mut bench, &format!("{HEAD_RESPONSE}{BODY}"));
    // It acknowledges all of it, too.
    let seen = bench.ingress(&talk.client("AP", REQUEST).bytes());
    be_ended(&mut bench, &mut talk, &seen.frame);
    assert_eq!(bench.events().get("asked_again"), None);
}

#[test]
fn what_a_peer_sends_behind_a_head_ends_the_connection() {
    let (mut bench, sent, seen) = ask(47_004, Limit::NONE, Limit::UNLIMITED);
    let greeting = answer_of_peer(&Segment::read(&seen.frame));
    let request = Segment::read(&bench.ingress(&greeting.bytes()).frame);
    let of_peer = |sequence, payload: &str| Sent {
        sequence,
        acknowledgment: request.tcp.sequence_number + request.payload.len() as u32,
        flags: "AP",
        options: Vec::new(),
        payload: payload.into(),
        ..greeting.clone()
    };
    let first = greeting.sequence + 1;
    bench.ingress(&of_peer(first, RESPONSE).bytes());
    let next = sent.sequence + REQUEST.len() as u32;
    let behind = sent.acknowledgment + RESPONSE.len() as u32;
    let acknowledgment = Sent {
        sequence: next,
        acknowledgment: behind,
        flags: "A",
        payload: Vec::new(),
        ..sent.clone()
    };
    bench.ingress(&acknowledgment.bytes());
    let seen = bench.ingress(&of_peer(first + RESPONSE.len() as u32, BODY).bytes());
    assert_eq!(seen.verdict, Verdict::Redirect);
    let end = Segment::read(&seen.frame);
    assert_eq!((end.flags().as_str(), end.text().as_str()), ("AF", ""));
    assert_eq!(
        (end.tcp.sequence_number, end.tcp.acknowledgment_number),
        (behind, next)
    );
    assert_eq!((end.ipv4.source, end.ipv4.destination), (NODE, CLIENT));
    assert!(bench.upstream(&greeting.key()).is_none());
}

#[test]
fn nothing_follows_an_answer_that_said_close() {
    let (mut bench, mut talk) = Talk::asked(47_005, &REQUEST.repeat(3));
    talk.server_says(&mut bench, LAST_RESPONSE);
    let seen = bench.ingress(&talk.client("A", "").bytes());
    be_ended(&mut bench, &mut talk, &seen.frame);
    assert_eq!(bench.events().get("ahead_asked"), None);
}

#[test]
fn who_has_heard_of_the_end_may_have_sent_ahead() {
    let (mut bench, mut talk) = Talk::asked(47_006, &REQUEST.repeat(3));
    talk.server_says(&mut bench, LAST_RESPONSE);
    let seen = bench.egress(&talk.server("FA", ""));
    assert_eq!(Segment::read(&seen.frame).flags(), "AF", "it is told");
    talk.our_next += 1;
    let seen = bench.ingress(&talk.client("A", "").bytes());
    let answer = Segment::read(&seen.frame);
    assert_eq!(
        (answer.flags().as_str(), answer.tcp.sequence_number),
        ("A", talk.our_next)
    );
    assert_eq!(answer.tcp.acknowledgment_number, talk.client_next);
    let last = Segment::read(&bench.ingress(&talk.client("FA", "").bytes()).frame);
    assert_eq!(last.tcp.acknowledgment_number, talk.client_next + 1);
    assert!(bench.client(&talk.sent.key()).is_none());
}

#[test]
fn an_old_server_that_keeps_the_connection_is_asked_again() {
    let kept = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n";
    let (mut bench, mut talk) = Talk::asked(47_007, REQUEST);
    talk.server_says(&mut bench, kept);
    let seen = bench.ingress(&talk.client("AP", REQUEST).bytes());
    assert_eq!(Segment::read(&seen.frame).text(), REQUEST);
}

/// The client's packet has become our end; it may not hear of it at first, sends more, and closes.
#[track_caller]
fn be_ended(bench: &mut Bench, talk: &mut Talk, frame: &[u8]) {
    let key = talk.sent.key();
    let check = |frame: &[u8], flags: &str, our_next: u32, client_next: u32| {
        let end = Segment::read(frame);
        assert_eq!((end.flags().as_str(), end.text().as_str()), (flags, ""));
        assert_eq!(end.tcp.sequence_number, our_next);
        assert_eq!(end.tcp.acknowledgment_number, client_next);
    };
    check(frame, "AF", talk.our_next, talk.client_next);
    assert!(bench.upstream(&key).is_none());
    assert_eq!(bench.client(&key).unwrap().phase(), Phase::Asking);

    let again = bench.ingress(&talk.client("AP", "more").bytes());
    check(&again.frame, "AF", talk.our_next, talk.client_next);
    talk.our_next = talk.our_next.wrapping_add(1);
    assert_eq!(
        bench.ingress(&talk.client("A", "").bytes()).verdict,
        Verdict::Drop
    );
    let more = bench.ingress(&talk.client("AP", REQUEST).bytes());
    check(&more.frame, "A", talk.our_next, talk.client_next);
    let last = bench.ingress(&talk.client("FA", "").bytes());
    check(&last.frame, "A", talk.our_next, talk.client_next + 1);
    assert!(bench.client(&key).is_none() && bench.opening(&key).is_none());
    assert_eq!(bench.events()["ended"], 1);
}
