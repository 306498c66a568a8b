//! A node with many live connections.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use dfaas_testbed::{Namespace, Network, get, now, wait_until};
use serde_json::{Value, json};

use crate::{
    hold,
    kernel::flow_bytes,
    machine::connections_a_process,
    ports::{CLIENT, FIRST, SERVICE},
    site::{agent, shared_backend},
};

use super::{PLENTY_RPS, TIMEOUT, cpu_permille, rate, resident_mib};

/// An address has fewer ports than the most connections.
const SOURCES: [u8; 3] = [110, 111, 112];
const PORTS: &str = "1100 65000";
/// Connections of a holder: more processes are quicker to open them.
const HELD_MAX: usize = 25_000;

/// A node with so many connections that are kept and idle.
///
/// # Errors
///
/// When something does not work, or a connection is lost.
pub(super) fn with_flows(flows: usize) -> Result<Value> {
    let network = Network::new()?;
    let node = network.add_host("node1", FIRST)?;
    let client = network.add_host("client", CLIENT)?;
    for source in SOURCES {
        client.ip(&format!("address add {}/24 dev eth0\n", Network::address(source)))?;
    }
    client.on_thread(|| fs::write("/proc/sys/net/ipv4/ip_local_port_range", PORTS))??;
    let a_process = connections_a_process().min(HELD_MAX);
    let processes = flows.div_ceil(a_process);
    // One more, for what comes on top of them.
    let _backend = shared_backend(&node, &[format!("near-64={PLENTY_RPS}")], processes + 1)?;
    let agent = agent(&node, FIRST)?;
    let server = SocketAddr::from((Network::address(FIRST), SERVICE));
    let path = "/function/near-64";
    let serves = || get(&client, server, path).is_ok_and(|answer| answer.is_ok());
    wait_until("the node serves", TIMEOUT, serves).with_context(|| agent.log_tail(5))?;

    let (mut holders, mut left, mut opening) = (Vec::new(), flows, Duration::ZERO);
    for number in 0..processes {
        let source = SOURCES[number % SOURCES.len()];
        let held = left.div_ceil(processes - number);
        let begun = now();
        holders.push(Holder::start(&client, source, server, path, held)?);
        opening += begun.elapsed();
        left -= held;
    }
    let rps = rate(&client, server, path)?;
    let cpu_permille = cpu_permille(agent.pid())?;
    // All of them still work: none was dropped for another.
    for holder in &mut holders {
        holder.check()?;
    }
    Ok(json!({
        "flows": flows,
        "rps": rps.round(),
        "opened_per_second": (flows as f64 / opening.as_secs_f64()).round(),
        "map_bytes_per_flow": flow_bytes(agent.pid())?.round(),
        "agent_resident_mib": resident_mib(agent.pid())?,
        "agent_cpu_permille": cpu_permille,
    }))
}

/// A process that keeps connections: one alone may not have as many files.
#[derive(Debug)]
struct Holder {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Holder {
    /// Returns when all connections are there and used.
    fn start(client: &Namespace, source: u8, server: SocketAddr, path: &str, held: usize) -> Result<Self> {
        let this = std::env::current_exe().context("finding this program")?;
        let mut command = client.command(this);
        command.arg("hold").args(["--server", &server.to_string()]);
        command.args(["--source", &Network::address(source).to_string()]);
        command.args(["--path", path, "--connections", &held.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = client.start(&mut command)?;
        let stdin = child.stdin.take().context("a holder has an input")?;
        let stdout = child.stdout.take().context("a holder has an output")?;
        let mut holder = Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        };
        holder.wait()?;
        Ok(holder)
    }

    /// Some of the connections are used again.
    fn check(&mut self) -> Result<()> {
        self.stdin.write_all(b"\n")?;
        self.wait()
    }

    fn wait(&mut self) -> Result<()> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        ensure!(line == hold::DONE, "a holder of connections has ended");
        Ok(())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Nothing is lost with it: its connections are what it is for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
