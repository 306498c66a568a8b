//! What a running node decides from is written down, and read again to the same decisions.

use std::{fs, time::Duration};

use dfaas_testbed::{Federation, Load, Node, NodeSpec, figlet, patience};

use crate::kit::{run_ours, turn};

const FILE: &str = "/run/node.jsonl";
/// More than node 1 can serve.
const RATE_RPS: u32 = 50;
const SECONDS: u64 = 4;

#[test]
fn a_recording_of_a_running_node_is_replayed_to_the_decisions_that_it_made() {
    let _turn = turn();
    let recorded = NodeSpec {
        agent_arguments: vec![
            "--record".to_owned(),
            FILE.to_owned(),
            "--log-colors=false".to_owned(),
        ],
        ..NodeSpec::new(vec![figlet(10)])
    };
    let specs = [
        recorded,
        NodeSpec::new(vec![figlet(20)]),
        NodeSpec::new(vec![figlet(30)]),
    ];
    let mut federation = Federation::start(&specs).unwrap();
    let mut load = Load::new(federation.nodes[0].service(), "figlet", RATE_RPS);
    load.at_most = patience(Duration::from_secs(SECONDS));
    load.start(&federation.client).unwrap().finish().unwrap();
    let node = &mut federation.nodes[0];
    node.stop_agent().unwrap();
    let decided = decided(node);
    assert!(decided.len() > 3, "{decided:#?}");
    // No secret is in it, but for the one that stands for all.
    let recording = fs::read_to_string(node.namespace().path(FILE)).unwrap();
    assert!(recording.lines().count() > 50, "{recording}");
    let tokens = recording.split("\"token\":\"").skip(1);
    assert!(
        tokens.clone().count() > 0 && tokens.clone().all(|rest| rest.starts_with(&"0".repeat(32))),
        "a token"
    );
    assert_eq!(replayed(node, &[]), decided, "{}", federation.logs());
    let node = &federation.nodes[0];
    // Peers of another strategy say nothing to this one, so it keeps all.
    let other = replayed(node, &["--strategy", "static"]);
    assert!(
        other.iter().any(|line| line.contains("here 100.0%")),
        "{other:#?}"
    );
    federation.stop().unwrap();
}

/// What the agent logged of its decisions.
fn decided(node: &Node) -> Vec<String> {
    let log = fs::read_to_string(node.namespace().path("/run/agent.log")).unwrap();
    let lines = log
        .lines()
        .filter_map(|line| Some(line.split_once("Decided ")?.1.trim_end().to_owned()));
    lines.collect()
}

/// What a replay prints, without the times.
fn replayed(node: &Node, more: &[&str]) -> Vec<String> {
    let (code, text) = run_ours(
        node.namespace(),
        "dfaas-agent",
        &[&["replay", FILE], more].concat(),
    );
    assert_eq!(code, Some(0), "{text}");
    let lines = text
        .lines()
        .filter_map(|line| Some(line.split_once(" s  ")?.1.trim_end().to_owned()));
    lines.collect()
}
