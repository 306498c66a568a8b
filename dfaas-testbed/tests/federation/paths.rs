//! Paths that are unlike one plain link: narrower in the middle, or a VLAN.

use std::time::Duration;

use dfaas_testbed::{CLIENT, Federation, Function, Namespace, Network, Node, NodeSpec, patience};
use serde_json::Value;

use crate::kit::{PLENTY_RPS, curl, tell, turn};

const BYTES: usize = 2 << 20;
/// Less than what either end's link carries, and no less than what every link of IPv6 does.
const NARROW: u16 = 1_300;
const ROUTERS: u8 = 50;

#[test]
fn answers_pass_a_narrow_path_to_the_client() {
    let _turn = turn();
    let federation = two();
    let (client, near) = (&federation.client, &federation.nodes[0]);
    let ends = [(near.namespace(), near.number()), (client, CLIENT)];
    let _routers = federation.network.narrow(ends, ROUTERS, NARROW).unwrap();
    for service in [near.service(), near.ipv6_service()] {
        for function in ["near", "far"] {
            let before = translated(near);
            download(client, &format!("http://{service}/function/{function}"));
            assert!(
                translated(near) > before,
                "{service}, {function}: a router complained"
            );
            forget_paths(&federation.nodes);
        }
    }
    federation.stop().unwrap();
}

#[test]
fn bodies_pass_a_narrow_path_between_nodes() {
    let _turn = turn();
    let federation = two();
    let [near, far] = &federation.nodes[..] else {
        panic!("two nodes")
    };
    let ends = [near, far].map(|node| (node.namespace(), node.number()));
    let _routers = federation.network.narrow(ends, ROUTERS, NARROW).unwrap();
    let client = &federation.client;
    for service in [near.service(), near.ipv6_service()] {
        let url = format!("http://{service}/function/far");
        let before = translated(near);
        upload(client, &url);
        download(client, &url);
        // What clients are told to send by IPv6 fits through every link of IPv6.
        let has_to_complain = service.is_ipv4();
        assert!(
            !has_to_complain || translated(near) > before,
            "{service}: a router complained"
        );
    }
    federation.stop().unwrap();
}

#[test]
fn a_vlan_is_a_link_like_others() {
    let _turn = turn();
    let network = Network::with_vlan(5).unwrap();
    if let Err(error) = network.add_host("host", 200) {
        tell(&format!("SKIPPED: a VLAN: {error:#}"));
        return;
    }
    let mut federation = Federation::unformed_on(network, &specs()).unwrap();
    let start = federation.start_agents().unwrap();
    federation.wait_until_formed(start).unwrap();
    let near = &federation.nodes[0];
    for service in [near.service(), near.ipv6_service()] {
        for function in ["near", "far"] {
            let url = format!("http://{service}/function/{function}");
            upload(&federation.client, &url);
            download(&federation.client, &url);
        }
    }
    let totals = &near.status().unwrap().0["totals"];
    assert_eq!(proxied(totals), 0, "{totals}");
    federation.stop().unwrap();
}

/// How many connections HAProxy was given, for any reason.
fn proxied(totals: &Value) -> u64 {
    let events = totals["events"].as_object().unwrap();
    let given = events.iter().filter(|(name, _)| name.starts_with("proxied_"));
    given.map(|(_, count)| count.as_u64().unwrap()).sum()
}

fn specs() -> [NodeSpec; 2] {
    ["near", "far"].map(|name| NodeSpec::new(vec![Function::echo(PLENTY_RPS).named(name)]))
}

fn two() -> Federation {
    Federation::start(&specs()).unwrap()
}

#[track_caller]
fn download(client: &Namespace, url: &str) {
    let seen = curl(
        client,
        &["--max-time", &seconds(), &format!("{url}?size={BYTES}")],
    );
    assert_eq!((seen.status, seen.body.len()), (200, BYTES), "{}", seen.headers);
}

/// How long a transfer may take: a loss that nobody sees takes longer to mend.
fn seconds() -> String {
    patience(Duration::from_secs(20)).as_secs().to_string()
}

/// Sends a body, of which curl awaits that it is wanted, and expects it back.
#[track_caller]
fn upload(client: &Namespace, url: &str) {
    let sent: Vec<u8> = (0..BYTES / 8).flat_map(|n| (n as u64).to_le_bytes()).collect();
    std::fs::write(client.path("/run/upload"), &sent).unwrap();
    let arguments = [
        "--max-time",
        &seconds(),
        "-H",
        "Content-Type: x/y",
        "--data-binary",
    ];
    let seen = curl(client, &[&arguments[..], &["@/run/upload", url]].concat());
    assert_eq!(seen.status, 200, "{}", seen.headers);
    assert!(seen.body == sent, "not what was sent");
}

/// How many messages of routers a node has translated.
fn translated(node: &Node) -> u64 {
    let status = node.status().unwrap();
    status.0["totals"]["events"]["too_big"].as_u64().unwrap()
}

/// Makes hosts forget what they have learned of paths, so that routers have to say it again.
fn forget_paths(nodes: &[Node]) {
    for node in nodes {
        for version in ["-4", "-6"] {
            let flush = [version, "route", "flush", "cache"];
            let output = node.namespace().output("ip", &flush).unwrap();
            assert!(output.status.success(), "{output:?}");
        }
    }
}
