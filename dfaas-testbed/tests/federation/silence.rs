//! Connections on which nobody says a word: both ends are told of the end, and no request under way is ended.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use dfaas_testbed::{Federation, Function, NodeSpec, Wire, wait_until};

use crate::kit::{PLENTY_RPS, left, service_sockets, turn};

/// How long a connection may keep silent here.
const SILENCE_S: u64 = 2;
/// Longer than that, and than it takes to see it: a look every five seconds.
const WORK_S: u64 = 12;
/// How long it takes until nothing is left of it.
const CLEARED: Duration = Duration::from_secs(25);
/// How long a word takes.
const SOON: Duration = Duration::from_secs(5);
const FUNCTIONS: [&str; 2] = ["near", "far"];

#[test]
fn both_ends_of_a_silent_connection_are_reset() {
    let _turn = turn();
    let federation = federation();
    let mut idle: Vec<Wire> = FUNCTIONS.map(|name| asked(&federation, &[name])).into();
    // One server is kept for later.
    idle.push(asked(&federation, &["near", "far"]));
    // Nobody serves the last request of this one.
    idle.push(asked(&federation, &["near", "nobody"]));
    assert!(left(&federation) > 0 && service_sockets(&federation) > 0);
    let is_cleared = || left(&federation) == 0 && service_sockets(&federation) == 0;
    wait_until("all cleared", CLEARED, is_cleared).unwrap_or_else(|error| {
        panic!(
            "{error}: {} entries, {} sockets",
            left(&federation),
            service_sockets(&federation)
        )
    });
    let ends: Vec<_> = idle
        .iter()
        .map(|wire| wire.stream().read(&mut [0]).unwrap_err().kind())
        .collect();
    assert_eq!(
        ends,
        vec![ErrorKind::ConnectionReset; idle.len()],
        "{}",
        federation.nodes[0].status().unwrap().0["totals"]["events"]
    );
    let events = federation.nodes[0].status().unwrap().0["totals"]["events"].clone();
    assert_eq!(events["ended_silent"].as_u64(), Some(idle.len() as u64));
    federation.stop().unwrap();
}

#[test]
fn a_request_under_way_is_not_ended() {
    let _turn = turn();
    let federation = federation();
    let mut waiting: Vec<(TcpStream, bool)> = Vec::new();
    for name in ["work", "far-work"] {
        for closes in [false, true] {
            let wire = Wire::connect(&federation.client, federation.nodes[0].service()).unwrap();
            let mut stream = wire.stream().try_clone().unwrap();
            let request = format!("GET /function/{name} HTTP/1.1\r\nHost: x\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            if closes {
                stream.shutdown(Shutdown::Write).unwrap();
            }
            waiting.push((stream, closes));
        }
    }
    for (stream, closes) in &mut waiting {
        stream
            .set_read_timeout(Some(Duration::from_secs(WORK_S) + SOON))
            .unwrap();
        let mut answer = [0; 15];
        let read = stream.read_exact(&mut answer);
        assert!(read.is_ok(), "half closed: {closes}: {read:?}");
        assert_eq!(answer.escape_ascii().to_string(), "HTTP/1.1 200 OK");
    }
    federation.stop().unwrap();
}

fn federation() -> Federation {
    let work = |name| Function {
        process: Some(format!("sleep {WORK_S}")),
        image: "ghcr.io/openfaas/alpine:latest".to_owned(),
        ..Function::echo(PLENTY_RPS).named(name)
    };
    let nodes = [["near", "work"], ["far", "far-work"]].map(|[echo, slow]| NodeSpec {
        agent_arguments: vec![format!("--idle-timeout={SILENCE_S}s")],
        ..NodeSpec::new(vec![Function::echo(PLENTY_RPS).named(echo), work(slow)])
    });
    Federation::start(&nodes).unwrap()
}

/// A client that has asked for these one after another, and keeps silent from then on.
fn asked(federation: &Federation, names: &[&str]) -> Wire {
    let mut wire = Wire::connect(&federation.client, federation.nodes[0].service()).unwrap();
    for name in names {
        let request = format!("GET /function/{name} HTTP/1.1\r\nHost: x\r\n\r\n");
        let status = wire.ask(request.as_bytes(), "GET").unwrap().status;
        assert_eq!(status, if *name == "nobody" { 404 } else { 200 });
    }
    wire
}
