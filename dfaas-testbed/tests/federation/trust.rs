//! Who is let in: a node's identity is known to all, its token is not.

use std::{collections::BTreeSet, time::Duration};

use dfaas_testbed::{Federation, Function, Load, Node, NodeSpec, Outcome, now, wait_until};

use crate::{
    forger::Sniffer,
    kit::{PLENTY_RPS, Seen, curl, turn},
};

const READY: Duration = Duration::from_secs(20);
const RATE_RPS: u32 = 100;
const SECONDS: u64 = 8;
/// Longer than two tokens last.
const TWO_ROTATIONS: Duration = Duration::from_secs(15);
const CHUNKED: [&str; 4] = ["-H", "Transfer-Encoding: chunked", "-d", "hello"];

#[test]
fn an_identity_without_its_token_is_forged() {
    let _turn = turn();
    let federation = quick(&[]);
    let [near, far] = &federation.nodes[..] else {
        panic!("two nodes");
    };
    let id = near.status().unwrap().node().to_owned();
    let before = forged(far);
    let admitted = || far.status().unwrap().totals("far").admitted;
    let admitted_before = admitted();
    let wrong = "0123456789abcdef0123456789abcdef".to_owned();
    let attempts = [None, Some(String::new()), Some(wrong)];
    for token in &attempts {
        for more in [&[][..], &CHUNKED] {
            let seen = claim(&federation, far, &id, token.as_deref(), more);
            assert_eq!(seen.status, 403, "{token:?} {seen:?}");
            assert!(seen.text().contains("DFaaS-Node-Token"), "{seen:?}");
        }
    }
    let count = 2 * attempts.len() as u64;
    wait_until("forgeries counted", READY, || forged(far) == before + count).unwrap();
    assert_eq!(admitted(), admitted_before);
    assert_eq!(ask_far(&federation, &[]).status, 200, "others are not harmed");
    assert_eq!(forged(far), before + count);
    federation.stop().unwrap();
}

#[test]
fn an_old_token_is_worth_nothing() {
    let _turn = turn();
    let federation = quick(&[]);
    let [near, far] = &federation.nodes[..] else {
        panic!("two nodes");
    };
    let id = near.status().unwrap().node().to_owned();
    let overheard = overhear(&federation);
    let seen = claim(&federation, far, &id, Some(&overheard), &[]);
    assert_eq!(seen.status, 200, "while it lasts, whoever has it is believed");
    for more in [&[][..], &CHUNKED] {
        wait_until("the token refused", TWO_ROTATIONS, || {
            claim(&federation, far, &id, Some(&overheard), more).status == 403
        })
        .unwrap();
    }
    assert_eq!(ask_far(&federation, &[]).status, 200);
    federation.stop().unwrap();
}

#[test]
fn tokens_change_under_load_and_nothing_is_lost() {
    let _turn = turn();
    let federation = quick(&[]);
    let [near, far] = &federation.nodes[..] else {
        panic!("two nodes");
    };
    let before = (forged(near), forged(far));
    let mut load = Load::new(near.service(), "far", RATE_RPS);
    load.at_most = Duration::from_secs(SECONDS);
    let running = load.start(&federation.client).unwrap();
    let mut tokens = BTreeSet::new();
    let mut by_haproxy = 0;
    let start = now();
    while start.elapsed() < Duration::from_secs(SECONDS - 1) {
        tokens.insert(Sniffer::new(far.namespace()).token());
        let seen = ask_far(&federation, &CHUNKED);
        assert_eq!((seen.status, seen.text().as_str()), (200, "hello"), "{seen:?}");
        by_haproxy += 1;
    }
    let samples = running.finish().unwrap();
    let is_served = |outcome: &Outcome| matches!(outcome, Outcome::Answered { status: 200, served_by: Some(node) } if node == far.name());
    let lost: Vec<_> = samples
        .iter()
        .filter(|sample| !is_served(&sample.outcome))
        .collect();
    assert!(lost.is_empty(), "{lost:?}\n{}", federation.logs());
    assert!(tokens.len() >= 3, "{} tokens in {SECONDS} s", tokens.len());
    assert_eq!((forged(near), forged(far)), before);
    println!(
        "{} requests by the kernel and {by_haproxy} by HAProxy with {} tokens, none refused",
        samples.len(),
        tokens.len()
    );
    federation.stop().unwrap();
}

#[test]
fn a_node_without_the_ability_can_be_let_in() {
    let _turn = turn();
    let federation = quick(&["--tokenless-peers=all"]);
    let [near, far] = &federation.nodes[..] else {
        panic!("two nodes");
    };
    let id = near.status().unwrap().node().to_owned();
    for more in [&[][..], &CHUNKED] {
        assert_eq!(claim(&federation, far, &id, None, more).status, 200);
        assert_eq!(claim(&federation, far, "malicious-id", None, more).status, 403);
    }
    federation.stop().unwrap();
}

/// Two nodes whose tokens last a second: `near` runs at the first, `far` at the second, and HAProxy at both.
fn quick(more: &[&str]) -> Federation {
    let spec = |name: &str| NodeSpec {
        agent_arguments: [&["--token-rotation=1s"], more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        ..NodeSpec::new(vec![Function::echo(PLENTY_RPS).named(name)])
    };
    let federation = Federation::start(&[spec("near"), spec("far")]).unwrap();
    wait_until("HAProxy ready and routes known", READY, || {
        let has_proxy = |node: &Node| {
            let status = node.status().ok();
            status.is_some_and(|status| status.0["proxy"]["state"] == "ready")
        };
        federation.nodes.iter().all(has_proxy)
            && ask_far(&federation, &[]).status == 200
            && ask_far(&federation, &CHUNKED).status == 200
    })
    .unwrap();
    federation
}

/// Asks the first node for what only the second has.
fn ask_far(federation: &Federation, more: &[&str]) -> Seen {
    let url = format!("http://{}/function/far", federation.nodes[0].service());
    curl(&federation.client, &[more, &[&url]].concat())
}

/// Asks a node directly, as if from another node.
fn claim(federation: &Federation, node: &Node, id: &str, token: Option<&str>, more: &[&str]) -> Seen {
    let id = format!("DFaaS-Node-ID: {id}");
    let token = token.map(|token| match token {
        "" => "DFaaS-Node-Token;".to_owned(),
        token => format!("DFaaS-Node-Token: {token}"),
    });
    let url = format!("http://{}/function/far", node.service());
    let mut arguments = vec!["-H", &id, &url];
    if let Some(token) = &token {
        arguments.extend(["-H", token.as_str()]);
    }
    curl(&federation.client, &[more, &arguments].concat())
}

/// The token that goes from the first node to the second, as somebody on the way hears it.
fn overhear(federation: &Federation) -> String {
    let sniffer = Sniffer::new(federation.nodes[1].namespace());
    assert_eq!(ask_far(federation, &[]).status, 200);
    sniffer.token()
}

/// How many forgeries a node has counted, in the kernel and in HAProxy.
fn forged(node: &Node) -> u64 {
    let status = node.status().unwrap();
    status.0["totals"]["events"]["forged"].as_u64().unwrap()
}
