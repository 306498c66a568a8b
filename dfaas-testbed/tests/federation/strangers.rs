//! Who is found on the network and admitted by nobody: members go on as if it were not there.

use std::{fs, time::Duration};

use dfaas_testbed::{Federation, Function, Load, Node, NodeSpec, wait_until};
use serde_json::Value;

use crate::kit::{run_ours, turn};

const READY: Duration = Duration::from_secs(60);
/// What users ask of the stranger: many times what it can do.
const RATE_RPS: u32 = 60;

#[test]
fn a_stranger_takes_nothing_and_gives_nothing() {
    let _turn = turn();
    let spec = |rate_rps: u32, more: &[&str]| NodeSpec {
        agent_arguments: more.iter().map(|&argument| argument.to_owned()).collect(),
        ..NodeSpec::new(vec![Function::echo(rate_rps).named("shared")])
    };
    let listed = ["--admitted-peers-file=/run/admitted"];
    let specs = [spec(10, &listed), spec(20, &listed), spec(5, &[])];
    let mut federation = Federation::unformed(&specs).unwrap();
    let ids: Vec<String> = federation.nodes.iter().map(identity).collect();
    for node in &federation.nodes[..2] {
        fs::write(node.namespace().path("/run/admitted"), ids[..2].join("\n")).unwrap();
    }
    federation.start_agents().unwrap();
    let [near, far, stranger] = &federation.nodes[..] else {
        panic!("three nodes");
    };
    // All of what each has left is the other's.
    let is_alone = || cap(near, &ids[1]) == Some(20.0) && cap(far, &ids[0]) == Some(10.0);
    wait_until("the members share", READY, is_alone).unwrap();
    let is_kept_out = |node: &Node| count(node, "unadmitted") > 0;
    wait_until("the stranger comes", READY, || {
        is_kept_out(near) && is_kept_out(far)
    })
    .unwrap();
    let mut load = Load::new(stranger.service(), "shared", RATE_RPS);
    load.at_most = Duration::from_secs(6);
    load.start(&federation.client).unwrap().finish().unwrap();
    assert!(is_alone(), "{}", federation.logs());
    for node in [near, far] {
        let status = node.status().unwrap().0;
        assert!(status["control"]["peers"][&ids[2]].is_null(), "{status}");
        assert_eq!(status["warnings"], Value::Array(Vec::new()), "{status}");
    }
    let status = stranger.status().unwrap().0;
    assert_eq!(
        routes(&status).as_object().map(serde_json::Map::len),
        Some(0),
        "{status}"
    );
    let warning = status["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.contains("THE FEDERATION IS OPEN"), "{status}");
    federation.stop().unwrap();
}

fn identity(node: &Node) -> String {
    let create = ["id", "--create", "--state-dir=/run/agent"];
    let (_, id) = run_ours(node.namespace(), "dfaas-agent", &create);
    id.lines().last().unwrap().to_owned()
}

/// What a node may send to a peer, in requests per second.
fn cap(node: &Node, peer: &str) -> Option<f64> {
    let status = node.status().ok()?.0;
    routes(&status)[peer]["cap_rps"].as_f64()
}

fn routes(status: &Value) -> &Value {
    &status["control"]["functions"]["shared"]["routes"]
}

fn count(node: &Node, name: &str) -> u64 {
    let status = node.status().map(|status| status.0).unwrap_or_default();
    status["overlay"]["counts"][name].as_u64().unwrap_or_default()
}
