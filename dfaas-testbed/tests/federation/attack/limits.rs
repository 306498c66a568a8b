//! Limits hold, however much comes and wherever it is handled; and what is refused costs next to nothing.

use std::{thread, time::Duration};

use aya::sys::{Stats, enable_stats};
use dfaas_testbed::{Adviser, Burst, Federation, Held, Load, Node, Outcome, Running, Sample, bpftool, held};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::{FUNCTIONS, plain};
use crate::kit::{curl, turn};

const LIMIT_RPS: u32 = 100;
/// The buckets, which hold half a second's worth, are empty by then.
const SETTLED: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(3);
const WRONG_PERMILLE: u32 = 20;

/// A limit, and who is up against it.
#[derive(Clone, Copy, Debug)]
struct Limit {
    name: &'static str,
    function: &'static str,
    /// The requests say that node 2 has sent them.
    from_peer: bool,
    refusal: u16,
}

const LIMITS: [Limit; 3] = [
    Limit {
        name: "capacity",
        function: "near",
        from_peer: false,
        refusal: 503,
    },
    Limit {
        name: "a peer's share",
        function: "near",
        from_peer: true,
        refusal: 429,
    },
    Limit {
        name: "what a peer takes",
        function: "far",
        from_peer: false,
        refusal: 503,
    },
];

#[test]
fn limits_hold_whatever_comes() {
    let _turn = turn();
    let (federation, _advisers) = limited();
    let mut faults = Vec::new();
    for times in [1, 2, 10] {
        let running = LIMITS.map(|limit| (limit, start(&federation, limit, times)));
        for (limit, loads) in running {
            faults.extend(check(limit, times, &finish(loads)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    federation.stop().unwrap();
}

/// Two nodes with the same limit in three places.
fn limited() -> (Federation, Vec<Adviser>) {
    let mut federation = {
        let nodes = FUNCTIONS.map(|name| {
            let mut spec =
                dfaas_testbed::NodeSpec::new(vec![dfaas_testbed::Function::echo(LIMIT_RPS).named(name)]);
            spec.strategy = "external".to_owned();
            // The client claims to be the second node, and has no token of it.
            let arguments = ["--tokenless-peers=all", "--external-url", Adviser::URL];
            spec.agent_arguments = arguments.map(str::to_owned).to_vec();
            spec
        });
        Federation::unformed(&nodes).unwrap()
    };
    let advisers = [advise_first, advise_second];
    let nodes = federation.nodes.iter().zip(advisers);
    let advisers = nodes
        .map(|(node, advise)| Adviser::start(node.namespace(), advise).unwrap())
        .collect();
    federation.start_agents().unwrap();
    // The second node sends nothing to the first, so there is no more to wait for.
    let is_ready = |node: &dfaas_testbed::Node, routes: usize| {
        let status = node.status();
        status.is_ok_and(|status| status.peers_with_functions() == 1 && status.weights("far").len() == routes)
    };
    dfaas_testbed::wait_until("advice taken", Duration::from_secs(30), || {
        is_ready(&federation.nodes[0], 1) && is_ready(&federation.nodes[1], 0)
    })
    .unwrap();
    let url = format!("http://{}/function/far", federation.nodes[0].service());
    dfaas_testbed::wait_until("the second node takes some", Duration::from_secs(30), || {
        curl(&federation.client, &[&url]).status == 200
    })
    .unwrap();
    (federation, advisers)
}

fn advise_first(question: &[u8]) -> String {
    let question: serde_json::Value = serde_json::from_slice(question).unwrap();
    let peers = question["peers"].as_object().unwrap();
    let routes: serde_json::Map<_, _> = peers
        .keys()
        .map(|peer| {
            (
                peer.clone(),
                serde_json::json!({"weight": 1, "cap_rps": LIMIT_RPS}),
            )
        })
        .collect();
    let admit: serde_json::Map<_, _> = peers
        .keys()
        .map(|peer| (peer.clone(), LIMIT_RPS.into()))
        .collect();
    serde_json::json!({"functions": {
        "near": {"local_rps": LIMIT_RPS, "admit": admit},
        "far": {"routes": routes},
    }})
    .to_string()
}

fn advise_second(question: &[u8]) -> String {
    let question: serde_json::Value = serde_json::from_slice(question).unwrap();
    let peers = question["peers"].as_object().unwrap();
    let admit: serde_json::Map<_, _> = peers
        .keys()
        .map(|peer| (peer.clone(), 1_000_000.into()))
        .collect();
    serde_json::json!({"functions": {"far": {"admit": admit}}}).to_string()
}

/// Sends so many times what is allowed, half of it from each CPU.
fn start(federation: &Federation, limit: Limit, times: u32) -> Vec<Running> {
    let cpus = thread::available_parallelism().unwrap().get().min(2) as u32;
    let node = &federation.nodes[0];
    let start = |cpu| {
        let mut load = Load::new(node.service(), limit.function, LIMIT_RPS * times / cpus);
        load.at_most = SETTLED + MEASURED + SETTLED / 5;
        if limit.from_peer {
            let peer = federation.nodes[1].status().unwrap().node().to_owned();
            load.headers.push(("DFaaS-Node-ID".to_owned(), peer));
        }
        // Threads inherit where they may run, and a packet is handled where it is sent.
        let start = || {
            let mut set = CpuSet::new();
            set.set(cpu as usize);
            sched_setaffinity(None, &set).unwrap();
            load.start(&federation.client).unwrap()
        };
        thread::scope(|scope| scope.spawn(start).join().unwrap())
    };
    (0..cpus).map(start).collect()
}

fn finish(loads: Vec<Running>) -> Vec<Sample> {
    loads
        .into_iter()
        .flat_map(|load| load.finish().unwrap())
        .collect()
}

/// What is wrong with what was let through.
///
/// A request is judged at some time between its start and its answer, so what was judged within the time measured is
/// known only within bounds.
fn check(limit: Limit, times: u32, samples: &[Sample]) -> Option<String> {
    let window = SETTLED..SETTLED + MEASURED;
    let is_certain =
        |sample: &Sample| window.contains(&sample.sent) && window.contains(&(sample.sent + sample.latency));
    let is_possible =
        |sample: &Sample| sample.sent < window.end && sample.sent + sample.latency >= window.start;
    let count = |wanted: u16, is_counted: &dyn Fn(&Sample) -> bool| {
        let has = |sample: &&Sample| matches!(&sample.outcome, Outcome::Answered { status, .. } if *status == wanted);
        samples
            .iter()
            .filter(has)
            .filter(|sample| is_counted(sample))
            .count() as u32
    };
    let (certain, possible) = (count(200, &is_certain), count(200, &is_possible));
    let answered = count(200, &|_| true) + count(limit.refusal, &|_| true);
    let sent = samples.len() as u32;
    let want = LIMIT_RPS * MEASURED.as_secs() as u32;
    let told = format!(
        "{} at {times} x: {sent} sent, {answered} answered, {certain} to {possible} served of {want}",
        limit.name
    );
    println!("{told}");
    let wrong = want * WRONG_PERMILLE / 1000;
    let is_right = answered == sent && certain <= want + wrong && possible >= want - wrong;
    (!is_right).then_some(told)
}

#[test]
fn a_refusal_costs_next_to_nothing() {
    const REQUESTS: u64 = 3000;
    let _turn = turn();
    let federation = plain();
    let node = &federation.nodes[0];
    let cost_us = |path: &str, status: u16| {
        let burst = Burst {
            server: node.service(),
            request: format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").into_bytes(),
            method: "GET",
            requests: REQUESTS,
            connections: 4,
        };
        let before = spent_us(node);
        let answers = burst.send(&federation.client).unwrap();
        let spent = spent_us(node) - before;
        assert!(
            answers.counts.keys().all(|(seen, _)| *seen == status),
            "{:?}",
            answers.counts
        );
        spent as f64 / REQUESTS as f64
    };
    let _counting = enable_stats(Stats::RunTime).unwrap();
    let served = cost_us("/function/near", 200);
    let refused = cost_us("/system/functions", 403);
    println!(
        "a request that is served takes {served:.1} us of the node, one that is refused {refused:.1} us"
    );
    assert!(refused < served / 10.0, "{refused} {served}");
}

/// For how long the platform and the programs in the kernel have worked on a node. What the kernel's own stack does
/// for a request that is served comes on top, and is not seen here.
fn spent_us(node: &Node) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.provider_pid().unwrap())).unwrap();
    let (_, columns) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = columns
        .split(' ')
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    let programs = held(node.agent_pid().unwrap(), Held::Programs).unwrap();
    let run_ns = |id: &String| {
        bpftool(&["prog", "show", "id", id]).unwrap()["run_time_ns"]
            .as_u64()
            .unwrap_or(0)
    };
    // USER_HZ is 100.
    ticks * 10_000 + programs.iter().map(run_ns).sum::<u64>() / 1000
}
