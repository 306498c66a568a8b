//! Servers that close a connection which their client wants to use again.

use dfaas_common::maps::{IS_LOCAL, Phase};

use crate::{
    bench::{Bench, Verdict},
    frame::Segment,
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
fn a_request_behind_an_end_that_nobody_was_told_of_is_asked_again() {
    let (mut bench, mut talk) = answered(44_006, REQUEST);
    bench.egress(&talk.server("FA", ""));
    // It acknowledges the whole answer too.
    let request = talk.client("AP", REQUEST);
    assert_eq!(bench.ingress(&request.bytes()).verdict, Verdict::Pass);
    assert_eq!(bench.egress(&talk.server("R", "")).verdict, Verdict::Drop);
    let seen = bench.ingress(&request.bytes());
    assert_eq!(Segment::read(&seen.frame).flags(), "S");
    assert_eq!(bench.events()["decided_again"], 1);
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
