//! Windows of clients, in the scale that a server has learnt.

use dfaas_common::{meter::Limit, tcp_options::SynOptions};

use crate::{
    bench::Bench,
    frame::{Segment, Sent},
    talk::{REQUEST, RESPONSE, Talk},
};

#[test]
fn a_server_without_a_scale_is_told_whole_windows() {
    // RFC 7323, section 2.2: a scale counts only where both SYNs had one.
    check(255, 64_240, 501 << 7);
}

#[test]
fn a_server_with_a_scale_is_told_the_clients_windows() {
    check(9, 64_240 >> 7, 501);
}

/// A server that offers this scale gets the request with one window, and what its client sends next with another.
#[track_caller]
fn check(scale: u8, first: u16, next: u16) {
    let mut bench = Bench::new();
    bench.offer("known", Limit::UNLIMITED, Limit::NONE);
    let mut talk = Talk::open(&mut bench, 50_000 + u16::from(scale));
    talk.client_says(&mut bench, REQUEST);
    let options = SynOptions {
        segment_size: 1_460,
        window_scale: scale,
        permits_sack: true,
    };
    let replay = Segment::read(&talk.server_takes_with(&mut bench, &options.write()).frame);
    assert_eq!((replay.text().as_str(), replay.tcp.window_size), (REQUEST, first));
    talk.server_says(&mut bench, RESPONSE);
    let acknowledgment = Sent {
        window: 501,
        ..talk.client("A", "")
    };
    let seen = Segment::read(&bench.ingress(&acknowledgment.bytes()).frame);
    assert_eq!(seen.tcp.window_size, next);
    // The next request goes to the same server.
    talk.sent.window = 501;
    let seen = Segment::read(&talk.client_says(&mut bench, REQUEST).frame);
    assert_eq!((seen.text().as_str(), seen.tcp.window_size), (REQUEST, next));
}
