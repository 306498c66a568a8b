//! Attacks and overload: what hostile, broken and too many clients can do to a node, and what others notice of it.

mod flood;
mod full;
mod guard;
mod limits;
mod malformed;
mod slow;

use std::{
    sync::OnceLock,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use dfaas_testbed::{Federation, Function, Node, NodeSpec, Wire, wait_until};

use crate::kit::PLENTY_RPS;

/// A function of node 1, and one of node 2.
const FUNCTIONS: [&str; 2] = ["near", "far"];
/// How long it may take until a connection that has ended is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// Two nodes, each with a function of its own; `change` says what is special about them.
fn two(change: impl Fn(&mut NodeSpec)) -> Federation {
    let nodes = FUNCTIONS.map(|name| {
        let mut spec = NodeSpec::new(vec![Function::echo(PLENTY_RPS).named(name)]);
        change(&mut spec);
        spec
    });
    Federation::start(&nodes).unwrap()
}

/// Two nodes that are attacked by many tests, and end with the test program.
fn plain() -> &'static Federation {
    static PLAIN: OnceLock<Federation> = OnceLock::new();
    PLAIN.get_or_init(|| two(|_| {}))
}

/// Connections that are in use for as long as this lives, and that nobody else may disturb.
struct Honest<'a> {
    federation: &'a Federation,
    kept: Vec<Wire>,
}

impl<'a> Honest<'a> {
    fn new(federation: &'a Federation, connections: usize) -> Self {
        let connect = |_| Wire::connect(&federation.client, federation.nodes[0].service()).unwrap();
        Self {
            federation,
            kept: (0..connections).map(connect).collect(),
        }
    }

    /// Uses each connection, and a new one, for both functions.
    fn ask(&mut self) -> Result<()> {
        for (number, wire) in self.kept.iter_mut().enumerate() {
            ask(wire, number, "keep-alive").with_context(|| format!("on kept connection {number}"))?;
        }
        for number in 0..FUNCTIONS.len() {
            let mut wire = Wire::connect(&self.federation.client, self.federation.nodes[0].service())?;
            ask(&mut wire, number, "close").context("on a new connection")?;
        }
        Ok(())
    }

    /// Goes on asking while something else happens. Returns how many rounds there were.
    fn ask_while(&mut self, attack: impl FnOnce() + Send) -> usize {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let attacker = scope.spawn(|| {
                attack();
                is_over.store(true, Ordering::Relaxed);
            });
            let mut rounds = 0;
            while !is_over.load(Ordering::Relaxed) && !attacker.is_finished() {
                let asked = self.ask();
                asked.unwrap_or_else(|error| panic!("{error:#}{}", self.federation.logs()));
                rounds += 1;
            }
            attacker.join().unwrap();
            rounds
        })
    }

    /// How many entries node 1 has for these connections.
    fn entries(&self) -> usize {
        self.kept.len()
    }
}

fn ask(wire: &mut Wire, number: usize, connection: &str) -> Result<()> {
    let function = FUNCTIONS[number % FUNCTIONS.len()];
    let request = format!(
        "POST /function/{function} HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\nContent-Length: 5\r\n\r\nhello"
    );
    let response = wire.ask(request.as_bytes(), "POST")?;
    ensure!(
        response.status == 200 && response.body == b"hello",
        "{response:?}"
    );
    Ok(())
}

/// Waits until the first node knows so many clients' connections.
#[track_caller]
fn wait_for_clients(node: &Node, want: usize) {
    let clients = || node.map_entries(&["CLIENTS"]).unwrap()["CLIENTS"];
    let waited = wait_until(&format!("{want} clients"), FORGOTTEN, || clients() == want);
    waited.unwrap_or_else(|error| panic!("{error}; there are {}", clients()));
}

/// How often something happened on a node.
fn event(node: &Node, name: &str) -> u64 {
    node.status().unwrap().0["totals"]["events"][name]
        .as_u64()
        .unwrap_or(0)
}
