//! Segments of one connection that two processors handle at the same time: an interface without queues of its own, such
//! as veth, gives a packet to the processor that sent it.

use std::{sync::Barrier, thread};

use dfaas_common::{
    http::Stage,
    maps::{Client, FlowKey, Locked, Upstream},
    meter::Limit,
};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::{
    bench::{Bench, PEER},
    frame::{CLIENT_ISN, Segment, Sent},
    handshake::open,
    onward::answer_of_peer,
};

const ROUNDS: u16 = 400;
const SEGMENTS: u32 = 1000;
const SEGMENT_BYTES: u32 = 1;
const BODY_BYTES: u32 = SEGMENTS * SEGMENT_BYTES;

#[test]
fn a_response_is_followed_to_its_end() {
    let mut bench = Bench::new();
    for port in 43_000..43_000 + ROUNDS {
        let exchange = Exchange::begin(
            &mut bench,
            port,
            "GET /function/known HTTP/1.1\r\nHost: n\r\n\r\n",
        );
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
        let body_at = 9_001 + u32::try_from(head.len()).unwrap();
        bench.ingress(&exchange.answer_part(9_001, head.as_bytes()).bytes());
        both(&bench, |number| {
            let payload = [b'x'; SEGMENT_BYTES as usize];
            exchange
                .answer_part(body_at + number * SEGMENT_BYTES, &payload)
                .bytes()
        });
        let upstream = exchange.upstream(&mut bench);
        assert_eq!(upstream.response.stage(), Stage::Idle, "{upstream:?}");
        assert_eq!(upstream.response.at, body_at + BODY_BYTES);
    }
}

#[test]
fn a_request_is_followed_to_its_end() {
    let mut bench = Bench::new();
    let head = format!("POST /function/known HTTP/1.1\r\nHost: n\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
    let body_at = CLIENT_ISN + 1 + u32::try_from(head.len()).unwrap();
    for port in 43_100..43_100 + ROUNDS {
        let exchange = Exchange::begin(&mut bench, port, &head);
        both(&bench, |number| {
            let payload = [b'x'; SEGMENT_BYTES as usize];
            let part = Sent::data(port, exchange.our_isn.wrapping_add(1), &payload);
            let sequence = body_at + number * SEGMENT_BYTES;
            Sent { sequence, ..part }.bytes()
        });
        let request = exchange.client(&mut bench).request;
        assert_eq!(
            (request.left, request.at),
            (0, body_at + BODY_BYTES),
            "{request:?}"
        );
    }
}

#[test]
fn a_request_that_comes_twice_goes_to_one_server() {
    let request = b"GET /function/known HTTP/1.1\r\nHost: n\r\n\r\n";
    for (local, cap) in [(Limit::UNLIMITED, Limit::NONE), (Limit::NONE, Limit::UNLIMITED)] {
        let mut bench = Bench::new();
        bench.offer("known", local, cap);
        let ports = 43_600..43_600 + ROUNDS;
        let frames: Vec<_> = ports
            .map(|port| {
                let our_isn = open(&mut bench, port);
                Sent::data(port, our_isn.wrapping_add(1), request).bytes()
            })
            .collect();
        on_both(&bench, [&frames, &frames]);
        let entries = (
            bench.entries::<Locked<Client>>("CLIENTS"),
            bench.entries::<Locked<Upstream>>("UPSTREAMS"),
        );
        assert_eq!(entries, (ROUNDS.into(), ROUNDS.into()), "{:?}", bench.events());
    }
}

/// Has two processors run ingress on the frames of all numbers, each on every other one.
fn both(bench: &Bench, frame: impl Fn(u32) -> Vec<u8>) {
    let every_other = |first: u32| (first..SEGMENTS).step_by(2).map(&frame).collect::<Vec<_>>();
    on_both(bench, [&every_other(0), &every_other(1)]);
}

fn on_both(bench: &Bench, frames: [&[Vec<u8>]; 2]) {
    let start = Barrier::new(2);
    thread::scope(|scope| {
        for (processor, frames) in frames.into_iter().enumerate() {
            let start = &start;
            scope.spawn(move || {
                let mut only = CpuSet::new();
                only.set(processor);
                sched_setaffinity(None, &only).unwrap();
                start.wait();
                for frame in frames {
                    bench.run_ingress(frame);
                }
            });
        }
    });
}

/// A request that was forwarded to the peer, which has answered the SYN.
struct Exchange {
    sent: Sent,
    our_isn: u32,
    server: FlowKey,
    /// The peer's SYN-ACK.
    answer: Sent,
    request_end: u32,
}

impl Exchange {
    fn begin(bench: &mut Bench, port: u16, request: &str) -> Self {
        bench.offer("known", Limit::NONE, Limit::UNLIMITED);
        let our_isn = open(bench, port);
        let sent = Sent::data(port, our_isn.wrapping_add(1), request.as_bytes());
        let syn = Segment::read(&bench.ingress(&sent.bytes()).frame);
        let answer = answer_of_peer(&syn);
        let replay = Segment::read(&bench.ingress(&answer.bytes()).frame);
        let length = u32::try_from(replay.payload.len()).unwrap();
        Self {
            server: bench.client(&sent.key()).unwrap().upstream,
            request_end: replay.tcp.sequence_number.wrapping_add(length),
            sent,
            our_isn,
            answer,
        }
    }

    fn answer_part(&self, sequence: u32, payload: &[u8]) -> Sent {
        Sent {
            source: PEER,
            sequence,
            acknowledgment: self.request_end,
            flags: "A",
            options: Vec::new(),
            payload: payload.to_vec(),
            ..self.answer.clone()
        }
    }

    fn client(&self, bench: &mut Bench) -> Client {
        bench.client(&self.sent.key()).unwrap()
    }

    fn upstream(&self, bench: &mut Bench) -> Upstream {
        bench.upstream(&self.server).unwrap()
    }
}
