//! Who sends the excess only to some, and knows all.

use std::{fs, time::Duration};

use dfaas_testbed::{Federation, Load, Node, NodeSpec, Tally, figlet, patience, wait_until};

use crate::kit::{run_ours, turn};

const FORMED: Duration = Duration::from_secs(30);
const SETTLED: Duration = Duration::from_secs(2);
/// How long it is looked at afterwards.
const SECONDS: usize = 5;
/// More than the first two can serve, and less than all.
const RATE_RPS: u32 = 50;

#[test]
fn in_a_chain_the_excess_goes_to_the_next_only() {
    let _turn = turn();
    let federation = chain();
    let [first, .., last] = &federation.nodes[..] else {
        panic!("three nodes");
    };
    let mut load = Load::new(first.service(), "figlet", RATE_RPS);
    load.at_most = patience(SETTLED) + Duration::from_secs(SECONDS as u64);
    let samples = load.start(&federation.client).unwrap().finish().unwrap();
    let tally = Tally::of("node1", &samples);
    let told = || format!("{tally:#?}\n{}", federation.logs());
    let from = patience(SETTLED).as_secs() as usize;
    let [own, next] = ["node1", "node2"].map(|name| tally.rate_of(name, from..from + SECONDS));
    println!("node 1 served {own:.1}/s, node 2 {next:.1}/s, node 3 nothing");
    assert!((9.0..=11.0).contains(&own), "{own} {}", told());
    assert!((18.0..=21.0).contains(&next), "{next} {}", told());
    assert_eq!(tally.served_by.get("node3"), None, "{}", told());
    assert_eq!(tally.lost(), 0, "{}", told());
    // The last one is a member, and known for what it has.
    let status = first.status().unwrap();
    let peer = &status.0["control"]["peers"][last.status().unwrap().node()];
    assert_eq!(
        (&peer["connected"], &peer["neighbour"]),
        (&true.into(), &false.into())
    );
    assert_eq!(peer["functions"]["figlet"]["capacity_rps"], 30.0);
    let (code, text) = run_ours(first.namespace(), "dfaas-agent", &["explain", "figlet"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("this node sends to its neighbours only, which are 12D3"),
        "{text}"
    );
    federation.stop().unwrap();
}

/// Three nodes for 10, 20 and 30 requests a second, of which the first and the last are no neighbours.
fn chain() -> Federation {
    let specs = [10, 20, 30].map(|rate| NodeSpec {
        agent_arguments: vec!["--config".to_owned(), "/run/neighbours.toml".to_owned()],
        ..NodeSpec::new(vec![figlet(rate)])
    });
    let mut federation = Federation::unformed(&specs).unwrap();
    let ids: Vec<String> = federation.nodes.iter().map(id).collect();
    let neighbours = [&ids[1..2], &[ids[0].clone(), ids[2].clone()], &ids[1..2]];
    for (node, neighbours) in federation.nodes.iter().zip(neighbours) {
        let text = format!("neighbours = {neighbours:?}\n");
        fs::write(node.namespace().path("/run/neighbours.toml"), text).unwrap();
    }
    federation.start_agents().unwrap();
    let has_routes = |(node, count): (&Node, usize)| {
        let status = node.status().unwrap_or_default();
        status.peers_with_functions() == 2 && status.weights("figlet").len() == count
    };
    let is_formed = || federation.nodes.iter().zip([1, 2, 1]).all(has_routes);
    wait_until("a chain", FORMED, is_formed).unwrap_or_else(|error| panic!("{error:#}{}", federation.logs()));
    federation
}

/// Makes a node's identity before its agent starts.
fn id(node: &Node) -> String {
    let create = ["id", "--create", "--state-dir=/run/agent"];
    let (code, text) = run_ours(node.namespace(), "dfaas-agent", &create);
    assert_eq!(code, Some(0), "{text}");
    text.lines().last().unwrap().to_owned()
}
