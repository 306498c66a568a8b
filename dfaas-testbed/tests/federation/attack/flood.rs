//! Floods of SYNs: half-open connections make room for each other, and for nobody else.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    thread,
    time::Duration,
};

use dfaas_common::maps::OPENINGS;
use dfaas_testbed::{Federation, now, wait_until};
use rustix::net::sockopt::set_socket_linger;

use super::{Honest, event, plain, wait_for_clients};
use crate::{
    forger::{Forger, Segment},
    kit::turn,
};

const KEPT: usize = 20;
/// Twice as many as there is room for.
const SPOOFED: usize = 2 * OPENINGS;
/// Of what was sent, the interfaces may lose some.
const ARRIVED_PERMILLE: u64 = 900;
const SILENT: usize = 2_000;
const RESETTING: Duration = Duration::from_secs(1);

#[test]
fn a_flood_of_syns_evicts_only_half_open_connections() {
    let _turn = turn();
    let federation = plain();
    let node = &federation.nodes[0];
    let mut honest = Honest::new(federation, KEPT);
    honest.ask().unwrap();
    wait_for_clients(node, honest.entries());

    let before = event(node, "opened");
    let start = now();
    let rounds = honest.ask_while(|| spoof(federation));
    println!(
        "{SPOOFED} spoofed SYNs in {:?}; meanwhile {rounds} rounds of {KEPT} kept connections and 2 new ones",
        start.elapsed()
    );
    assert!(rounds > 0);
    let told = || {
        let new = event(node, "opened") - before;
        new * 1000 >= SPOOFED as u64 * ARRIVED_PERMILLE
    };
    wait_until("flood counted", Duration::from_secs(5), told).unwrap();
    wait_for_clients(node, honest.entries());

    let rounds = honest.ask_while(|| open_and_reset(federation));
    assert!(rounds > 0);
    let silent = open_silently(federation);
    honest.ask().unwrap();
    // None of them has asked for anything, so none of them takes a place.
    wait_for_clients(node, honest.entries());
    drop(silent);
    honest.ask().unwrap();
    drop(honest);
    wait_for_clients(node, 0);
}

/// SYNs of clients that do not exist.
fn spoof(federation: &Federation) {
    let forger = Forger::new(&federation.client);
    let SocketAddr::V4(destination) = federation.nodes[0].service() else {
        panic!("nodes have IPv4 addresses");
    };
    // RFC 2544 sets these addresses aside for such purposes.
    let first = u32::from(Ipv4Addr::new(198, 18, 0, 1));
    for number in 0..SPOOFED as u32 {
        let source = Ipv4Addr::from(first + number % 100_000);
        let segment = Segment {
            source: SocketAddrV4::new(source, 1024 + (number % 60_000) as u16),
            destination,
            sequence: number.wrapping_mul(0x9e37_79b1),
            acknowledgment: 0,
        };
        forger.send(segment, |header| header.syn = true, b"");
    }
}

/// Clients that exist, and are gone as soon as they are connected.
fn open_and_reset(federation: &Federation) {
    let server = federation.nodes[0].service();
    let start = now();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                federation.client.enter_network().unwrap();
                while start.elapsed() < RESETTING {
                    let stream = TcpStream::connect(server).unwrap();
                    set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
                }
            });
        }
    });
}

/// Clients that exist, and say nothing.
fn open_silently(federation: &Federation) -> Vec<TcpStream> {
    let server = federation.nodes[0].service();
    let connect = || (0..SILENT).map(|_| TcpStream::connect(server).unwrap()).collect();
    federation.client.on_thread(connect).unwrap()
}
