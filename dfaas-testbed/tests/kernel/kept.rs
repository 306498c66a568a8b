//! Servers that are kept for later when their client's connection is over: each is told.

use dfaas_common::{
    maps::{Client, Held, Locked, Upstream},
    meter::Limit,
};

use crate::{
    bench::{Bench, Verdict},
    frame::{Segment, Sent},
    onward::answer_of_peer,
    talk::{REQUEST, RESPONSE, Talk},
};

const ELSEWHERE: &str = "GET /function/f2 HTTP/1.1\r\nHost: n\r\n\r\n";

#[test]
fn a_peer_that_breaks_off_takes_no_server_along() {
    let (mut bench, talk, peer) = in_an_answer_of_a_peer(51_101);
    let reset = Sent {
        flags: "RA",
        payload: Vec::new(),
        ..peer
    };
    let seen = bench.ingress(&reset.bytes());
    assert_eq!(seen.verdict, Verdict::Redirect);
    let end = Segment::read(&seen.frame);
    assert_eq!(
        (end.flags().as_str(), end.ipv4.destination),
        ("AR", talk.sent.source)
    );
    assert_eq!(end.tcp.destination_port, talk.sent.source_port);
    be_over(&mut bench);
}

#[test]
fn a_client_that_resets_while_it_waits_takes_no_server_along() {
    let (mut bench, mut talk) = served_here(51_102);
    talk.client_says(&mut bench, ELSEWHERE);
    bench.ingress(&talk.client("RA", "").bytes());
    be_over(&mut bench);
}

#[test]
fn a_client_that_resets_behind_what_is_held_is_forgotten() {
    let mut bench = Bench::new();
    bench.offer("known", Limit::UNLIMITED, Limit::NONE);
    let mut talk = Talk::open(&mut bench, 51_103);
    talk.client_says(&mut bench, &[REQUEST, REQUEST].concat());
    assert_eq!(bench.events()["cut"], 1, "the second is held");
    bench.ingress(&talk.client("RA", "").bytes());
    assert_eq!(bench.entries::<Locked<Client>>("CLIENTS"), 0);
    assert_eq!(bench.entries::<Locked<Upstream>>("UPSTREAMS"), 0);
    assert_eq!(bench.entries::<Held>("AHEAD"), 0);
}

/// The local server, which was kept, was told, and nothing is left.
#[track_caller]
fn be_over(bench: &mut Bench) {
    assert_eq!(bench.events()["upstream_dropped"], 1);
    assert_eq!(bench.entries::<Locked<Client>>("CLIENTS"), 0);
    assert_eq!(bench.entries::<Locked<Upstream>>("UPSTREAMS"), 0);
}

/// A client whose first request was served here.
fn served_here(port: u16) -> (Bench, Talk) {
    let mut bench = Bench::new();
    bench.offer("known", Limit::UNLIMITED, Limit::NONE);
    bench.offer_peer(2, "f2");
    let mut talk = Talk::open(&mut bench, port);
    talk.client_says(&mut bench, REQUEST);
    talk.server_takes(&mut bench);
    talk.server_says(&mut bench, RESPONSE);
    bench.ingress(&talk.client("A", "").bytes());
    (bench, talk)
}

/// The same whose second request a peer has begun to answer, and what the peer would send next.
fn in_an_answer_of_a_peer(port: u16) -> (Bench, Talk, Sent) {
    let (mut bench, mut talk) = served_here(port);
    let syn = Segment::read(&talk.client_says(&mut bench, ELSEWHERE).frame);
    let greeting = Sent {
        source: syn.ipv4.destination,
        ..answer_of_peer(&syn)
    };
    let request = Segment::read(&bench.ingress(&greeting.bytes()).frame);
    let payload = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234".to_vec();
    let answer = Sent {
        sequence: greeting.sequence + 1,
        acknowledgment: request
            .tcp
            .sequence_number
            .wrapping_add(request.payload.len() as u32),
        flags: "AP",
        options: Vec::new(),
        payload,
        ..greeting
    };
    bench.ingress(&answer.bytes());
    let next = Sent {
        sequence: answer.sequence + answer.payload.len() as u32,
        ..answer
    };
    (bench, talk, next)
}
