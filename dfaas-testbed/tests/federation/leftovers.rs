//! Nothing is left in the kernel of connections that have ended, however they did.

use std::{
    io::Read as _,
    net::{Shutdown, SocketAddr},
    thread,
    time::Duration,
};

use anyhow::Result;
use dfaas_testbed::{Federation, Function, Namespace, NodeSpec, Wire, wait_until};
use rustix::net::sockopt::set_socket_linger;

use crate::kit::{FLOW_MAPS, PLENTY_RPS, left, turn};

const CONNECTIONS: usize = 10_000;
const THREADS: usize = 8;
/// How long a connection that has ended may be remembered.
const FORGOTTEN: Duration = Duration::from_secs(10);
const FUNCTIONS: [&str; 2] = ["near", "far"];

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The client closes it after some answers.
    Client,
    /// The server closes it, as it was asked to.
    Server,
    /// The client closes one half behind its last request.
    Half,
    /// The client resets it after some answers.
    Reset,
    /// The client resets it within the head of a request, the first one or a later one.
    ResetWithin,
    /// The client closes it without waiting for the answer.
    Gone,
    /// The client sends many requests at once and resets the connection after some answers, or none.
    ManyAtOnce,
    /// The client never asks.
    Silent,
}

const ENDS: [End; 8] = [
    End::Client,
    End::Server,
    End::Half,
    End::Reset,
    End::ResetWithin,
    End::Gone,
    End::ManyAtOnce,
    End::Silent,
];

#[test]
fn connections_that_ended_leave_nothing() {
    let _turn = turn();
    let nodes = FUNCTIONS.map(|name| NodeSpec::new(vec![Function::echo(PLENTY_RPS).named(name)]));
    let federation = Federation::start(&nodes).unwrap();
    let server = federation.nodes[0].service();
    // What is there while a connection lives is seen to be there.
    let mut wire = Wire::connect(&federation.client, server).unwrap();
    for number in 0..2 {
        wire.ask(&request(number, "keep-alive"), "POST").unwrap();
        assert!(left(&federation) > 0, "{FLOW_MAPS:?} are empty");
    }
    drop(wire);
    let mut faults = Vec::new();
    for end in ENDS {
        use_many(&federation.client, server, end);
        let forgotten = wait_until("all forgotten", FORGOTTEN, || left(&federation) == 0);
        match forgotten {
            Ok(took) => println!("{end:?}: forgotten within {took:?}"),
            Err(_) => faults.push(format!("{end:?}: {} entries left", left(&federation))),
        }
    }
    assert!(faults.is_empty(), "{faults:?}");
}

/// Opens, uses and ends its share of all connections.
fn use_many(from: &Namespace, server: SocketAddr, end: End) {
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let each = CONNECTIONS / ENDS.len() / THREADS + 1;
                let use_each = || (0..each).try_for_each(|number| use_one(server, end, number));
                from.on_thread(use_each).unwrap().unwrap();
            });
        }
    });
}

fn use_one(server: SocketAddr, end: End, number: usize) -> Result<()> {
    let mut wire = Wire::new(std::net::TcpStream::connect(server)?)?;
    let ask = |wire: &mut Wire, times: usize| {
        (number..number + times)
            .try_for_each(|number| wire.ask(&request(number, "keep-alive"), "POST").map(drop))
    };
    match end {
        End::Client => ask(&mut wire, number % 5)?,
        End::Server => {
            ask(&mut wire, number % 3)?;
            wire.ask(&request(number, "close"), "POST")?;
            wire.end()?;
        }
        End::Half => {
            wire.send(&request(number, "keep-alive"))?;
            wire.stream().shutdown(Shutdown::Write)?;
            // Whether half a connection is worth an answer is for the server to say.
            let _ = wire.stream().read_to_end(&mut Vec::new());
        }
        End::Reset => {
            ask(&mut wire, 1 + number % 5)?;
            set_socket_linger(wire.stream(), Some(Duration::ZERO))?;
        }
        End::ResetWithin => {
            ask(&mut wire, number % 3)?;
            let request = request(number, "keep-alive");
            wire.send(&request[..1 + number % (request.len() - 1)])?;
            set_socket_linger(wire.stream(), Some(Duration::ZERO))?;
        }
        End::Gone => wire.send(&request(number, "keep-alive"))?,
        End::ManyAtOnce => {
            let requests = (number..number + 8).flat_map(|number| request(number, "keep-alive"));
            wire.send(&requests.collect::<Vec<_>>())?;
            (0..number % 4).try_for_each(|_| wire.response("POST").map(drop))?;
            set_socket_linger(wire.stream(), Some(Duration::ZERO))?;
        }
        End::Silent => {}
    }
    Ok(())
}

fn request(number: usize, connection: &str) -> Vec<u8> {
    let function = FUNCTIONS[number % FUNCTIONS.len()];
    format!(
        "POST /function/{function} HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\nContent-Length: 5\r\n\r\nhello"
    )
    .into_bytes()
}
