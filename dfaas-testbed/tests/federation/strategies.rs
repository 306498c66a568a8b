//! Strategies in a real federation, and their change while requests come.

use std::time::Duration;

use dfaas_testbed::{Federation, Load, Node, NodeSpec, Outcome, Tally, figlet, wait_until};

use crate::kit::{run_ours, turn};

/// More than node 1 takes under the strategies that know limits.
const RATE_RPS: u32 = 20;
/// A change takes eight periods of a second.
const CHANGED: Duration = Duration::from_secs(20);

#[test]
fn no_request_fails_while_the_strategy_is_changed_back_and_forth() {
    let _turn = turn();
    // Peers have room for what a busy machine's load generator sends at once.
    let specs = [10, 1_000, 1_000].map(|rate| NodeSpec::new(vec![figlet(rate)]));
    let federation = Federation::start(&specs).unwrap();
    let load = Load::new(federation.nodes[0].service(), "figlet", RATE_RPS)
        .start(&federation.client)
        .unwrap();
    for strategy in [
        "static",
        "water-filling",
        "recalc",
        "all-local",
        "node-margin",
        "water-filling",
    ] {
        change(&federation, strategy);
        let samples = load.samples();
        let failed = |outcome: &Outcome| !matches!(outcome, Outcome::Answered { status: 200, .. });
        let failures: Vec<_> = samples.iter().filter(|sample| failed(&sample.outcome)).collect();
        assert!(
            failures.is_empty(),
            "to {strategy}: {failures:#?}{}",
            federation.logs()
        );
        println!("to {strategy}: {} requests, none failed", samples.len());
    }
    drop(load);
    federation.stop().unwrap();
}

#[test]
fn static_serves_60_of_100_here_and_sends_the_rest_in_equal_parts() {
    let _turn = turn();
    let specs = [10, 20, 30].map(|rate| NodeSpec {
        strategy: "static".to_owned(),
        ..NodeSpec::new(vec![figlet(rate)])
    });
    let federation = Federation::start(&specs).unwrap();
    let node = &federation.nodes[0];
    let mut load = Load::new(node.service(), "figlet", 50);
    load.at_most = Duration::from_secs(6);
    let samples = load.start(&federation.client).unwrap().finish().unwrap();
    let tally = Tally::of("node1", &samples);
    let told = || format!("{tally:#?}{}", federation.logs());
    assert_eq!(tally.failed_after(Duration::ZERO), 0, "{}", told());
    let shares = ["node1", "node2", "node3"]
        .map(|name| tally.served_by.get(name).copied().unwrap_or(0) as f64 / tally.sent as f64);
    println!("shares {shares:.3?}");
    for (share, want) in shares.into_iter().zip([0.6, 0.2, 0.2]) {
        assert!((share - want).abs() < 0.03, "{shares:?} {}", told());
    }
    let (code, text) = run_ours(node.namespace(), "dfaas-agent", &["explain", "figlet"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("figlet by static\n"), "{text}");
    assert!(
        text.contains("60 of 100 stay here and 40 are for 2 neighbours"),
        "{text}"
    );
    assert!(text.contains("60.0 % of the requests are served here"), "{text}");
    federation.stop().unwrap();
}

#[test]
fn a_shadow_is_shown_and_not_applied() {
    let _turn = turn();
    let specs = [10, 20].map(|rate| NodeSpec {
        agent_arguments: vec!["--shadow".to_owned(), "static".to_owned()],
        ..NodeSpec::new(vec![figlet(rate)])
    });
    let federation = Federation::start(&specs).unwrap();
    let shadow = |node: &Node| node.status().unwrap().0["control"]["shadow"].clone();
    let is_known = || shadow(&federation.nodes[0])["functions"]["figlet"]["here"] == 0.6;
    wait_until("the shadow has met its like", CHANGED, is_known).unwrap();
    let shown = shadow(&federation.nodes[0]);
    assert_eq!(shown["strategy"], "static");
    let status = federation.nodes[0].status().unwrap();
    assert_eq!(status.0["control"]["functions"]["figlet"]["here"], 0.0);
    assert_eq!(status.0["control"]["functions"]["figlet"]["local_rps"], 10.0);
    federation.stop().unwrap();
}

#[test]
fn a_change_is_refused_with_its_reason() {
    let _turn = turn();
    let federation = Federation::start(&[NodeSpec::new(vec![figlet(10)])]).unwrap();
    let node = federation.nodes[0].namespace();
    let (code, text) = run_ours(node, "dfaas-agent", &["strategy"]);
    assert_eq!((code, text.as_str()), (Some(0), "water-filling\n"));
    let (code, text) = run_ours(node, "dfaas-agent", &["strategy", "luck"]);
    assert_eq!(code, Some(1));
    assert!(
        text.contains("no strategy is called \"luck\"; there are water-filling"),
        "{text}"
    );
    let (code, _) = run_ours(node, "dfaas-agent", &["strategy", "recalc"]);
    assert_eq!(code, Some(0));
    let (code, text) = run_ours(node, "dfaas-agent", &["strategy", "static"]);
    assert_eq!(code, Some(1));
    assert!(
        text.contains("409") && text.contains("water-filling is just being replaced by recalc"),
        "{text}"
    );
}

/// Lets all nodes change, and waits until they have left the strategy before.
fn change(federation: &Federation, strategy: &str) {
    let asked = |node: &Node| run_ours(node.namespace(), "dfaas-agent", &["strategy", strategy]);
    for node in &federation.nodes {
        wait_until("the change before is over", CHANGED, || asked(node).0 == Some(0))
            .unwrap_or_else(|error| panic!("{error:#} {:?}{}", asked(node), federation.logs()));
    }
    let has_changed = |node: &Node| node.status().is_ok_and(|status| status.0["strategy"] == strategy);
    let all = || federation.nodes.iter().all(has_changed);
    wait_until("all have changed", CHANGED, all)
        .unwrap_or_else(|error| panic!("{error:#}{}", federation.logs()));
}
