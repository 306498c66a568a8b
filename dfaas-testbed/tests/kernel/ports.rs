//! Source ports of connections to peers: no two have the same, and who finds none is told.

use std::collections::BTreeSet;

use dfaas_common::meter::Limit;

use crate::{
    bench::{Bench, NAT_FIRST, Verdict},
    frame::{Segment, Sent},
    handshake::open,
    onward::answer_of_peer,
    talk::REQUEST,
};

const PORTS: u16 = 16;
const FIRST: u16 = 47_000;

#[test]
fn no_two_connections_have_the_same_port() {
    let mut bench = Bench::with_ports(PORTS);
    bench.offer("known", Limit::NONE, Limit::UNLIMITED);
    let all: Vec<(Sent, Segment)> = (0..PORTS)
        .map(|number| connect(&mut bench, FIRST + number))
        .collect();
    let ports: BTreeSet<u16> = all.iter().map(|(_, syn)| syn.tcp.source_port).collect();
    assert_eq!(ports, (NAT_FIRST..NAT_FIRST + PORTS).collect());
    // Each peer's answer is for the client whose request it is.
    for (sent, syn) in &all {
        let greeting = answer_of_peer(syn);
        let request = Segment::read(&bench.ingress(&greeting.bytes()).frame);
        let response = Sent {
            sequence: greeting.sequence + 1,
            acknowledgment: request.tcp.sequence_number + request.payload.len() as u32,
            flags: "AP",
            options: Vec::new(),
            payload: sent.source_port.to_string().into_bytes(),
            ..greeting
        };
        let seen = Segment::read(&bench.ingress(&response.bytes()).frame);
        assert_eq!(seen.tcp.destination_port, sent.source_port);
        assert_eq!(seen.text(), sent.source_port.to_string());
    }
}

#[test]
fn who_finds_no_port_is_told_until_one_is_free() {
    let mut bench = Bench::with_ports(PORTS);
    bench.offer("known", Limit::NONE, Limit::UNLIMITED);
    let first = connect(&mut bench, FIRST);
    for number in 1..PORTS {
        connect(&mut bench, FIRST + number);
    }
    let (_, answer) = connect(&mut bench, FIRST + PORTS);
    assert!(answer.text().starts_with("HTTP/1.1 503 "), "{}", answer.text());
    assert_eq!(bench.events()["ports_exhausted"], 1);
    let (sent, syn) = first;
    let reset = Sent {
        sequence: sent.sequence + REQUEST.len() as u32,
        flags: "R",
        payload: Vec::new(),
        ..sent
    };
    assert_eq!(bench.ingress(&reset.bytes()).verdict, Verdict::Redirect);
    let (_, next) = connect(&mut bench, FIRST + PORTS + 1);
    assert_eq!(
        (next.flags().as_str(), next.tcp.source_port),
        ("S", syn.tcp.source_port)
    );
    let ahead = next.tcp.sequence_number.wrapping_sub(syn.tcp.sequence_number) as i32;
    assert!(ahead > 0, "what is late of the first one is old to the second");
}

/// A client's request, and what becomes of it.
fn connect(bench: &mut Bench, port: u16) -> (Sent, Segment) {
    let our_isn = open(bench, port);
    let sent = Sent::data(port, our_isn.wrapping_add(1), REQUEST.as_bytes());
    let seen = bench.ingress(&sent.bytes());
    (sent, Segment::read(&seen.frame))
}
