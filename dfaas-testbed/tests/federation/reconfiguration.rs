//! Weights, limits and peers change ten times a second, and no request notices.

use std::{collections::BTreeSet, sync::atomic::AtomicBool, thread, time::Duration};

use dfaas_testbed::{Adviser, Federation, Function, NodeSpec, Siege, Toll, changing_adviser, wait_until};

use crate::kit::{PLENTY_RPS, turn};

const PERIOD: Duration = Duration::from_millis(100);
const TIME: Duration = Duration::from_secs(10);
/// Of the changes that are due, a busy machine may miss some.
const CHANGES_MIN: u64 = 50;

#[test]
fn no_request_fails_while_all_is_changed() {
    let _turn = turn();
    let spec = NodeSpec {
        strategy: "external".to_owned(),
        agent_arguments: vec!["--external-url".to_owned(), Adviser::URL.to_owned()],
        period: PERIOD,
        ..NodeSpec::new(vec![Function::echo(PLENTY_RPS).named("shared")])
    };
    let mut federation = Federation::unformed(&[spec.clone(), spec.clone(), spec]).unwrap();
    let nodes = federation.nodes.iter();
    let advisers: Vec<_> = nodes
        .map(|node| changing_adviser(node.namespace(), &["shared"]).unwrap())
        .collect();
    federation.start_agents().unwrap();
    let knows_all = |node: &dfaas_testbed::Node| {
        node.status()
            .is_ok_and(|status| status.peers_with_functions() == 2)
    };
    let formed = || federation.nodes.iter().all(knows_all);
    wait_until("federation formed", Duration::from_secs(30), formed).unwrap();

    let before = advisers[0].answered();
    let toll = besiege(&federation);
    let changes = advisers[0].answered() - before;
    println!(
        "{changes} changes under {:.0} requests a second: {toll:?}",
        toll.rate_rps()
    );
    assert_eq!(
        (toll.refused(), toll.lost()),
        (0, 0),
        "{toll:?}{}",
        federation.logs()
    );
    assert!(changes >= CHANGES_MIN, "{changes} changes");
    let served: BTreeSet<_> = toll.answers.keys().filter_map(|(_, node)| node.clone()).collect();
    assert_eq!(served.len(), 3, "all nodes take part: {toll:?}");
    federation.stop().unwrap();
}

/// Connections that are kept, and one for each request.
fn besiege(federation: &Federation) -> Toll {
    let siege = |connections, requests_a_connection| Siege {
        server: federation.nodes[0].service(),
        sources: Vec::new(),
        requests: vec![
            b"POST /function/shared HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello".to_vec(),
        ],
        method: "POST",
        connections,
        requests_a_connection,
        at_most: TIME,
    };
    let stop = &AtomicBool::new(false);
    thread::scope(|scope| {
        let kept = scope.spawn(|| siege(4, 1_000_000).run(&federation.client, stop).unwrap());
        let mut toll = siege(4, 1).run(&federation.client, stop).unwrap();
        toll.add(kept.join().unwrap());
        toll
    })
}
