//! Clients that are slow or stuck: they are ended, and leave nothing.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::Duration,
};

use dfaas_testbed::{Federation, Wire, now, wait_until};

use super::{FUNCTIONS, Honest, event, plain, two};
use crate::kit::{left, service_sockets, turn};

/// How long a client may keep silent here.
const SILENCE_S: u64 = 2;
/// How long it takes until nothing is left of such clients: a look every five seconds, and two that see the same.
const CLEARED: Duration = Duration::from_secs(25);
const READY: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);
/// Of each kind, for each function.
const CLIENTS: usize = 5;
const LARGE_BYTES: usize = 64 << 20;

/// How a client wastes a server's time.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// It says nothing.
    Silent,
    /// It stops within the head of its first request.
    StuckHead,
    /// It stops within the head of its second request.
    StuckSecondHead,
    /// It stops within the body.
    StuckBody,
    /// It sends a byte of the body now and then.
    SlowBody,
    /// It does not read the answer.
    StuckReader,
    /// It has its answer and keeps the connection.
    Idle,
}

const KINDS: [Kind; 7] = [
    Kind::Silent,
    Kind::StuckHead,
    Kind::StuckSecondHead,
    Kind::StuckBody,
    Kind::SlowBody,
    Kind::StuckReader,
    Kind::Idle,
];

#[test]
fn slow_and_stuck_clients_are_ended() {
    let _turn = turn();
    let federation = two(|spec| {
        spec.agent_arguments = vec![format!("--idle-timeout={SILENCE_S}s")];
        spec.provider_arguments = vec![format!("--client-timeout={SILENCE_S}")];
    });
    let stuck: Vec<_> = KINDS
        .into_iter()
        .flat_map(|kind| (0..CLIENTS * FUNCTIONS.len()).map(move |number| (kind, number)))
        .map(|(kind, number)| {
            (
                kind,
                begin(&federation, kind, FUNCTIONS[number % FUNCTIONS.len()]),
            )
        })
        .collect();
    assert!(left(&federation) > 0, "slow clients take room");
    let mut honest = Honest::new(&federation, 0);
    let start = now();
    let cleared = || left(&federation) == 0 && service_sockets(&federation) == 0;
    honest.ask_while(|| trickle(&federation, &stuck));
    let waited = wait_until("all cleared", CLEARED, cleared);
    waited.unwrap_or_else(|error| {
        panic!(
            "{error}: {} entries, {} sockets",
            left(&federation),
            service_sockets(&federation)
        )
    });
    println!(
        "{} slow clients were gone after {:?}",
        stuck.len(),
        start.elapsed()
    );
    federation.stop().unwrap();
}

#[test]
fn heads_that_come_byte_by_byte_cost_the_kernel_nothing() {
    let _turn = turn();
    let federation = plain();
    let node = &federation.nodes[0];
    wait_until("HAProxy ready", READY, || takes_chunks(federation)).unwrap();
    let before = event(node, "proxied_slow");
    let mut slow: Vec<_> = (0..CLIENTS).map(|_| connect(federation)).collect();
    for byte in head("near", 5) {
        for stream in &mut slow {
            stream.write_all(&[byte]).unwrap();
        }
        thread::sleep(Duration::from_millis(2));
    }
    // HAProxy has the patience, and the time-outs, that they need.
    for stream in &mut slow {
        stream.write_all(b"hello").unwrap();
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer.escape_ascii().to_string(), "HTTP/1.1 200 OK");
    }
    let counted = || event(node, "proxied_slow") - before == CLIENTS as u64;
    wait_until("slow clients counted", READY, counted).unwrap();
}

/// Whether HAProxy serves what the kernel does not.
fn takes_chunks(federation: &Federation) -> bool {
    let request = "POST /function/near HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let mut wire = Wire::connect(&federation.client, federation.nodes[0].service()).unwrap();
    let response = wire.ask(request.as_bytes(), "POST");
    response.is_ok_and(|response| response.status == 200)
}

/// Sends what slow clients send, for longer than they may.
fn trickle(federation: &Federation, stuck: &[(Kind, TcpStream)]) {
    let start = now();
    while start.elapsed() < Duration::from_secs(2 * SILENCE_S) {
        for (kind, stream) in stuck {
            if matches!(kind, Kind::SlowBody) {
                let mut stream = stream;
                // Whoever was ended may be told so by an error.
                let _ = stream.write(b"x");
            }
        }
        thread::sleep(PAUSE);
    }
    assert!(federation.nodes[0].status().is_ok());
}

fn begin(federation: &Federation, kind: Kind, function: &str) -> TcpStream {
    let mut stream = connect(federation);
    let request = [&head(function, 1000)[..], b"some"].concat();
    let whole = [&head(function, 5)[..], b"hello"].concat();
    match kind {
        Kind::Silent => {}
        Kind::StuckHead => stream.write_all(&request[..20]).unwrap(),
        Kind::StuckSecondHead => {
            ask(&mut stream, &whole);
            stream.write_all(&request[..20]).unwrap();
        }
        Kind::StuckBody | Kind::SlowBody => stream.write_all(&request).unwrap(),
        Kind::StuckReader => {
            let request = format!("GET /function/{function}?size={LARGE_BYTES} HTTP/1.1\r\nHost: x\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
        }
        Kind::Idle => ask(&mut stream, &whole),
    }
    stream
}

fn ask(stream: &mut TcpStream, request: &[u8]) {
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        let mut bytes = [0; 1024];
        let read = stream.read(&mut bytes).unwrap();
        assert_ne!(read, 0, "{}", answer.escape_ascii());
        answer.extend_from_slice(&bytes[..read]);
    }
}

fn connect(federation: &Federation) -> TcpStream {
    let server = federation.nodes[0].service();
    let stream = federation
        .client
        .on_thread(|| TcpStream::connect(server))
        .unwrap()
        .unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn head(function: &str, length: usize) -> Vec<u8> {
    format!("POST /function/{function} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}
