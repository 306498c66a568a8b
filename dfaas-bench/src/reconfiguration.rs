//! Everything is changed ten times a second while requests come: our data plane beside HAProxy, which is reloaded.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use dfaas_testbed::{
    Adviser, Federation, Function, Namespace, Network, Node, NodeSpec, Process, Siege, Toll,
    changing_adviser, get, wait_until,
};
use rustix::process::Signal;

/// How often everything is to be changed.
const PERIOD: Duration = Duration::from_millis(100);
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// What no load comes near, in requests a second.
const PLENTY_RPS: u32 = 1_000_000;
const FUNCTION: &str = "shared";
const HAPROXY_PORT: u16 = 8000;
const CONFIGURATION: &str = "/run/reloaded.cfg";
/// Connections that are kept, and those of one request each.
const KEPT: usize = 16;
const SINGLE: usize = 8;
/// The client's addresses, and the ports of each: a minute of connections of one request takes more than one has, for each
/// waits a minute until its port is free again.
const SOURCES: [u8; 8] = [110, 111, 112, 113, 114, 115, 116, 117];
const PORTS: &str = "1100 65000";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many seconds each contender is under load
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Print one JSON object a contender, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

/// One line of the table.
#[derive(Debug)]
struct Row {
    name: &'static str,
    changes: u64,
    toll: Toll,
}

/// Measures, and tells.
///
/// # Errors
///
/// When something does not work, or our data plane fails a request.
pub(crate) fn run(args: &Args) -> Result<()> {
    let time = Duration::from_secs(args.seconds);
    let (federation, advisers) = start(&[FUNCTION], PERIOD, &[], &[])?;
    for source in SOURCES {
        let address = Network::address(source);
        federation
            .client
            .ip(&format!("address add {address}/24 dev eth0\n"))?;
    }
    federation
        .client
        .on_thread(|| fs::write("/proc/sys/net/ipv4/ip_local_port_range", PORTS))??;
    let before = advisers[0].answered();
    let server = federation.nodes[0].service();
    let toll = besiege(&federation.client, server, time)?;
    let mut rows = vec![Row {
        name: "dfaas, all changed",
        changes: advisers[0].answered() - before,
        toll,
    }];
    for (name, is_reloaded) in [("HAProxy, left alone", false), ("HAProxy, reloaded", true)] {
        rows.push(haproxy(&federation, name, is_reloaded, time)?);
    }
    tell(args, &rows);
    let ours = &rows[0].toll;
    ensure!(
        ours.refused() + ours.lost() == 0,
        "dfaas failed requests: {ours:?}"
    );
    Ok(())
}

fn tell(args: &Args, rows: &[Row]) {
    let mut table =
        "| contender | changes a second | requests a second | requests | refused | without an answer |\n\
                     |---|---:|---:|---:|---:|---:|\n"
            .to_owned();
    for row in rows {
        let seconds = row.toll.took.as_secs_f64();
        let _ = writeln!(
            table,
            "| {} | {:.1} | {:.0} | {} | {} | {} |",
            row.name,
            row.changes as f64 / seconds,
            row.toll.rate_rps(),
            row.toll.requests,
            row.toll.refused(),
            row.toll.lost()
        );
        if args.json {
            println!(
                "{}",
                serde_json::json!({
                    "case": "reconfiguration",
                    "contender": row.name,
                    "changes_per_second": row.changes as f64 / seconds,
                    "rps": row.toll.rate_rps(),
                    "requests": row.toll.requests,
                    "refused": row.toll.refused(),
                    "lost": row.toll.lost(),
                    "faults": row.toll.faults,
                })
            );
        }
    }
    if args.json {
        eprint!("{table}");
    } else {
        print!("{table}");
    }
}

/// Three nodes that share some functions, and whose policy changes with each period.
///
/// # Errors
///
/// When they do not find each other.
pub(crate) fn start(
    functions: &[&str],
    period: Duration,
    agent_arguments: &[&str],
    provider_arguments: &[&str],
) -> Result<(Federation, Vec<Adviser>)> {
    let echo = |name: &&str| Function::echo(PLENTY_RPS).named(name);
    let owned = |arguments: &[&str]| arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let spec = NodeSpec {
        strategy: "external".to_owned(),
        agent_arguments: owned(&[&["--external-url", Adviser::URL], agent_arguments].concat()),
        provider_arguments: owned(provider_arguments),
        period,
        ..NodeSpec::new(functions.iter().map(echo).collect())
    };
    let mut federation = Federation::unformed(&[spec.clone(), spec.clone(), spec])?;
    let nodes = federation.nodes.iter();
    let advisers: Result<Vec<_>> = nodes
        .map(|node| changing_adviser(node.namespace(), functions))
        .collect();
    let advisers = advisers?;
    federation.start_agents()?;
    let formed = || federation.nodes.iter().all(|node| knows_all(node, 2));
    wait_until("federation formed", START_TIMEOUT, formed).with_context(|| federation.logs())?;
    Ok((federation, advisers))
}

/// Whether a node knows what so many others offer.
pub(crate) fn knows_all(node: &Node, others: usize) -> bool {
    node.status()
        .is_ok_and(|status| status.peers_with_functions() == others)
}

fn besiege(from: &Namespace, server: SocketAddr, time: Duration) -> Result<Toll> {
    let request = format!("POST /function/{FUNCTION} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    let siege = |connections, requests_a_connection| Siege {
        server,
        sources: SOURCES.map(Network::address).to_vec(),
        requests: vec![request.clone().into_bytes()],
        method: "POST",
        connections,
        requests_a_connection,
        at_most: time,
    };
    let stop = &AtomicBool::new(false);
    thread::scope(|scope| {
        let kept = scope.spawn(|| siege(KEPT, u64::MAX).run(from, stop));
        let mut toll = siege(SINGLE, 1).run(from, stop)?;
        toll.add(kept.join().map_err(|_| anyhow!("the load panicked"))??);
        Ok(toll)
    })
}

/// HAProxy on the first node, with the platform of its own and the other nodes behind it.
fn haproxy(federation: &Federation, name: &'static str, is_reloaded: bool, time: Duration) -> Result<Row> {
    let node = federation.nodes[0].namespace();
    configure(node, 0)?;
    let process = Process::start(node, "reloaded", "haproxy", &["-W", "-db", "-f", CONFIGURATION])?;
    let server = SocketAddr::from((Network::address(1), HAPROXY_PORT));
    let path = format!("/function/{FUNCTION}");
    let answers = || get(&federation.client, server, &path).is_ok_and(|answer| answer.is_ok());
    wait_until("HAProxy answers", START_TIMEOUT, answers).with_context(|| process.log_tail(5))?;
    let is_over = AtomicBool::new(!is_reloaded);
    let (toll, changes) = thread::scope(|scope| {
        let reloading = scope.spawn(|| reload(node, &process, &is_over));
        let toll = besiege(&federation.client, server, time);
        is_over.store(true, Ordering::Relaxed);
        let changes = reloading.join().map_err(|_| anyhow!("reloading panicked"))??;
        anyhow::Ok((toll?, changes))
    })?;
    Ok(Row { name, changes, toll })
}

fn reload(node: &Namespace, process: &Process, is_over: &AtomicBool) -> Result<u64> {
    let mut round = 0;
    while !is_over.load(Ordering::Relaxed) {
        round += 1;
        configure(node, round)?;
        process.signal(Signal::USR2)?;
        thread::sleep(PERIOD);
    }
    Ok(round)
}

/// As an expert would: listening sockets are handed over, and connections to servers shared.
fn configure(node: &Namespace, round: u64) -> Result<()> {
    let weight = |place: u64| 1 + (round * 37 + place * 11) % 100;
    let mut text = format!(
        "global\n  nbthread 1\n  maxconn 8000\n  stats socket /run/reloaded.sock mode 600 level admin expose-fd listeners\n\
         defaults\n  mode http\n  http-reuse always\n  timeout connect 5s\n  timeout client 60s\n  \
         timeout server 60s\n  timeout http-keep-alive 60s\n\
         frontend entry\n  bind :{HAPROXY_PORT}\n  default_backend nodes\n\
         backend nodes\n  server own 127.0.0.1:8090 weight {}\n",
        weight(0)
    );
    for number in [2, 3] {
        let address = Network::address(number);
        let _ = writeln!(
            text,
            "  server node{number} {address}:80 weight {}",
            weight(number.into())
        );
    }
    fs::write(node.path(CONFIGURATION), text).context("writing HAProxy's configuration")
}
