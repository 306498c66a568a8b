//! The main job: what is too much for one node goes to its peers.

use std::time::Duration;

use dfaas_testbed::{Connections, Load, Tally};

use crate::kit::{curl, three, turn};

const RATE_RPS: u32 = 50;
const SECONDS: u64 = 8;
const SETTLED: Duration = Duration::from_secs(2);

#[test]
fn the_excess_of_a_node_goes_to_its_peers() {
    let _turn = turn();
    let federation = three();
    let node = &federation.nodes[0];
    for connections in [Connections::OnePerRequest, Connections::KeepAlive] {
        let before: Vec<_> = federation
            .nodes
            .iter()
            .map(|node| node.status().unwrap().totals("figlet"))
            .collect();
        let mut load = Load::new(node.service(), "figlet", RATE_RPS);
        load.at_most = Duration::from_secs(SECONDS);
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
        assert_eq!(tally.failed_after(SETTLED), 0, "{}", told());
        if connections == Connections::KeepAlive {
            // Decided once a connection, and an idle one is used again wherever it leads.
            continue;
        }
        let local_rps = tally.rate_of("node1", 2..8);
        assert!((8.0..=13.0).contains(&local_rps), "{local_rps} {}", told());
        let reaction = tally.first_elsewhere.unwrap();
        assert!(reaction < Duration::from_secs(1), "{reaction:?} {}", told());
        println!("node 1 served {local_rps:.1}/s; the federation reacted after {reaction:?}");
        check_counts(&federation, &before, &tally);
    }
    federation.stop().unwrap();
}

/// What the kernels counted is what the client saw.
fn check_counts(federation: &dfaas_testbed::Federation, before: &[dfaas_testbed::Totals], tally: &Tally) {
    let statuses: Vec<_> = federation
        .nodes
        .iter()
        .map(|node| node.status().unwrap())
        .collect();
    let new: Vec<_> = statuses
        .iter()
        .zip(before)
        .map(|(status, before)| status.totals("figlet").since(before))
        .collect();
    assert_eq!(new[0].user, tally.sent, "{new:?}");
    assert_eq!(
        new[0].local + new[0].forwarded + new[0].refused,
        tally.sent,
        "{new:?}"
    );
    let admitted: u64 = new.iter().map(|totals| totals.admitted).sum();
    assert_eq!(admitted, new[0].forwarded, "{new:?}");
    assert_eq!(new[0].local, tally.served_by["node1"], "{new:?}");
}
