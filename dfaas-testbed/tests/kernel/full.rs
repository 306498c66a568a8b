//! What becomes of a request when a table is full: a clear refusal or nothing, never somebody else's connection.

use dfaas_common::{
    maps::{Client, Held, Locked, Opening, Upstream},
    meter::Limit,
};

use crate::{
    bench::{Bench, Verdict},
    frame::{CLIENT_ISN, Segment, Sent},
    handshake::open,
    onward::answer_of_peer,
};

const REQUEST: &[u8] = b"GET /function/known HTTP/1.1\r\nHost: n\r\n\r\n";
const FIRST_PORT: u16 = 20_000;
/// The least that a table holds whose oldest entries go first: kernels give each CPU a part of it.
const RECENT: u32 = 512;

#[test]
fn a_full_table_of_clients_refuses_and_recovers() {
    check_full("CLIENTS", Limit::UNLIMITED, "flows_full");
}

#[test]
fn a_full_table_of_servers_refuses_and_recovers() {
    check_full("UPSTREAMS", Limit::UNLIMITED, "flows_full");
}

#[test]
fn full_tables_refuse_what_goes_to_peers_too() {
    check_full("CLIENTS", Limit::NONE, "flows_full");
    check_full("UPSTREAMS", Limit::NONE, "ports_exhausted");
}

/// Two connections fit; the third is told, leaves nothing, and has its place when another one goes.
#[track_caller]
fn check_full(map: &'static str, local: Limit, event: &str) {
    let mut bench = Bench::with_room(map, 2);
    bench.offer("known", local, Limit::UNLIMITED);
    for port in [FIRST_PORT, FIRST_PORT + 1] {
        let (sent, seen) = ask(&mut bench, port);
        assert_ne!(seen, Verdict::Drop, "{map}");
        assert!(bench.client(&sent.key()).is_some(), "{map}");
    }
    let our_isn = open(&mut bench, FIRST_PORT + 2);
    let sent = Sent::data(FIRST_PORT + 2, our_isn.wrapping_add(1), REQUEST);
    let answer = Segment::read(&bench.ingress(&sent.bytes()).frame);
    assert!(
        answer.text().starts_with("HTTP/1.1 503 "),
        "{map}: {}",
        answer.text()
    );
    assert_eq!(bench.events()[event], 1, "{map}");
    assert_eq!(bench.entries::<Held>("HELD"), 2, "{map}");
    assert_eq!(
        (
            bench.entries::<Locked<Client>>("CLIENTS"),
            bench.entries::<Locked<Upstream>>("UPSTREAMS")
        ),
        (2, 2),
        "{map}"
    );
    reset(&mut bench, FIRST_PORT);
    assert_eq!(bench.entries::<Locked<Upstream>>("UPSTREAMS"), 1, "{map}");
    let (sent, seen) = ask(&mut bench, FIRST_PORT + 3);
    assert_ne!(seen, Verdict::Drop, "{map}");
    assert!(bench.client(&sent.key()).is_some(), "{map}");
    assert_eq!(bench.events()[event], 1, "{map}");
}

#[test]
fn half_open_connections_make_room_for_each_other_only() {
    let mut bench = Bench::with_room("OPENING", RECENT);
    bench.offer("known", Limit::UNLIMITED, Limit::NONE);
    let (live, _) = ask(&mut bench, 10_000);
    let oldest = open(&mut bench, FIRST_PORT);
    for port in FIRST_PORT + 1..FIRST_PORT + 4 * RECENT as u16 {
        open(&mut bench, port);
    }
    assert!(bench.entries::<Opening>("OPENING") <= RECENT as usize);
    assert!(bench.client(&live.key()).is_some());
    // The stack, which knows nothing of it either, answers with a reset.
    let sent = Sent::data(FIRST_PORT, oldest.wrapping_add(1), REQUEST);
    assert_eq!(bench.ingress(&sent.bytes()).verdict, Verdict::Pass);
    assert!(bench.client(&sent.key()).is_none());
    let (newest, _) = ask(&mut bench, 10_001);
    assert!(bench.client(&newest.key()).is_some());
}

#[test]
fn who_loses_the_head_that_was_taken_is_let_go() {
    let mut bench = Bench::with_room("HELD", RECENT);
    bench.offer("known", Limit::UNLIMITED, Limit::NONE);
    let (first, rest) = REQUEST.split_at(10);
    let mut numbers = Vec::new();
    for port in FIRST_PORT..FIRST_PORT + 4 * RECENT as u16 {
        let our_isn = open(&mut bench, port);
        let part = Sent::data(port, our_isn.wrapping_add(1), first);
        assert_eq!(bench.ingress(&part.bytes()).verdict, Verdict::Redirect);
        numbers.push((port, our_isn));
    }
    let mut finish = |(port, our_isn): (u16, u32)| {
        let sent = Sent {
            sequence: CLIENT_ISN.wrapping_add(1 + first.len() as u32),
            ..Sent::data(port, our_isn.wrapping_add(1), rest)
        };
        let verdict = bench.ingress(&sent.bytes()).verdict;
        let is_served = bench.client(&sent.key()).is_some();
        let is_known = is_served || bench.opening(&sent.key()).is_some();
        (
            verdict,
            is_served,
            is_known,
            bench.events().get("held_missing").copied(),
        )
    };
    let newest = *numbers.last().unwrap();
    assert_eq!(finish(newest), (Verdict::Pass, true, true, None));
    // Its bytes had to make room: the stack answers with a reset, and nothing is left.
    assert_eq!(finish(numbers[0]), (Verdict::Pass, false, false, Some(1)));
}

#[test]
fn requests_that_cannot_be_counted_are_counted_as_such() {
    let mut bench = Bench::with_room("STATS", 1);
    bench.offer("known", Limit::NONE, Limit::NONE);
    ask(&mut bench, FIRST_PORT);
    assert_eq!(bench.events().get("uncounted"), None);
    bench.offer_as(1, "other", Limit::NONE, Limit::NONE);
    let our_isn = open(&mut bench, FIRST_PORT + 1);
    let request = b"GET /function/other HTTP/1.1\r\nHost: n\r\n\r\n";
    let sent = Sent::data(FIRST_PORT + 1, our_isn.wrapping_add(1), request);
    let answer = Segment::read(&bench.ingress(&sent.bytes()).frame);
    assert!(answer.text().starts_with("HTTP/1.1 503 "), "{}", answer.text());
    assert_eq!(bench.events()["uncounted"], 1);
}

#[test]
fn requests_that_cannot_be_timed_are_served_and_counted() {
    let mut bench = Bench::with_room("LATENCY", 1);
    bench.offer("known", Limit::NONE, Limit::UNLIMITED);
    bench.offer_as(1, "other", Limit::NONE, Limit::UNLIMITED);
    be_served_by_peer(&mut bench, FIRST_PORT, REQUEST);
    assert_eq!(bench.events().get("untimed"), None);
    let request = b"GET /function/other HTTP/1.1\r\nHost: n\r\n\r\n";
    be_served_by_peer(&mut bench, FIRST_PORT + 1, request);
    assert_eq!(bench.events()["untimed"], 1);
}

/// A request, its way to the peer, and the peer's response.
#[track_caller]
fn be_served_by_peer(bench: &mut Bench, port: u16, request: &[u8]) {
    let our_isn = open(bench, port);
    let sent = Sent::data(port, our_isn.wrapping_add(1), request);
    let syn = Segment::read(&bench.ingress(&sent.bytes()).frame);
    let answer = answer_of_peer(&syn);
    let replay = Segment::read(&bench.ingress(&answer.bytes()).frame);
    let response = Sent {
        sequence: 9_001,
        acknowledgment: replay
            .tcp
            .sequence_number
            .wrapping_add(replay.payload.len() as u32),
        flags: "AP",
        options: Vec::new(),
        payload: b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        ..answer
    };
    let passed = Segment::read(&bench.ingress(&response.bytes()).frame);
    assert_eq!(passed.text(), "HTTP/1.1 204 No Content\r\n\r\n");
}

fn ask(bench: &mut Bench, port: u16) -> (Sent, Verdict) {
    let our_isn = open(bench, port);
    let sent = Sent::data(port, our_isn.wrapping_add(1), REQUEST);
    let seen = bench.ingress(&sent.bytes());
    (sent, seen.verdict)
}

/// A client that waits for its server gives up.
fn reset(bench: &mut Bench, port: u16) {
    let sent = Sent {
        sequence: CLIENT_ISN.wrapping_add(1 + REQUEST.len() as u32),
        flags: "R",
        ..Sent::data(port, 0, b"")
    };
    bench.ingress(&sent.bytes());
    assert!(bench.client(&sent.key()).is_none());
}
