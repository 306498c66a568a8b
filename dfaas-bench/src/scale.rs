//! What many peers, functions and live connections cost: none of them may slow down a packet.

mod peers;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::AtomicBool,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use dfaas_testbed::{Federation, Function, Namespace, Network, NodeSpec, Siege, Wire, get, now, wait_until};
use rustix::{
    net::{AddressFamily, SocketType, bind, connect, socket},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use serde_json::{Value, json};

use crate::{
    kernel::flow_bytes,
    machine,
    ports::{CLIENT, FIRST, SERVICE},
    site::{agent, backend},
};

const FLOWS: [usize; 3] = [1_000, 10_000, 100_000];
const FUNCTIONS: [usize; 3] = [10, 1_000, 10_000];
/// The last are more than a node knows.
const PEERS: [usize; 4] = [3, 100, 256, 1_000];
/// What no load comes near, in requests a second.
const PLENTY_RPS: u32 = 10_000_000;
const TIMEOUT: Duration = Duration::from_secs(120);
const LOAD: Duration = Duration::from_secs(3);
const CONNECTIONS: usize = 16;
/// For as long the agent is watched: two walks of the tables, and some rounds.
const WATCHED: Duration = Duration::from_secs(10);
/// An address has fewer ports than the most connections.
const SOURCES: [u8; 3] = [110, 111, 112];
const OPENERS: usize = 8;
const DESCRIPTORS: u64 = 300_000;
/// Besides those of connections.
const OTHER_DESCRIPTORS: usize = 1_000;
const PORTS: &str = "1100 65000";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object a measurement, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

/// Measures, and tells.
///
/// # Errors
///
/// When something does not work, or a connection or a function is lost.
pub(crate) fn run(args: &Args) -> Result<()> {
    let flows_max = raise_file_limit();
    for peers in PEERS {
        tell(
            args,
            &peers::with_peers(peers).with_context(|| format!("{peers} peers"))?,
        );
    }
    let mut sizes = FLOWS.map(|flows| flows.min(flows_max)).to_vec();
    sizes.dedup();
    for flows in sizes {
        tell(
            args,
            &with_flows(flows).with_context(|| format!("{flows} flows"))?,
        );
    }
    for functions in FUNCTIONS {
        tell(
            args,
            &with_functions(functions).with_context(|| format!("{functions} functions"))?,
        );
    }
    Ok(())
}

/// Returns how many connections a process may have: not everybody may raise the limit.
fn raise_file_limit() -> usize {
    let wanted = |maximum| Rlimit {
        current: maximum,
        maximum,
    };
    if setrlimit(Resource::Nofile, wanted(Some(DESCRIPTORS))).is_err() {
        let allowed = getrlimit(Resource::Nofile).maximum;
        // What was allowed before stays allowed.
        let _refused = setrlimit(Resource::Nofile, wanted(allowed));
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(DESCRIPTORS);
    usize::try_from(limit).map_or(usize::MAX, |limit| limit.saturating_sub(OTHER_DESCRIPTORS))
}

#[expect(clippy::print_stdout, reason = "it tells the user what it measured")]
fn tell(args: &Args, measured: &Value) {
    if args.json {
        println!("{measured}");
        return;
    }
    let fields = measured.as_object().into_iter().flatten();
    let words: Vec<String> = fields.map(|(name, value)| format!("{name} {value}")).collect();
    println!("{}", words.join(", "));
}

/// A node with so many connections that are kept and idle.
fn with_flows(flows: usize) -> Result<Value> {
    let network = Network::new()?;
    let node = network.add_host("node1", FIRST)?;
    let client = network.add_host("client", CLIENT)?;
    for source in SOURCES {
        client.ip(&format!("address add {}/24 dev eth0\n", Network::address(source)))?;
    }
    client.on_thread(|| fs::write("/proc/sys/net/ipv4/ip_local_port_range", PORTS))??;
    let backend = backend(&node, &[format!("near-64={PLENTY_RPS}")])?;
    let agent = agent(&node, FIRST)?;
    let server = SocketAddr::from((Network::address(FIRST), SERVICE));
    let path = "/function/near-64";
    let serves = || get(&client, server, path).is_ok_and(|answer| answer.is_ok());
    wait_until("the node serves", TIMEOUT, serves).with_context(|| agent.log_tail(5))?;

    let begun = now();
    let mut kept = open(&client, server, path, flows)?;
    let opened = begun.elapsed();
    let rps = rate(&client, server, path)?;
    let cpu_permille = cpu_permille(agent.pid())?;
    // All of them still work: none was dropped for another.
    for wire in kept.iter_mut().step_by(flows / 100) {
        ensure!(wire.ask(&request(path), "GET")?.status == 200);
    }
    let measured = json!({
        "flows": flows,
        "rps": rps.round(),
        "opened_per_second": (flows as f64 / opened.as_secs_f64()).round(),
        "map_bytes_per_flow": flow_bytes(agent.pid())?.round(),
        "agent_resident_mib": resident_mib(agent.pid())?,
        "backend_resident_mib": resident_mib(backend.pid())?,
        "agent_cpu_permille": cpu_permille,
    });
    Ok(measured)
}

/// Opens connections from all addresses of the client, and uses each once.
fn open(client: &Namespace, server: SocketAddr, path: &str, flows: usize) -> Result<Vec<Wire>> {
    let open = |opener: usize| -> Result<Vec<Wire>> {
        client.enter_network()?;
        let mut opened = Vec::new();
        for number in (opener..flows).step_by(OPENERS) {
            let source = Network::address(SOURCES[number % SOURCES.len()]);
            let mut wire = connect_from(source, server)?;
            let response = wire.ask(&request(path), "GET")?;
            ensure!(response.status == 200, "{response:?}");
            opened.push(wire);
        }
        Ok(opened)
    };
    thread::scope(|scope| {
        let openers: Vec<_> = (0..OPENERS)
            .map(|opener| scope.spawn(move || open(opener)))
            .collect();
        let mut all = Vec::new();
        for opener in openers {
            all.extend(opener.join().map_err(|_| anyhow!("an opener panicked"))??);
        }
        Ok(all)
    })
}

fn connect_from(source: Ipv4Addr, server: SocketAddr) -> Result<Wire> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::from((source, 0))).context("taking a port")?;
    connect(&socket, &server)?;
    Wire::new(TcpStream::from(socket))
}

/// A node that offers so many functions.
fn with_functions(functions: usize) -> Result<Value> {
    let offered = (0..functions).map(|number| Function::echo(PLENTY_RPS).named(&format!("near{number}")));
    let mut federation = Federation::unformed(&[NodeSpec::new(offered.collect())])?;
    let begun = federation.start_agents()?;
    let node = &federation.nodes[0];
    // The last one that is written into the maps.
    let path = format!("/function/near{}", functions - 1);
    let path = path.as_str();
    let serves = || get(&federation.client, node.service(), path).is_ok_and(|answer| answer.is_ok());
    wait_until("the last function is served", TIMEOUT, serves).with_context(|| node.logs())?;
    let served = begun.elapsed();
    let rps = rate(&federation.client, node.service(), path)?;
    let pid = node.agent_pid().context("an agent runs")?;
    let cpu_permille = cpu_permille(pid)?;
    Ok(json!({
        "functions": functions,
        "rps": rps.round(),
        "start_to_last_function_ms": served.as_millis(),
        "agent_resident_mib": resident_mib(pid)?,
        "agent_cpu_permille": cpu_permille,
    }))
}

fn rate(client: &Namespace, server: SocketAddr, path: &str) -> Result<f64> {
    let siege = Siege {
        server,
        requests: vec![request(path)],
        method: "GET",
        connections: CONNECTIONS,
        requests_a_connection: u64::MAX,
        at_most: LOAD,
    };
    let toll = siege.run(client, &AtomicBool::new(false))?;
    ensure!(toll.refused() + toll.lost() == 0, "{toll:?}");
    Ok(toll.rate_rps())
}

fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()
}

fn cpu_permille(pid: u32) -> Result<f64> {
    let before = machine::process_us(pid)?;
    let watched = now();
    thread::sleep(WATCHED);
    let spent_us = machine::process_us(pid)? - before;
    let permille = spent_us as f64 / watched.elapsed().as_micros() as f64 * 1000.0;
    Ok(permille.round())
}

fn resident_mib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|text| text.split_whitespace().next());
    Ok(resident.context("a process tells its memory")?.parse::<u64>()? / 1024)
}
