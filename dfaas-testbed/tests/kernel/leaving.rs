//! Servers that close a connection which their client wants to use again.

use dfaas_common::{
    maps::{IS_LOCAL, Phase},
    meter::Limit,
};

use crate::{
    bench::{Bench, Verdict},
    frame::{CLIENT_ISN, Segment, Sent},
    handshake::open,
    onward::answer_of_stack,
};

pub(crate) const REQUEST: &str = "GET /function/known HTTP/1.1\r\nHost: n\r\n\r\n";
const LAST_REQUEST: &str = "GET /function/known HTTP/1.1\r\nConnection: close\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const LAST_RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const SERVER_ISN: u32 = 5_000;

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

/// A client's connection to the local stack.
pub(crate) struct Talk {
    pub(crate) sent: Sent,
    pub(crate) client_next: u32,
    pub(crate) our_next: u32,
    server_next: u32,
}

impl Talk {
    /// The client's next segment.
    pub(crate) fn client(&mut self, flags: &'static str, payload: &str) -> Sent {
        let sent = Sent {
            sequence: self.client_next,
            acknowledgment: self.our_next,
            flags,
            payload: payload.into(),
            ..self.sent.clone()
        };
        self.client_next = self.client_next.wrapping_add(payload.len() as u32);
        sent
    }

    /// The server sends (a part of) its answer.
    pub(crate) fn server_says(&mut self, bench: &mut Bench, response: &str) {
        bench.egress(&self.server("AP", response));
        self.server_next += response.len() as u32;
        self.our_next = self.our_next.wrapping_add(response.len() as u32);
    }

    /// The server's next segment, which acknowledges all that was sent so far.
    pub(crate) fn server(&self, flags: &'static str, payload: &str) -> Vec<u8> {
        answer_of_stack(
            &self.sent,
            self.server_next,
            self.client_next,
            flags,
            payload.as_bytes(),
        )
    }
}

/// A client that was sent the answer to a request.
pub(crate) fn answered(port: u16, request: &str) -> (Bench, Talk) {
    answered_with(port, request, RESPONSE)
}

fn answered_with(port: u16, request: &str, response: &str) -> (Bench, Talk) {
    let (mut bench, mut talk) = asked(port, request);
    talk.server_says(&mut bench, response);
    (bench, talk)
}

/// A client whose request has been passed to the stack.
pub(crate) fn asked(port: u16, request: &str) -> (Bench, Talk) {
    let mut bench = Bench::new();
    bench.offer("known", Limit::UNLIMITED, Limit::NONE);
    let our_isn = open(&mut bench, port);
    let sent = Sent::data(port, our_isn.wrapping_add(1), request.as_bytes());
    bench.ingress(&sent.bytes());
    let mut talk = Talk {
        client_next: CLIENT_ISN + 1,
        our_next: our_isn.wrapping_add(1),
        server_next: SERVER_ISN,
        sent,
    };
    bench.egress(&talk.server("SA", ""));
    talk.server_next += 1;
    talk.client_next += request.len() as u32;
    (bench, talk)
}
