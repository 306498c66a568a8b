//! Nodes of several networks, which know one node at the start.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use dfaas_testbed::{Links, Namespace, Process, Status, binary, get, now, pace, wait_until};

use crate::kit::turn;

const API: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8070);
/// How long an agent may take to load its programs, ten at a time on a busy machine.
const START: Duration = Duration::from_secs(180);
/// In which time nodes find each other, as is promised.
const FOUND: Duration = Duration::from_secs(10);
/// In which time a node that was restarted is back, as is promised.
const BACK: Duration = Duration::from_secs(5);
/// In which time those that nobody can dial are connected through a relay and then, with luck, directly.
const PUNCHED: Duration = Duration::from_secs(30);
/// In which time halves are noticed to be apart: the silence and then some.
const APART: Duration = Duration::from_secs(40);
/// In which time they are together again: attempts are some fifteen seconds apart by then.
const TOGETHER: Duration = Duration::from_secs(60);
/// For how long it is looked whether what must not happen does.
const QUIET: Duration = Duration::from_secs(8);
/// For how long a starved agent may keep silent before all connections to it are opened anew.
const SILENCE: Duration = Duration::from_secs(8);

#[test]
fn ten_nodes_on_three_links_find_each_other_through_one() {
    let _turn = turn();
    let links = Links::new(3).unwrap();
    let place = |number: u8| match number {
        1..=4 => 1,
        5..=7 => 2,
        _ => 3,
    };
    let mut nodes: Vec<Node> = (1..=10)
        .map(|number| Node::new(&links, place(number), number))
        .collect();
    for node in &mut nodes {
        node.start(&[]);
    }
    let last_up = until_all_up(&nodes);
    until_connected("found each other", &nodes, FOUND, |_| 9);
    println!("ten nodes: formed {:?} after the last was up", last_up.elapsed());

    let identity = nodes[9].status().node().to_owned();
    nodes[9].agent = None;
    until_connected("missed", &nodes[..9], APART, |_| 8);
    nodes[9].start(&[]);
    let up = until_all_up(&nodes[9..]);
    until_connected("back", &nodes, BACK, |_| 9);
    println!("restarted: back {:?} after it was up", up.elapsed());
    assert_eq!(nodes[9].status().node(), identity);

    links.cut(1).unwrap();
    until_connected("apart", &nodes, APART, |number| if number <= 4 { 3 } else { 5 });
    // The half that is cut off the only node that all were told of takes back who was away.
    nodes[4].agent = None;
    nodes[4].start(&[]);
    until_all_up(&nodes[4..5]);
    until_connected("on by themselves", &nodes[4..], APART, |_| 5);
    links.mend(1).unwrap();
    let mended = now();
    until_connected("together", &nodes, TOGETHER, |_| 9);
    println!("halves: together {:?} after the cut was mended", mended.elapsed());
}

#[test]
fn without_a_dht_nodes_know_whom_they_were_told_of() {
    let _turn = turn();
    let links = Links::new(3).unwrap();
    let mut nodes: Vec<Node> = (1..=3).map(|number| Node::new(&links, number, number)).collect();
    for node in &mut nodes {
        node.start(&["--kad-enabled=false"]);
    }
    until_all_up(&nodes);
    until_connected("met", &nodes, FOUND, |number| if number == 1 { 2 } else { 1 });
    let more = || nodes[1..].iter().any(|node| node.status().connected() > 1);
    assert!(wait_until("more met", QUIET, more).is_err());
}

#[test]
fn nodes_that_nobody_can_dial_meet_through_a_relay() {
    let _turn = turn();
    let links = Links::new(3).unwrap();
    links.hide(1).unwrap();
    links.hide(3).unwrap();
    // The one between is told of nobody and tells those behind it of each other.
    let mut nodes: Vec<Node> = [(2, 1), (1, 2), (3, 3)]
        .map(|(link, number)| Node::new(&links, link, number))
        .into();
    let known = format!("/ip4/{}/tcp/31600", Links::address(2, 1));
    for (relay, connected) in [("--relay-enabled=false", 1), ("--relay-enabled=true", 2)] {
        nodes[0].start_knowing(&known, &[relay]);
        for node in &mut nodes[1..] {
            node.start_knowing(&known, &["--behind-nat=true"]);
        }
        until_all_up(&nodes);
        let want = |number: u8| if number == 1 { 2 } else { connected };
        until_connected(relay, &nodes, FOUND, want);
        // What is not to be must not come either.
        let more = || {
            nodes[1..]
                .iter()
                .any(|node| node.status().connected() > connected)
        };
        assert!(wait_until("more met", QUIET, more).is_err(), "{relay}");
        until_connected("still", &nodes, FOUND, want);
    }
    assert!(nodes[1].is_listening_at_a_relay() && nodes[2].is_listening_at_a_relay());
}

#[test]
fn nodes_behind_address_translation_keep_a_direct_connection() {
    let _turn = turn();
    let links = Links::new(3).unwrap();
    links.hide(1).unwrap();
    links.hide(3).unwrap();
    let mut nodes: Vec<Node> = [(2, 1), (1, 2), (3, 3)]
        .map(|(link, number)| Node::new(&links, link, number))
        .into();
    let known = format!("/ip4/{}/tcp/31600", Links::address(2, 1));
    nodes[0].start_knowing(&known, &["--relay-enabled=true"]);
    for node in &mut nodes[1..] {
        node.start_knowing(&known, &["--behind-nat=true"]);
    }
    until_all_up(&nodes);
    let hidden = &nodes[1..];
    until_connected("met through the relay", hidden, PUNCHED, |_| 2);
    let is_direct = |node: &Node| node.status().0["overlay"]["counts"]["punched"].as_u64() > Some(0);
    let punched = wait_until("a hole punched", PUNCHED, || hidden.iter().any(is_direct));
    println!(
        "a direct connection {:?} after",
        punched.with_context(|| logs(&nodes)).unwrap()
    );
    // Without the relay, only a direct connection lasts.
    nodes[0].agent = None;
    let hidden = &nodes[1..];
    until_connected("the relay missed", hidden, APART, |_| 1);
    let is_apart = || hidden.iter().any(|node| node.status().connected() != 1);
    assert!(
        wait_until("apart", 2 * SILENCE, is_apart).is_err(),
        "{}",
        logs(hidden)
    );
}

/// An agent on a host that offers nothing.
struct Node {
    number: u8,
    link: u8,
    // The program ends before its namespace does.
    agent: Option<Process>,
    namespace: Namespace,
}

impl Node {
    fn new(links: &Links, link: u8, number: u8) -> Self {
        Self {
            number,
            link,
            agent: None,
            namespace: links.add_host(&format!("node{number}"), link, number).unwrap(),
        }
    }

    /// Starts the agent, which is told of node 1.
    fn start(&mut self, more: &[&str]) {
        let known = format!("/ip4/{}/tcp/31600", Links::address(1, 1));
        self.start_knowing(&known, more);
    }

    /// Starts the agent, in the place of one that runs.
    fn start_knowing(&mut self, known: &str, more: &[&str]) {
        self.agent = None;
        let address = Links::address(self.link, self.number).to_string();
        let own = ["run", "--interface", "eth0", "--node-ip", &address];
        let period = format!("{}s", pace(Duration::from_secs(1)).as_secs());
        let silence = format!("{}s", pace(SILENCE).as_secs());
        let rest = [
            "--state-dir",
            "/run/agent",
            "--recalc-period",
            &period,
            "--bootstrap-nodes-list",
            known,
            "--overlay-silence",
            &silence,
            "--haproxy",
            "off",
        ];
        let arguments = [&own[..], &rest, more].concat();
        let agent = Process::start(
            &self.namespace,
            "agent",
            binary("dfaas-agent").unwrap(),
            &arguments,
        );
        self.agent = Some(agent.unwrap());
    }

    fn is_listening_at_a_relay(&self) -> bool {
        let status = self.status();
        let listening = status.0["overlay"]["listening"].as_array();
        let is_circuit = |address: &serde_json::Value| address.to_string().contains("p2p-circuit");
        listening.is_some_and(|addresses| addresses.iter().any(is_circuit))
    }

    fn status(&self) -> Status {
        let answer = get(&self.namespace, API, "/status").ok();
        answer
            .and_then(|answer| serde_json::from_slice(&answer.body).ok())
            .map(Status)
            .unwrap_or_default()
    }
}

/// Waits until all agents answer, and returns when that was.
#[track_caller]
fn until_all_up(nodes: &[Node]) -> Instant {
    let up = || nodes.iter().all(|node| !node.status().node().is_empty());
    wait_until("agents up", START, up)
        .with_context(|| logs(nodes))
        .unwrap();
    now()
}

/// Waits until each node is connected to so many others, by its number.
#[track_caller]
fn until_connected(what: &str, nodes: &[Node], at_most: Duration, want: impl Fn(u8) -> u64) {
    let are = || {
        nodes
            .iter()
            .all(|node| node.status().connected() == want(node.number))
    };
    let seen = || nodes.iter().map(|node| (node.number, node.status().connected()));
    wait_until(what, at_most, are)
        .with_context(|| format!("{:?}{}", seen().collect::<Vec<_>>(), logs(nodes)))
        .unwrap();
}

fn logs(nodes: &[Node]) -> String {
    let tail = |node: &Node| {
        let log = node
            .agent
            .as_ref()
            .map(|agent| agent.log_tail(15))
            .unwrap_or_default();
        format!("\n--- node {}\n{log}", node.number)
    };
    nodes.iter().map(tail).collect()
}
