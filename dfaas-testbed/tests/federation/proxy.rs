//! HAProxy beside the kernel: started by the agent, with the same policy, counted together.

use std::{fs, net::SocketAddr, time::Duration};

use dfaas_testbed::{Federation, Function, Load, Node, NodeSpec, Tally, wait_until};

use crate::kit::{PLENTY_RPS, Seen, curl, pair, three, turn};

const READY: Duration = Duration::from_secs(10);
const RATE_RPS: u32 = 50;
const SECONDS: u64 = 8;
const SETTLED: Duration = Duration::from_secs(2);

#[test]
fn haproxy_does_what_the_kernel_does() {
    let _turn = turn();
    let federation = pair();
    let [near, far] = &federation.nodes[..] else {
        panic!("a pair is two");
    };
    wait_until("HAProxy ready", READY, || {
        pid(near).is_some() && pid(far).is_some()
    })
    .unwrap();
    let before = (near.status().unwrap(), far.status().unwrap());

    let chunked = ["-H", "Transfer-Encoding: chunked", "-d", "hello"];
    let here = ask(near, "function/echo", &chunked);
    assert_eq!(
        (here.status, here.text().contains("hello")),
        (200, true),
        "{here:?}"
    );
    assert_eq!(here.header("X-Served-By"), Some(near.name()));
    let there = ask(near, "function/far", &["-d", "hello"]);
    assert_eq!(
        (there.status, there.header("X-Served-By")),
        (200, Some(far.name())),
        "{there:?}"
    );
    assert_eq!(ask(near, "function/nosuch", &[]).status, 404);
    assert_eq!(ask(near, "system/functions", &[]).status, 403);
    assert_eq!(
        ask(near, "function/echo", &["-H", "DFaaS-Node-ID: malicious-id"]).status,
        403
    );
    let framed = ask(near, "function/echo", &["--http2-prior-knowledge", "-d", "hello"]);
    assert!(framed.headers.starts_with("HTTP/2 200"), "{framed:?}");

    wait_until("requests counted", READY, || {
        let (near, far) = (near.status().unwrap(), far.status().unwrap());
        near.totals("echo").local - before.0.totals("echo").local == 2
            && near.totals("far").forwarded - before.0.totals("far").forwarded == 1
            && far.totals("far").admitted - before.1.totals("far").admitted == 1
    })
    .unwrap();
}

#[test]
fn both_ways_together_keep_to_the_limits() {
    let _turn = turn();
    let federation = three();
    let node = &federation.nodes[0];
    wait_until("HAProxy ready", READY, || {
        federation.nodes.iter().all(|node| pid(node).is_some())
    })
    .unwrap();
    let before = node.status().unwrap().totals("figlet");
    let start = |server, from| {
        let mut load = Load::new(server, "figlet", RATE_RPS / 2);
        load.at_most = Duration::from_secs(SECONDS);
        load.start(from).unwrap()
    };
    let by_haproxy = start(SocketAddr::from(([127, 0, 0, 1], 8091)), node.namespace());
    let by_kernel = start(node.service(), &federation.client);
    let tallies = [by_haproxy, by_kernel].map(|load| Tally::of("node1", &load.finish().unwrap()));
    let told = || format!("{tallies:#?}\n{}", federation.logs());
    for tally in &tallies {
        assert_eq!(tally.failed_after(SETTLED), 0, "{}", told());
    }
    let local_rps: f64 = tallies.iter().map(|tally| tally.rate_of("node1", 2..8)).sum();
    assert!((8.0..=13.0).contains(&local_rps), "{local_rps} {}", told());
    let asked = u64::from(RATE_RPS) * SECONDS;
    wait_until("all counted", READY, || {
        node.status().unwrap().totals("figlet").user - before.user >= asked - 2
    })
    .unwrap();
    println!("node 1 served {local_rps:.1}/s that came by both ways");
    federation.stop().unwrap();
}

#[test]
fn haproxy_lives_as_long_as_the_agent_where_nothing_is_pinned() {
    let _turn = turn();
    let one = NodeSpec {
        agent_arguments: vec!["--pins=off".to_owned()],
        ..NodeSpec::new(vec![Function::echo(PLENTY_RPS)])
    };
    let mut federation = Federation::start(&[one]).unwrap();
    let node = &mut federation.nodes[0];
    let lent = |node: &Node| {
        log(node)
            .matches("Lent a listener to the kernel whose=\"HAProxy\" is_ipv6=false")
            .count()
    };
    wait_until("HAProxy lent", READY, || lent(node) == 1).unwrap();
    let first = pid(node).unwrap();
    signal(node, "-KILL", &first);
    wait_until("another HAProxy lent", READY, || lent(node) == 2).unwrap();
    let second = pid(node).unwrap();
    assert_ne!(first, second);
    node.kill_agent();
    wait_until("end of HAProxy", READY, || !signal(node, "-0", &second)).unwrap();
    node.start_agent().unwrap();
    wait_until("HAProxy lent again", READY, || lent(node) == 3).unwrap();
    let third = pid(node).unwrap();
    node.stop_agent().unwrap();
    assert!(!signal(node, "-0", &third), "it outlives an agent that stops");
    let left = fs::read_dir(node.namespace().path("/run/dfaas")).unwrap().count();
    assert_eq!(left, 0, "folders of HAProxy are left");
}

#[test]
fn a_node_does_without_haproxy() {
    let _turn = turn();
    let off = NodeSpec {
        agent_arguments: vec!["--haproxy=off".to_owned()],
        ..NodeSpec::new(vec![Function::echo(PLENTY_RPS)])
    };
    let federation = Federation::start(&[off]).unwrap();
    let node = &federation.nodes[0];
    assert_eq!(node.status().unwrap().0["proxy"]["state"], "absent");
    assert!(
        node.ask_agent("/metrics")
            .unwrap()
            .text()
            .contains("dfaas_proxy_ready 0\n")
    );
    let url = format!("http://{}/function/echo", node.service());
    let seen = || curl(&federation.client, &["-d", "hello", &url]);
    wait_until("an answer", READY, || seen().status == 200).unwrap();
}

/// Asks the node's HAProxy, as the kernel would have it asked.
#[track_caller]
fn ask(node: &Node, path: &str, arguments: &[&str]) -> Seen {
    let url = format!("http://127.0.0.1:8091/{path}");
    curl(node.namespace(), &[arguments, &[&url]].concat())
}

/// The process number of a HAProxy that is ready.
fn pid(node: &Node) -> Option<String> {
    let status = node.status().ok()?;
    Some(status.0["proxy"]["pid"].as_u64()?.to_string())
}

fn log(node: &Node) -> String {
    fs::read_to_string(node.namespace().path("/run/agent.log")).unwrap()
}

fn signal(node: &Node, signal: &str, pid: &str) -> bool {
    let output = node.namespace().output("kill", &[signal, pid]);
    output.unwrap().status.success()
}
