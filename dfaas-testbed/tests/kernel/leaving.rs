//! Servers that close a connection which their client wants to use again.

use dfaas_common::{
    maps::{IS_LOCAL, Phase},
    meter::Limit,
};

use crate::{
    again::ask,
    bench::{Bench, PEER, Verdict},
    frame::{Segment, Sent},
    onward::answer_of_peer,
    talk::{REQUEST, RESPONSE, Talk},
};

const LAST_REQUEST: &str = "GET /function/known HTTP/1.1\r\nConnection: close\r\n\r\n";
const LAST_RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

#[test]
fn a_client_that_has_its_answer_does_not_notice() {
    let (mut bench, mut talk) = answered(44_001, REQUEST);
    bench.ingress(&talk.client("A", "").bytes());
    let seen = bench.egress(&talk.server("FA", ""));
    assert_eq!(seen.verdict, Verdict::Redirect, "the server is answered");
    let reset = Segment::read(&seen.frame);
    assert_eq!(reset.flags(), "AR");
    assert_eq!(reset.tcp.sequence_number, talk.client_next);
    let client = bench.client(&talk.sent.key()).unwrap();
    assert_eq!(client.phase(), Phase::Asking);
    assert!(bench.upstream(&talk.sent.key()).is_none());

    let before = talk.client_next;
    let seen = bench.ingress(&talk.client("AP", REQUEST).bytes());
    let syn = Segment::read(&seen.frame);
    assert_eq!((seen.verdict, syn.flags().as_str()), (Verdict::Pass, "S"));
    assert_eq!(syn.tcp.sequence_number, before - 1);
    assert!(bench.client(&talk.sent.key()).unwrap().is(IS_LOCAL));
    assert_eq!(bench.events()["upstream_left"], 1);
}

#[test]
fn a_server_that_may_have_to_send_again_goes_later() {
    let (mut bench, mut talk) = answered(44_002, REQUEST);
    let end = talk.server("FA", "");
    assert_eq!(bench.egress(&end).verdict, Verdict::Drop);
    assert_eq!(bench.client(&talk.sent.key()).unwrap().phase(), Phase::Spliced);
    bench.ingress(&talk.client("A", "").bytes());
    let seen = bench.egress(&end);
    assert_eq!(seen.verdict, Verdict::Redirect, "the server is answered");
    assert_eq!(bench.client(&talk.sent.key()).unwrap().phase(), Phase::Asking);
}

#[test]
fn a_request_behind_an_end_that_nobody_was_told_of_goes_to_a_new_server_at_once() {
    let (mut bench, mut talk) = answered(44_006, REQUEST);
    bench.egress(&talk.server("FA", ""));
    // It acknowledges the whole answer too.
    let start = talk.client_next;
    let seen = bench.ingress(&talk.client("AP", REQUEST).bytes());
    assert_eq!(
        seen.verdict,
        Verdict::Redirect,
        "behind the reset of the old server"
    );
    let syn = Segment::read(&seen.frame);
    assert_eq!((syn.flags().as_str(), syn.tcp.sequence_number), ("S", start - 1));
    assert_eq!(bench.client(&talk.sent.key()).unwrap().phase(), Phase::Connecting);
    let events = bench.events();
    assert_eq!(
        (events["upstream_dropped"], events.get("decided_again")),
        (1, None)
    );
}

#[test]
fn a_request_that_was_sent_ahead_goes_to_a_new_server_at_once() {
    let (mut bench, mut talk) = Talk::asked(44_008, &REQUEST.repeat(2));
    talk.server_says(&mut bench, RESPONSE);
    bench.egress(&talk.server("FA", ""));
    let seen = bench.ingress(&talk.client("A", "").bytes());
    assert_eq!(seen.verdict, Verdict::Redirect);
    assert_eq!(Segment::read(&seen.frame).flags(), "S");
    assert_eq!(bench.events()["ahead_asked"], 1);
}

#[test]
fn who_ends_in_the_segment_of_a_later_request_learns_of_the_servers_end() {
    let (mut bench, mut talk) = answered(44_011, REQUEST);
    let seen = bench.ingress(&talk.client("AFP", REQUEST).bytes());
    let request = Segment::read(&seen.frame);
    assert_eq!((request.text().as_str(), request.tcp.fin), (REQUEST, false));
    let end = talk.client("FA", "");
    assert!(
        Segment::read(&bench.ingress(&end.bytes()).frame).tcp.fin,
        "it comes again"
    );
    talk.client_next += 1;
    talk.server_says(&mut bench, RESPONSE);
    bench.ingress(&talk.client("A", "").bytes());
    let seen = bench.egress(&talk.server("FA", ""));
    assert_eq!(seen.verdict, Verdict::Pass);
    assert_eq!(Segment::read(&seen.frame).flags(), "AF");
}

#[test]
fn a_peer_that_has_left_is_asked_on_a_new_connection() {
    let (mut bench, sent, seen) = ask(44_009, Limit::NONE, Limit::UNLIMITED);
    let syn = Segment::read(&seen.frame);
    let greeting = answer_of_peer(&syn);
    let request = Segment::read(&bench.ingress(&greeting.bytes()).frame);
    let of_peer = |sequence, flags, payload: &str| Sent {
        sequence,
        acknowledgment: request.tcp.sequence_number + request.payload.len() as u32,
        flags,
        options: Vec::new(),
        payload: payload.into(),
        ..greeting.clone()
    };
    let first = greeting.sequence + 1;
    bench.ingress(&of_peer(first, "AP", RESPONSE).bytes());
    let behind = first + RESPONSE.len() as u32;
    let seen = bench.ingress(&of_peer(behind, "FA", "").bytes());
    assert_eq!(
        seen.verdict,
        Verdict::Drop,
        "the client may need the answer again"
    );
    let next = Sent {
        sequence: sent.sequence + REQUEST.len() as u32,
        acknowledgment: sent.acknowledgment + RESPONSE.len() as u32,
        ..sent.clone()
    };
    let again = Segment::read(&bench.ingress(&next.bytes()).frame);
    assert_eq!((again.flags().as_str(), again.ipv4.destination), ("S", PEER));
    assert_ne!(again.tcp.source_port, syn.tcp.source_port);
    assert_eq!(bench.events().get("decided_again"), None);
}

#[test]
fn what_nobody_can_have_sent_does_not_end_a_server_that_is_kept() {
    let mut bench = Bench::new();
    bench.offer("known", Limit::new(0.001, 1.0, 7), Limit::UNLIMITED);
    let mut talk = Talk::open(&mut bench, 44_010);
    talk.client_says(&mut bench, REQUEST);
    talk.server_takes(&mut bench);
    talk.server_says(&mut bench, RESPONSE);
    let seen = bench.ingress(&talk.client("AP", REQUEST).bytes());
    assert_eq!(Segment::read(&seen.frame).ipv4.destination, PEER);
    let kept = talk.server_sent("AP", "x");
    for far in [1, 1 << 20, 1 << 30, (1 << 31) + 5, u32::MAX - (1 << 25)] {
        let spoofed = Sent {
            sequence: kept.sequence.wrapping_add(far),
            ..kept.clone()
        };
        let seen = bench.egress(&spoofed.bytes_to(talk.sent.source));
        assert_eq!(seen.verdict, Verdict::Drop, "{far}");
        assert!(bench.upstream(&talk.sent.key()).is_some(), "{far}");
    }
    let seen = bench.egress(&kept.bytes_to(talk.sent.source));
    assert_eq!(
        Segment::read(&seen.frame).flags(),
        "AR",
        "what it sends now is new"
    );
    assert!(bench.upstream(&talk.sent.key()).is_none());
}

#[test]
fn a_client_that_expects_the_end_is_told() {
    let (mut bench, mut talk) = answered(44_003, LAST_REQUEST);
    bench.ingress(&talk.client("A", "").bytes());
    let seen = bench.egress(&talk.server("FA", ""));
    assert_eq!(seen.verdict, Verdict::Pass);
    assert_eq!(Segment::read(&seen.frame).flags(), "AF");
}

#[test]
fn a_client_whose_server_has_said_that_it_closes_is_told() {
    let (mut bench, mut talk) = answered_with(44_007, REQUEST, LAST_RESPONSE);
    bench.ingress(&talk.client("A", "").bytes());
    let seen = bench.egress(&talk.server("FA", ""));
    assert_eq!(seen.verdict, Verdict::Pass);
    assert_eq!(Segment::read(&seen.frame).flags(), "AF");
}

#[test]
fn a_request_that_crosses_the_end_is_asked_again() {
    let (mut bench, mut talk) = answered(44_004, REQUEST);
    let end = talk.server("FA", "");
    let request = talk.client("AP", REQUEST);
    bench.ingress(&request.bytes());
    let seen = bench.egress(&end);
    assert_eq!(seen.verdict, Verdict::Redirect, "the server is answered");
    assert_eq!(Segment::read(&seen.frame).flags(), "AR");
    let seen = bench.ingress(&request.bytes());
    assert_eq!(Segment::read(&seen.frame).flags(), "S");
    assert_eq!(bench.events()["decided_again"], 1);
}

#[test]
fn a_reset_between_requests_is_not_passed_on() {
    let (mut bench, mut talk) = answered(44_005, REQUEST);
    bench.ingress(&talk.client("A", "").bytes());
    let seen = bench.egress(&talk.server("RA", ""));
    assert_eq!(seen.verdict, Verdict::Drop);
    let seen = bench.ingress(&talk.client("AP", REQUEST).bytes());
    assert_eq!(Segment::read(&seen.frame).flags(), "S");
}

/// A client that was sent the answer to a request.
pub(crate) fn answered(port: u16, request: &str) -> (Bench, Talk) {
    answered_with(port, request, RESPONSE)
}

fn answered_with(port: u16, request: &str, response: &str) -> (Bench, Talk) {
    let (mut bench, mut talk) = Talk::asked(port, request);
    talk.server_says(&mut bench, response);
    (bench, talk)
}
