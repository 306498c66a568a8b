//! Faults of a node under load: what users lose by each, and for how long.

use std::{process::ExitCode, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use dfaas_testbed::{
    Connections, Federation, Function, Load, Node, NodeSpec, Outcome, Running, Sample, binary, now,
    wait_until,
};
use serde::Serialize;

use crate::{demo, setup, shell};

/// How many requests a second node 1 is sent: half of them on connections of their own, half on kept ones.
const RATE_RPS: u32 = 200;
/// More than is sent.
const CAPACITY_RPS: u32 = 1_000_000;
const FUNCTION: &str = "near";
/// How long all is well before, and what is waited for afterwards.
const AROUND: Duration = Duration::from_secs(3);
const BACK: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the rows as one JSON array on the last line
    #[arg(long)]
    json: bool,
    /// For how many seconds there is no agent after it was killed
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    away: u64,
    /// Only rows whose names have this in them
    #[arg(long, value_name = "TEXT", default_value = "")]
    row: String,
}

/// What happens to a node, and whether it may cost requests.
struct Fault {
    name: &'static str,
    is_free: bool,
    /// More arguments for the agent of before, and for the one after it.
    arguments: [&'static [&'static str]; 2],
    deed: fn(&mut Node, Duration) -> Result<()>,
}

const FAULTS: [Fault; 7] = [
    Fault {
        name: "agent killed",
        is_free: true,
        arguments: [&[]; 2],
        deed: kill,
    },
    Fault {
        name: "agent killed, nothing pinned",
        is_free: false,
        arguments: [&["--pins=off"]; 2],
        deed: kill,
    },
    Fault {
        name: "upgrade, same layout",
        is_free: true,
        arguments: [&[]; 2],
        deed: replace,
    },
    Fault {
        name: "upgrade, other layout",
        is_free: false,
        arguments: [&[], &["--flows-max=65536"]],
        deed: replace,
    },
    Fault {
        name: "agent stopped and started",
        is_free: false,
        arguments: [&[]; 2],
        deed: |node, _| {
            node.stop_agent()?;
            node.start_agent()
        },
    },
    Fault {
        name: "HAProxy killed",
        is_free: true,
        arguments: [&[]; 2],
        deed: |node, _| {
            let ended = node.namespace().output("pkill", &["-KILL", "haproxy"])?;
            ensure!(ended.status.success(), "no HAProxy runs");
            Ok(())
        },
    },
    Fault {
        name: "provider killed and started",
        is_free: false,
        arguments: [&[]; 2],
        deed: |node, _| {
            node.kill_provider();
            node.start_provider()
        },
    },
];

/// Kills the agent, and starts the next one after a while.
fn kill(node: &mut Node, away: Duration) -> Result<()> {
    node.kill_agent();
    thread::sleep(away);
    node.start_agent()
}

/// What became of requests.
#[derive(Debug, Serialize)]
struct Row {
    fault: &'static str,
    sent: usize,
    /// With 200.
    answered: usize,
    /// All others: refused, reset, or without an answer for five seconds.
    lost: usize,
    /// From the fault until the last lost request was sent, in milliseconds.
    recovered_ms: u128,
    slowest_ms: u128,
    is_free: bool,
}

/// Tries each fault on a federation of its own. A row that was to cost nothing and did makes the exit code.
///
/// # Errors
///
/// When something is missing or a program does not do its work.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    shell::need_root("chaos")?;
    setup::tools()?;
    demo::build_programs()?;
    let mut rows = Vec::new();
    for fault in FAULTS.iter().filter(|fault| fault.name.contains(&args.row)) {
        let row = fault
            .commit(Duration::from_secs(args.away))
            .with_context(|| fault.name)?;
        println!(
            "{:<30} sent {:>5}  answered {:>5}  lost {:>4}  recovered after {:>6} ms  slowest {:>5} ms",
            row.fault, row.sent, row.answered, row.lost, row.recovered_ms, row.slowest_ms
        );
        rows.push(row);
    }
    if args.json {
        println!("{}", serde_json::to_string(&rows)?);
    }
    let is_well = !rows.is_empty() && rows.iter().all(|row| !row.is_free || row.lost == 0);
    Ok(if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Fault {
    fn commit(&self, away: Duration) -> Result<Row> {
        let specs =
            [FUNCTION, "far"].map(|name| NodeSpec::new(vec![Function::echo(CAPACITY_RPS).named(name)]));
        let [one, two] = specs;
        let mut federation = Federation::start(&[with(&one, self.arguments[0]), two])?;
        let loads = [Connections::OnePerRequest, Connections::KeepAlive].map(|connections| {
            let mut load = Load::new(federation.nodes[0].service(), FUNCTION, RATE_RPS / 2);
            load.connections = connections;
            load.start(&federation.client)
        });
        let begun = now();
        thread::sleep(AROUND);
        let at = begun.elapsed();
        let node = &mut federation.nodes[0];
        node.set_spec(with(&one, self.arguments[1]));
        (self.deed)(node, away)?;
        let is_back = || {
            node.status()
                .is_ok_and(|status| status.peers_with_functions() == 1)
        };
        wait_until("the node is back", BACK, is_back).with_context(|| node.logs())?;
        thread::sleep(AROUND);
        let mut samples = Vec::new();
        for load in loads {
            samples.extend(load.and_then(Running::stop)?);
        }
        Ok(self.row(&samples, at))
    }

    fn row(&self, samples: &[Sample], at: Duration) -> Row {
        let is_answered = |sample: &&Sample| matches!(sample.outcome, Outcome::Answered { status: 200, .. });
        let lost: Vec<&Sample> = samples.iter().filter(|sample| !is_answered(sample)).collect();
        let last = lost.iter().map(|sample| sample.sent.saturating_sub(at)).max();
        let slowest = samples
            .iter()
            .filter(is_answered)
            .map(|sample| sample.latency)
            .max();
        Row {
            fault: self.name,
            sent: samples.len(),
            answered: samples.len() - lost.len(),
            lost: lost.len(),
            recovered_ms: last.unwrap_or_default().as_millis(),
            slowest_ms: slowest.unwrap_or_default().as_millis(),
            is_free: self.is_free,
        }
    }
}

fn with(spec: &NodeSpec, arguments: &[&str]) -> NodeSpec {
    NodeSpec {
        agent_arguments: arguments.iter().map(ToString::to_string).collect(),
        ..spec.clone()
    }
}

/// Puts another agent in the place of one.
fn replace(node: &mut Node, _: Duration) -> Result<()> {
    let program = binary("dfaas-agent")?;
    let program = program.to_str().context("the path of dfaas-agent is no text")?;
    let arguments = ["stop", "--keep", "--state-dir", "/run/agent"];
    let ended = node.namespace().output(program, &arguments)?;
    ensure!(
        ended.status.success(),
        "stop --keep: {}",
        String::from_utf8_lossy(&ended.stderr)
    );
    node.start_agent()
}
