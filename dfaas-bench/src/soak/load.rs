//! All kinds of clients at the same time.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    sync::atomic::AtomicBool,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use dfaas_testbed::{Namespace, Siege, Toll, Wire, now};
use rustix::net::sockopt::set_socket_linger;

use super::{ACCOUNTED, NOISE};

const UPLOAD_BYTES: usize = 200_000;
const DOWNLOAD_BYTES: usize = 500_000;
/// How many requests come at once.
const PIPELINED: usize = 6;
const PAUSE: Duration = Duration::from_millis(5);
/// Slow clients send a byte so often.
const SLOW_PAUSE: Duration = Duration::from_millis(300);
const SLOW: usize = 10;

/// Loads a server from a namespace, and returns what became of the requests that are accounted for.
///
/// # Errors
///
/// When a generator goes wrong.
pub(super) fn run(from: &Namespace, server: SocketAddr, time: Duration, stop: &AtomicBool) -> Result<Toll> {
    let end = now() + time;
    let sieges = sieges(server, time);
    thread::scope(|scope| {
        let mut accounted: Vec<_> = sieges
            .iter()
            .map(|siege| scope.spawn(|| siege.run(from, stop)))
            .collect();
        accounted.push(scope.spawn(|| pipeline(from, server, end)));
        let noise = [
            scope.spawn(|| reset(from, server, end)),
            scope.spawn(|| be_slow(from, server, end)),
        ];
        let mut toll = Toll::default();
        for load in accounted {
            toll.add(load.join().map_err(|_| anyhow!("a load panicked"))??);
        }
        for load in noise {
            load.join().map_err(|_| anyhow!("noise panicked"))??;
        }
        Ok(toll)
    })
}

fn sieges(server: SocketAddr, at_most: Duration) -> Vec<Siege> {
    let chunked = format!(
        "POST /function/{ACCOUNTED} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    );
    let download = format!("GET /function/{ACCOUNTED}?size={DOWNLOAD_BYTES} HTTP/1.1\r\nHost: x\r\n\r\n");
    let siege = |request: Vec<u8>, method, connections, requests_a_connection| Siege {
        server,
        sources: Vec::new(),
        requests: vec![request],
        method,
        connections,
        requests_a_connection,
        at_most,
    };
    vec![
        siege(post(ACCOUNTED, 5), "POST", 4, 10_000),
        siege(post(ACCOUNTED, 5), "POST", 4, 1),
        siege(post(ACCOUNTED, UPLOAD_BYTES), "POST", 2, 20),
        siege(download.into_bytes(), "GET", 2, 20),
        siege(chunked.into_bytes(), "POST", 2, 10),
    ]
}

fn post(function: &str, bytes: usize) -> Vec<u8> {
    let head = format!("POST /function/{function} HTTP/1.1\r\nHost: x\r\nContent-Length: {bytes}\r\n\r\n");
    [head.as_bytes(), &vec![b'x'; bytes]].concat()
}

/// Sends several requests at once.
fn pipeline(from: &Namespace, server: SocketAddr, end: Instant) -> Result<Toll> {
    from.enter_network()?;
    let mut toll = Toll::default();
    let begun = now();
    while now() < end {
        toll.requests += PIPELINED as u64;
        let mut answered = 0;
        let mut ask = || -> Result<()> {
            let mut wire = Wire::new(TcpStream::connect(server)?)?;
            wire.send(&post(ACCOUNTED, 5).repeat(PIPELINED))?;
            for _ in 0..PIPELINED {
                let response = wire.response("POST")?;
                let key = (response.status, response.served_by().map(str::to_owned));
                *toll.answers.entry(key).or_default() += 1;
                answered += 1;
            }
            Ok(())
        };
        if let Err(error) = ask() {
            let reason = format!("pipelined: {}", error.root_cause());
            *toll.faults.entry(reason).or_default() += (PIPELINED - answered) as u64;
        }
        thread::sleep(PAUSE);
    }
    toll.took = begun.elapsed();
    Ok(toll)
}

/// Resets connections anywhere in a request or before its answer.
fn reset(from: &Namespace, server: SocketAddr, end: Instant) -> Result<()> {
    from.enter_network()?;
    let request = post(NOISE, 1000);
    for number in 0.. {
        if now() >= end {
            break;
        }
        // While a program is restarted, nobody may be there.
        if let Ok(mut stream) = TcpStream::connect(server) {
            let part = 1 + number * 37 % request.len();
            let _gone = stream.write_all(&request[..part]);
            set_socket_linger(&stream, Some(Duration::ZERO))?;
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Sends heads and bodies byte by byte, and reads nothing.
fn be_slow(from: &Namespace, server: SocketAddr, end: Instant) -> Result<()> {
    from.enter_network()?;
    let request = post(NOISE, 1000);
    let head_bytes = request.len() - 1000;
    let mut slow = Vec::new();
    for number in 0..SLOW {
        let Ok(mut stream) = TcpStream::connect(server) else {
            continue;
        };
        let begun = if number % 2 == 0 { 0 } else { head_bytes };
        let _gone = stream.write_all(&request[..begun]);
        slow.push((stream, begun));
    }
    while now() < end {
        for (stream, sent) in &mut slow {
            // Whoever was ended may be told so by an error.
            let _gone = stream.write(&request[*sent..=*sent]);
            *sent = (*sent + 1) % request.len();
        }
        thread::sleep(SLOW_PAUSE);
    }
    Ok(())
}
