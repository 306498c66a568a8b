//! The main job: what is too much for one node goes to its peers.

use std::time::Duration;

use dfaas_testbed::{Connections, Load, Tally, patience, wait_until};

use crate::kit::{curl, is_on_haproxy, three, turn};

const RATE_RPS: u32 = 50;
const SETTLED: Duration = Duration::from_secs(2);
/// HAProxy's counters are read five times a second.
const COUNTED: Duration = Duration::from_secs(5);
/// How long it is looked at afterwards.
const SECONDS: usize = 6;

#[test]
fn the_excess_of_a_node_goes_to_its_peers() {
    let _turn = turn();
    let federation = three();
    let node = &federation.nodes[0];
    let settled = patience(SETTLED);
    for connections in [Connections::OnePerRequest, Connections::KeepAlive] {
        let before: Vec<_> = federation
            .nodes
            .iter()
            .map(|node| node.status().unwrap().totals("figlet"))
            .collect();
        let mut load = Load::new(node.service(), "figlet", RATE_RPS);
        load.at_most = settled + Duration::from_secs(SECONDS as u64);
        load.connections = connections;
        let running = load.start(&federation.client).unwrap();
        // Who pretends to be a node is refused, and nobody else notices.
        let url = format!("http://{}/function/figlet", node.service());
        for _ in 0..20 {
            let seen = curl(
                &federation.client,
                &["-H", "DFaaS-Node-ID: malicious-id", "-d", "x", &url],
            );
            assert_eq!(seen.status, 403, "{seen:?}");
        }
        let tally = Tally::of("node1", &running.finish().unwrap());
        let told = || format!("{connections:?} {tally:#?}\n{}", federation.logs());
        assert_eq!(tally.lost(), 0, "{}", told());
        assert_eq!(tally.failed_after(settled), 0, "{}", told());
        if connections == Connections::KeepAlive {
            // Decided once a connection, and an idle one is used again wherever it leads.
            continue;
        }
        let from = settled.as_secs() as usize;
        let local_rps = tally.rate_of("node1", from..from + SECONDS);
        assert!((8.0..=13.0).contains(&local_rps), "{local_rps} {}", told());
        let reaction = tally.first_elsewhere.unwrap();
        assert!(
            reaction < patience(Duration::from_secs(1)),
            "{reaction:?} {}",
            told()
        );
        println!("node 1 served {local_rps:.1}/s; the federation reacted after {reaction:?}");
        check_counts(&federation, &before, &tally);
    }
    federation.stop().unwrap();
}

/// What the data planes counted is what the client saw.
fn check_counts(federation: &dfaas_testbed::Federation, before: &[dfaas_testbed::Totals], tally: &Tally) {
    let read = || -> Vec<_> {
        let nodes = federation.nodes.iter().zip(before);
        nodes
            .map(|(node, before)| node.status().unwrap().totals("figlet").since(before))
            .collect()
    };
    // What a peer refuses was sent there all the same; where the kernel steers, it is taken back.
    let arrived = |new: &[dfaas_testbed::Totals]| -> u64 {
        let refused: u64 = new[1..].iter().map(|totals| totals.refused).sum();
        let admitted: u64 = new.iter().map(|totals| totals.admitted).sum();
        admitted + if is_on_haproxy() { refused } else { 0 }
    };
    let is_counted = || {
        let new = read();
        new[0].user == tally.sent && arrived(&new) == new[0].forwarded
    };
    if is_on_haproxy() {
        wait_until("all counted", COUNTED, is_counted)
            .unwrap_or_else(|error| panic!("{error:#} {:?}", read()));
    }
    let new = read();
    assert_eq!(new[0].user, tally.sent, "{new:?}");
    assert_eq!(arrived(&new), new[0].forwarded, "{new:?}");
    assert_eq!(
        new[0].local + new[0].forwarded + new[0].refused,
        tally.sent,
        "{new:?}"
    );
    assert_eq!(new[0].local, tally.served_by["node1"], "{new:?}");
}
