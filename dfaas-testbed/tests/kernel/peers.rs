//! One connection whose requests go to many peers.

use dfaas_common::maps::{Client, Held, Locked, Upstream};

use crate::{
    bench::{Bench, Verdict},
    frame::{Segment, Sent},
    onward::answer_of_peer,
    talk::{RESPONSE, Talk},
};

#[test]
fn ten_peers_stay_kept() {
    let mut bench = bench(10);
    let mut talk = Talk::open(&mut bench, 51_001);
    let mut greetings = Vec::new();
    for index in 1..=10 {
        let (met, greeting) = be_served(&mut bench, &mut talk, index, None);
        assert!(met, "{index}: a new connection");
        greetings.push(greeting);
    }
    for round in 0..3 {
        for (index, greeting) in (1..=10).zip(&mut greetings) {
            let (met, now) = be_served(&mut bench, &mut talk, index, Some(greeting.clone()));
            assert!(!met, "{round} {index}: over the connection that was kept");
            *greeting = now;
        }
    }
    assert_eq!(bench.entries::<Locked<Upstream>>("UPSTREAMS"), 10);
    assert_eq!(bench.events().get("upstream_dropped"), None);
    end(&mut bench, &mut talk);
}

#[test]
fn peers_that_are_pushed_out_are_released() {
    const PEERS: u8 = 40;
    let mut bench = bench(PEERS);
    let mut talk = Talk::open(&mut bench, 51_002);
    for _ in 0..5 {
        for index in 1..=PEERS {
            // Each has been pushed out by another one since.
            let (met, _) = be_served(&mut bench, &mut talk, index, None);
            assert!(met, "{index}");
            let kept = bench.entries::<Locked<Upstream>>("UPSTREAMS");
            assert!(kept <= 16, "{kept} of {index}");
        }
    }
    let kept = bench.entries::<Locked<Upstream>>("UPSTREAMS") as u64;
    assert_eq!(
        bench.events()["upstream_dropped"],
        5 * u64::from(PEERS) - kept,
        "the others were reset"
    );
    end(&mut bench, &mut talk);
}

/// A node with so many peers, each of which has a function of its own.
fn bench(peers: u8) -> Bench {
    let mut bench = Bench::new();
    for index in 1..=peers {
        bench.offer_peer(index, &format!("f{index}"));
    }
    bench
}

/// The client closes: nothing is left.
fn end(bench: &mut Bench, talk: &mut Talk) {
    bench.ingress(&talk.client("RA", "").bytes());
    assert_eq!(bench.entries::<Locked<Client>>("CLIENTS"), 0);
    assert_eq!(
        bench.entries::<Locked<Upstream>>("UPSTREAMS"),
        0,
        "a port is left"
    );
    assert_eq!(bench.entries::<Held>("HELD"), 0);
}

/// A request that a peer serves, over its connection, whose last segment this was, or over a new one. Returns whether it was a
/// new one, and the peer's last segment.
fn be_served(bench: &mut Bench, talk: &mut Talk, index: u8, last: Option<Sent>) -> (bool, Sent) {
    let request = format!("GET /function/f{index} HTTP/1.1\r\n\r\n");
    let seen = talk.client_says(bench, &request);
    assert_eq!(seen.verdict, Verdict::Redirect);
    let mut onward = Segment::read(&seen.frame);
    let is_new = onward.tcp.syn;
    assert_eq!(onward.ipv4.destination, [10, 77, 1, index]);
    let mut answer = if is_new {
        let greeting = Sent {
            source: [10, 77, 1, index],
            ..answer_of_peer(&onward)
        };
        onward = Segment::read(&bench.ingress(&greeting.bytes()).frame);
        Sent {
            sequence: greeting.sequence + 1,
            flags: "AP",
            options: Vec::new(),
            payload: RESPONSE.into(),
            ..greeting
        }
    } else {
        let last = last.unwrap();
        assert_eq!(onward.tcp.source_port, last.destination_port);
        assert_eq!(onward.tcp.sequence_number, last.acknowledgment);
        Sent {
            sequence: last.sequence + RESPONSE.len() as u32,
            ..last
        }
    };
    assert!(onward.text().starts_with(&format!("GET /function/f{index} ")));
    assert_eq!(onward.ipv4.destination, [10, 77, 1, index]);
    answer.acknowledgment = onward.tcp.sequence_number + onward.payload.len() as u32;
    let response = Segment::read(&bench.ingress(&answer.bytes()).frame);
    assert_eq!(response.text(), RESPONSE);
    assert_eq!(response.tcp.sequence_number, talk.our_next);
    talk.our_next = talk.our_next.wrapping_add(RESPONSE.len() as u32);
    bench.ingress(&talk.client("A", "").bytes());
    (is_new, answer)
}
