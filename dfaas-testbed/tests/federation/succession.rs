//! Agents that die and that follow one another, and what users notice.

use std::{thread, time::Duration};

use dfaas_testbed::{
    Connections, Federation, Function, Load, Node, NodeSpec, Outcome, Running, Sample, now, patience,
    wait_until,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::kit::{PLENTY_RPS, curl, is_on_haproxy, run_ours, try_curl, turn};

/// How many requests a second are under way over each kind of connection.
const RATE_RPS: u32 = 100;
/// For how long there is no agent.
const AWAY: Duration = Duration::from_secs(4);
const SETTLED: Duration = Duration::from_secs(2);
const BACK: Duration = Duration::from_secs(60);

#[test]
fn an_agent_that_is_killed_and_its_successor_cost_no_request() {
    let _turn = turn();
    if is_on_haproxy() {
        return;
    }
    let mut federation = near_and_far(&[]);
    // Its peer hears nothing of it and lets it be, so that `far` is out of its reach meanwhile.
    let far = format!("http://{}/function/far", federation.nodes[0].service());
    assert_eq!(curl(&federation.client, &["-d", "x", &far]).status, 200);
    let loads = start(&federation, &["near"]);
    thread::sleep(SETTLED);
    federation.nodes[0].kill_agent();
    thread::sleep(AWAY);
    let began = now();
    federation.nodes[0].start_agent().unwrap();
    wait_until_back(&federation.nodes[0]);
    println!("the next agent knows its peer after {:?}", began.elapsed());
    thread::sleep(SETTLED);
    let samples = stop(loads);
    check_all_answered(&federation, &samples);
    // Counters go on, too.
    let totals = federation.nodes[0].status().unwrap().totals_of_all();
    assert!(
        totals.user >= samples.len() as u64,
        "{totals:?} of {}",
        samples.len()
    );
    assert!(totals.local > 0 && totals.forwarded == 1, "{totals:?}");
    check_nothing_is_left(&mut federation.nodes[0]);
}

#[test]
fn what_only_haproxy_can_frame_is_served_by_the_same_haproxy_as_before() {
    let _turn = turn();
    if is_on_haproxy() {
        return;
    }
    let mut federation = near_and_far(&["--unattended=3s"]);
    let server = federation.nodes[0].service();
    let upload = |federation: &Federation, name: &str| {
        let url = format!("http://{server}/function/{name}");
        let chunked = ["-H", "Transfer-Encoding: chunked", "-d", "x", &url];
        curl(&federation.client, &chunked).status
    };
    let serves = || {
        ["near", "far"]
            .iter()
            .all(|name| upload(&federation, name) == 200)
    };
    wait_until("HAProxy serves", BACK, serves).unwrap();
    let process = |federation: &Federation| haproxy_of(&federation.nodes[0]);
    let before = process(&federation);
    federation.nodes[0].kill_agent();
    assert_eq!(upload(&federation, "near"), 200);
    thread::sleep(AWAY);
    assert_eq!(upload(&federation, "near"), 200, "it serves its own users");
    assert_eq!(upload(&federation, "far"), 503, "it sends nothing to peers");
    federation.nodes[0].start_agent().unwrap();
    let serves = || {
        assert_eq!(upload(&federation, "near"), 200);
        upload(&federation, "far") == 200
    };
    wait_until("HAProxy serves again", BACK, serves)
        .unwrap_or_else(|error| panic!("{error:#}{}", federation.logs()));
    let ready = || haproxy_of(&federation.nodes[0]).is_some();
    wait_until("the agent knows HAProxy", BACK, ready).unwrap();
    assert_eq!(process(&federation), before);
    check_nothing_is_left(&mut federation.nodes[0]);
    let left = federation.nodes[0]
        .namespace()
        .output("pgrep", &["haproxy"])
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&left.stdout),
        "",
        "HAProxy ends with a stop"
    );
}

fn haproxy_of(node: &Node) -> Option<u64> {
    node.status().ok()?.0["proxy"]["pid"].as_u64()
}

#[test]
fn without_an_agent_a_node_is_alone_after_a_while() {
    let _turn = turn();
    if is_on_haproxy() {
        return;
    }
    let mut federation = near_and_far(&["--unattended=3s"]);
    let [one, two] = [0, 1].map(|index| federation.nodes[index].service());
    let ask = |federation: &Federation, server, name: &str| {
        let url = format!("http://{server}/function/{name}");
        curl(&federation.client, &["-d", "x", &url]).status
    };
    assert_eq!(ask(&federation, one, "far"), 200);
    assert_eq!(ask(&federation, two, "near"), 200);
    // Both at once, so that neither notices that the other is gone. Node 2 would send requests to node 1 for longer than
    // node 1 takes them.
    for node in &federation.nodes {
        let agent = Pid::from_raw(node.agent_pid().unwrap().cast_signed()).unwrap();
        kill_process(agent, Signal::STOP).unwrap();
    }
    for node in &mut federation.nodes {
        node.kill_agent();
    }
    assert_eq!(ask(&federation, one, "far"), 200);
    thread::sleep(Duration::from_secs(4));
    assert_eq!(ask(&federation, one, "far"), 503, "it sends nothing to peers");
    assert_eq!(ask(&federation, two, "near"), 503, "it takes nothing from peers");
    assert_eq!(ask(&federation, one, "near"), 200, "it serves its own users");
    federation.nodes[0].start_agent().unwrap();
    federation.nodes[1].start_agent().unwrap();
    let serves = || ask(&federation, one, "far") == 200 && ask(&federation, two, "near") == 200;
    wait_until("both serve again", BACK, serves)
        .unwrap_or_else(|error| panic!("{error:#}{}", federation.logs()));
}

#[test]
fn an_agent_that_leaves_all_on_and_its_successor_cost_no_request() {
    let _turn = turn();
    if is_on_haproxy() {
        return;
    }
    let mut federation = near_and_far(&[]);
    let loads = start(&federation, &["near"]);
    thread::sleep(SETTLED);
    let node = &mut federation.nodes[0];
    let (code, text) = run_ours(
        node.namespace(),
        "dfaas-agent",
        &["stop", "--keep", "--state-dir", "/run/agent"],
    );
    assert_eq!((code, text.as_str()), (Some(0), ""));
    assert!(!node.is_running());
    node.start_agent().unwrap();
    wait_until_back(node);
    thread::sleep(SETTLED);
    let samples = stop(loads);
    check_all_answered(&federation, &samples);
}

#[test]
fn what_an_agent_has_left_on_is_cleaned_away() {
    let _turn = turn();
    if is_on_haproxy() {
        return;
    }
    let mut federation = near_and_far(&[]);
    let url = format!("http://{}/function/near", federation.nodes[0].service());
    let seen = |node: &Node, command: &str| {
        let output = node.namespace().output("sh", &["-c", command]).unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let ours = |node: &Node, arguments: &[&str]| run_ours(node.namespace(), "dfaas-agent", arguments);
    let node = &mut federation.nodes[0];
    let (code, text) = ours(node, &["clean"]);
    assert!(
        code == Some(0) && text.contains("eth0-80: its agent runs"),
        "{text}"
    );
    let (code, text) = ours(node, &["run", "--interface=eth0", "--state-dir=/run/agent"]);
    assert!(
        code == Some(1) && text.contains("has the state directory /run/agent"),
        "{text}"
    );
    let second = [
        "run",
        "--interface=eth0",
        "--state-dir=/run/second",
        "--api=127.0.0.1:8071",
    ];
    let (code, text) = ours(
        node,
        &[&second[..], &["--listen=/ip4/127.0.0.1/tcp/31601"]].concat(),
    );
    assert!(
        code == Some(1) && text.contains("another agent steers port 80 of eth0"),
        "{text}"
    );
    assert_eq!(
        ours(node, &["stop", "--keep", "--state-dir=/run/agent"]),
        (Some(0), String::new())
    );
    assert_eq!(curl(&federation.client, &["-d", "x", &url]).status, 200);
    let (code, text) = ours(node, &["clean"]);
    assert!(code == Some(0) && text.contains("took away  HAProxy"), "{text}");
    println!("{text}");
    const COULD_NOT_CONNECT: i32 = 7;
    let code = try_curl(&federation.client, &["-d", "x", &url]).status.code();
    assert_eq!(code, Some(COULD_NOT_CONNECT));
    for left in [
        "find /sys/fs/bpf/dfaas/*",
        "ls /run/dfaas",
        "pgrep haproxy",
        "bpftool net show | grep eth0",
        "cat /proc/sys/net/ipv4/ip_local_reserved_ports",
    ] {
        assert_eq!(seen(node, left), "", "{left}");
    }
    assert_eq!(ours(node, &["clean"]), (Some(0), String::new()));
}

fn near_and_far(arguments: &[&str]) -> Federation {
    let spec = |name: &str, arguments: &[&str]| {
        let mut spec = NodeSpec::new(vec![Function::echo(PLENTY_RPS).named(name)]);
        spec.agent_arguments = arguments.iter().map(ToString::to_string).collect();
        spec
    };
    Federation::start(&[spec("near", arguments), spec("far", &[])]).unwrap()
}

fn start(federation: &Federation, functions: &[&str]) -> Vec<Running> {
    let kinds = [Connections::OnePerRequest, Connections::KeepAlive];
    let each = kinds
        .into_iter()
        .flat_map(|connections| functions.iter().map(move |function| (connections, *function)));
    each.map(|(connections, function)| {
        let mut load = Load::new(federation.nodes[0].service(), function, RATE_RPS);
        load.connections = connections;
        load.start(&federation.client).unwrap()
    })
    .collect()
}

fn stop(loads: Vec<Running>) -> Vec<Sample> {
    loads.into_iter().flat_map(|load| load.stop().unwrap()).collect()
}

fn wait_until_back(node: &Node) {
    let is_back = || {
        node.status()
            .is_ok_and(|status| status.peers_with_functions() == 1)
    };
    wait_until("the agent is back", BACK, is_back).unwrap_or_else(|error| panic!("{error:#}{}", node.logs()));
}

#[track_caller]
fn check_all_answered(federation: &Federation, samples: &[Sample]) {
    let is_well = |sample: &&Sample| matches!(sample.outcome, Outcome::Answered { status: 200, .. });
    let ill: Vec<&Sample> = samples.iter().filter(|sample| !is_well(sample)).collect();
    let slowest = samples.iter().map(|sample| sample.latency).max();
    println!(
        "{} requests, {} lost, the slowest took {slowest:?}",
        samples.len(),
        ill.len()
    );
    assert!(
        samples.len() as u128 > patience(AWAY).as_secs().into() && ill.is_empty(),
        "{} of {}: {:#?}{}",
        ill.len(),
        samples.len(),
        &ill[..ill.len().min(10)],
        federation.logs()
    );
}

/// What was pinned goes with an agent that is stopped.
#[track_caller]
fn check_nothing_is_left(node: &mut Node) {
    let pinned = |node: &Node| {
        let listed = node
            .namespace()
            .output("sh", &["-c", "find /sys/fs/bpf/dfaas"])
            .unwrap();
        String::from_utf8_lossy(&listed.stdout).into_owned()
    };
    assert!(pinned(node).contains("/ingress"), "{}", pinned(node));
    node.stop_agent().unwrap();
    assert_eq!(pinned(node), "");
    let attached = node.namespace().output("bpftool", &["net", "show"]).unwrap();
    let attached = String::from_utf8_lossy(&attached.stdout).into_owned();
    assert!(!attached.contains("eth0"), "{attached}");
}
