//! What is asked by IPv6 is served like all else; and where a version of IP does not lead to who is to serve, HAProxy does.

use std::{fs, time::Duration};

use dfaas_testbed::{Federation, Function, Namespace, Node, NodeSpec, Wire, wait_until};

use crate::{
    front_ends::trio,
    kit::{PLENTY_RPS, curl, is_on_haproxy, pair, turn},
};

const READY: Duration = Duration::from_secs(10);
const BYTES: usize = 20 << 20;

#[test]
fn bodies_arrive_whole_by_ipv6() {
    let _turn = turn();
    let federation = pair();
    let (client, near) = (&federation.client, &federation.nodes[0]);
    let sent: Vec<u8> = (0..BYTES as u64 / 80)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect();
    fs::write(client.path("/run/upload"), &sent).unwrap();
    let before = events(near);
    for function in ["echo", "far"] {
        let url = format!("http://{}/function/{function}", near.ipv6_service());
        let seen = curl(
            client,
            &["-H", "Content-Type: x/y", "--data-binary", "@/run/upload", &url],
        );
        assert_eq!(
            (seen.status, seen.body.len()),
            (200, sent.len()),
            "{}",
            seen.headers
        );
        assert!(seen.body == sent, "{function}: not what was sent");
        let seen = curl(client, &[&format!("{url}?size={BYTES}")]);
        assert_eq!((seen.status, seen.body.len()), (200, BYTES), "{}", seen.headers);
    }
    assert_eq!(events(near), before, "HAProxy had no part in it");
}

#[test]
fn refusals_are_the_same_by_ipv6() {
    let _turn = turn();
    let federation = pair();
    let service = federation.nodes[0].ipv6_service();
    let check = |path: &str, field: &str, want: u16| {
        let seen = curl(
            &federation.client,
            &["-H", field, &format!("http://{service}/{path}")],
        );
        assert_eq!(seen.status, want, "{path} {field}: {}", seen.headers);
    };
    check("function/nosuch", "X: y", 404);
    check("system/functions", "X: y", 403);
    check("function/echo", "DFaaS-Node-ID: malicious-id", 403);
    check("", "X: y", 200);
}

#[test]
fn a_kept_connection_ends_without_a_trace_by_ipv6() {
    let _turn = turn();
    let federation = trio();
    let near = &federation.nodes[0];
    let mut wire = Wire::connect(&federation.client, near.ipv6_service()).unwrap();
    for function in ["near", "middle", "far", "near"] {
        let request = format!("GET /function/{function} HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(wire.ask(request.as_bytes(), "GET").unwrap().status, 200);
    }
    drop(wire);
    wait_until("all forgotten", READY, || {
        let entries = near.map_entries(&["CLIENTS", "UPSTREAMS", "HELD"]);
        entries.is_ok_and(|entries| entries.values().all(|&count| count == 0))
    })
    .unwrap();
}

#[test]
fn haproxy_leads_to_a_peer_without_ipv6() {
    let _turn = turn();
    let near = NodeSpec::new(vec![Function::echo(PLENTY_RPS).named("near")]);
    let mut far = NodeSpec::new(vec![Function::echo(PLENTY_RPS).named("far")]);
    far.agent_arguments = vec!["--node-ipv6".to_owned(), "off".to_owned()];
    let federation = Federation::start(&[near, far]).unwrap();
    let near = &federation.nodes[0];
    wait_for_haproxy(near);
    let ask = |from: &Namespace, address| curl(from, &[&format!("http://{address}/function/far")]);
    let seen = ask(&federation.client, near.ipv6_service());
    assert_eq!(
        (seen.status, seen.header("X-Served-By")),
        (200, Some("node2")),
        "{}",
        seen.headers
    );
    assert_eq!(events(near), 1);
    let seen = ask(&federation.client, near.service());
    assert_eq!(seen.status, 200, "{}", seen.headers);
    assert_eq!(events(near), 1, "by IPv4 the kernel can");
    federation.stop().unwrap();
}

#[track_caller]
fn wait_for_haproxy(node: &Node) {
    let log = || fs::read_to_string(node.namespace().path("/run/agent.log")).unwrap();
    wait_until("HAProxy lent", READY, || {
        log().contains("Lent a listener to the kernel whose=\"HAProxy\" is_ipv6=true")
    })
    .unwrap();
}

/// How many connections HAProxy got for the version of IP. Where there is nobody else to get them, none.
fn events(node: &Node) -> u64 {
    if is_on_haproxy() {
        return 0;
    }
    let status = node.status().unwrap();
    status.0["totals"]["events"]["proxied_family"].as_u64().unwrap()
}
