//! What many peers, functions and live connections cost: none of them may slow down a packet.

mod flows;
mod peers;
mod script;

use std::{collections::BTreeMap, fs, net::SocketAddr, sync::atomic::AtomicBool, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use dfaas_control::{FunctionName, FunctionSpec, Input};
use dfaas_testbed::{Federation, Function, Namespace, NodeSpec, Siege, get, now, wait_until};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use self::script::Script;
use crate::machine;

const FLOWS: [usize; 3] = [1_000, 10_000, 100_000];
const FUNCTIONS: [usize; 3] = [10, 1_000, 10_000];
/// The last are as many as a node knows.
const PEERS: [usize; 4] = [3, 100, 256, 1_000];
/// What no load comes near, in requests a second.
const PLENTY_RPS: u32 = 10_000_000;
const TIMEOUT: Duration = Duration::from_secs(120);
const LOAD: Duration = Duration::from_secs(3);
const CONNECTIONS: usize = 16;
/// For as long the agent is watched: two walks of the tables, and some rounds.
const WATCHED: Duration = Duration::from_secs(10);
/// How often all functions are written.
const ROUNDS: u32 = 5;
const DESCRIPTORS: u64 = 300_000;

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
    raise_file_limit();
    for peers in PEERS {
        tell(
            args,
            &peers::with_peers(peers).with_context(|| format!("{peers} peers"))?,
        );
    }
    for flows in FLOWS {
        tell(
            args,
            &flows::with_flows(flows).with_context(|| format!("{flows} flows"))?,
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

/// Not everybody may raise the limit, so this is not all that is needed.
fn raise_file_limit() {
    let wanted = |maximum| Rlimit {
        current: maximum,
        maximum,
    };
    if setrlimit(Resource::Nofile, wanted(Some(DESCRIPTORS))).is_err() {
        let allowed = getrlimit(Resource::Nofile).maximum;
        // What was allowed before stays allowed.
        let _refused = setrlimit(Resource::Nofile, wanted(allowed));
    }
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
    let (_, write_all_ms) = write_functions(functions)?;
    Ok(json!({
        "functions": functions,
        "rps": rps.round(),
        "start_to_last_function_ms": served.as_millis(),
        "write_all_ms": write_all_ms,
        "agent_resident_mib": resident_mib(pid)?,
        "agent_cpu_permille": cpu_permille,
    }))
}

/// What it takes to write all functions into the maps when each is of another capacity than before.
fn write_functions(functions: usize) -> Result<(f64, f64)> {
    let begun = now();
    let mut script = Script::new(&peers::settings(0)?, begun)?;
    for round in 1..=ROUNDS {
        let spec = FunctionSpec {
            capacity_rps: f64::from(10 * round),
        };
        let names = (0..functions).map(|number| FunctionName::new(format!("near{number}")));
        let offered: Option<BTreeMap<_, _>> = names.map(|name| Some((name.ok()?, spec))).collect();
        let at = begun + Duration::from_secs(round.into());
        script.note_input(at, &Input::Functions(offered.context("names of ours")?))?;
        script.note_timeout(at)?;
    }
    script.written_ms()
}

fn rate(client: &Namespace, server: SocketAddr, path: &str) -> Result<f64> {
    let siege = Siege {
        server,
        sources: Vec::new(),
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
