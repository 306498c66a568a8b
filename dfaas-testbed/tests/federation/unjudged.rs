//! The platform gets no connection that the data plane has not judged, whatever its packets look like and wherever they come
//! from; and other servers and programs of the host keep what is theirs.

use std::time::Duration;

use dfaas_testbed::{Federation, Function, Namespace, Network, Node, NodeSpec, Process, wait_until};

use crate::kit::{PLENTY_RPS, curl, try_curl, turn};

const READY: Duration = Duration::from_secs(10);
/// Counts packets, with nothing that kernels for tests may lack: a copy goes to the loopback, which drops it.
const COUNT: &str = "action mirred egress mirror dev lo";
/// An address of the node that is not the service's.
const SECOND_ADDRESS: &str = "10.77.9.9";
/// Asks a server by a socket with an option set; prints the status line, or why there is none.
const ASK: &str = r"
import socket, sys
host, level, option, value = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), bytes.fromhex(sys.argv[4])
family = socket.AF_INET6 if ':' in host else socket.AF_INET
client = socket.socket(family)
client.settimeout(5)
client.setsockopt(level, option, value)
try:
    client.connect((host, 80))
    client.sendall(b'GET /function/echo HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n')
    print(client.recv(100).split(b'\r\n')[0].decode())
except OSError as error:
    print(type(error).__name__)
";
/// `IPPROTO_IP`, `IP_OPTIONS`, and four options that do nothing.
const IP_OPTIONS: [&str; 3] = ["0", "4", "01010101"];
/// `IPPROTO_IPV6`, `IPV6_DSTOPTS`, and a header of padding.
const DESTINATION_OPTIONS: [&str; 3] = ["41", "59", "0000010400000000"];

#[test]
fn without_haproxy_nothing_fails_open() {
    let _turn = turn();
    let federation = alone(&["--haproxy", "off"]);
    let node = &federation.nodes[0];
    let unjudged = || count(node, "unjudged");
    let before = unjudged();
    assert_eq!(
        ask(&federation.client, node, IP_OPTIONS),
        "ConnectionRefusedError"
    );
    assert_eq!(
        ask(&federation.client, node, DESTINATION_OPTIONS),
        "ConnectionRefusedError"
    );
    // The node itself is no way around either.
    let url = format!("http://{}/function/echo", node.service());
    const COULD_NOT_CONNECT: i32 = 7;
    let output = try_curl(node.namespace(), &["-d", "x", &url]);
    assert_eq!(output.status.code(), Some(COULD_NOT_CONNECT), "{output:?}");
    wait_until("all counted", READY, || unjudged() >= before + 3).unwrap();
    assert_eq!(node.status().unwrap().totals("echo").local, 0);
    assert_eq!(curl(&federation.client, &["-d", "x", &url]).status, 200);
    federation.stop().unwrap();
}

#[test]
fn what_the_programs_do_not_read_haproxy_judges() {
    let _turn = turn();
    let federation = alone(&[]);
    let node = &federation.nodes[0];
    wait_until("HAProxy lent", READY, || is_ready(node)).unwrap();
    for way in [IP_OPTIONS, DESTINATION_OPTIONS] {
        assert_eq!(ask(&federation.client, node, way), "HTTP/1.1 200 OK");
    }
    wait_until("both counted", READY, || {
        node.status().unwrap().totals("echo").local == 2
    })
    .unwrap();
    federation.stop().unwrap();
}

#[test]
fn who_needs_a_haproxy_that_is_being_started_is_told_to_come_again() {
    let _turn = turn();
    // It is tried again and again, because the port is taken.
    let federation = alone(&["--proxy-port", "8080"]);
    let node = &federation.nodes[0];
    let url = format!("http://{}/function/echo", node.service());
    let chunked = ["-H", "Transfer-Encoding: chunked", "-d", "x", &url];
    let seen = curl(&federation.client, &chunked);
    assert_eq!(
        (seen.status, seen.header("Retry-After")),
        (503, Some("1")),
        "{seen:?}"
    );
    federation.stop().unwrap();
}

#[test]
fn other_servers_of_the_host_keep_their_clients() {
    let _turn = turn();
    let federation = alone(&["--haproxy", "off"]);
    let node = &federation.nodes[0];
    let host = node.namespace();
    host.ip(&format!(
        "address add {SECOND_ADDRESS}/32 dev eth0\nlink set lo up"
    ))
    .unwrap();
    let route = format!(
        "route add {SECOND_ADDRESS}/32 via {}",
        Network::address(node.number())
    );
    federation.client.ip(&route).unwrap();
    let web = Process::start(host, "web", "python3", &["-m", "http.server", "80"]).unwrap();
    let server = |from: &Namespace, address: &str| {
        let url = format!("http://{address}/");
        let output = try_curl(from, &[&url]);
        let headers = std::fs::read_to_string(from.path("/run/headers")).unwrap_or_default();
        output.status.success() && headers.contains("Server: SimpleHTTP")
    };
    wait_until("another server answers", READY, || server(host, "127.0.0.1")).unwrap();
    assert!(server(host, SECOND_ADDRESS));
    assert!(server(&federation.client, SECOND_ADDRESS));
    // The service's own address is the service's.
    let url = format!("http://{}/", node.service());
    assert!(
        curl(&federation.client, &[&url])
            .text()
            .starts_with("dfaas: call a function")
    );
    drop(web);
    federation.stop().unwrap();
}

#[test]
fn filters_of_others_see_their_packets() {
    let _turn = turn();
    let federation = alone(&[]);
    let node = &federation.nodes[0];
    let host = node.namespace();
    let tc = |arguments: &str| {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let output = host.output("tc", &arguments).unwrap();
        assert!(output.status.success(), "tc {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // Before 6.6 the agent has one there already.
    let clsact = ["qdisc", "add", "dev", "eth0", "clsact"];
    host.output("tc", &clsact).unwrap();
    for direction in ["ingress", "egress"] {
        tc(&format!(
            "filter add dev eth0 {direction} protocol all pref 60000 u32 match u32 0 0 {COUNT}"
        ));
    }
    // Nobody listens there: a packet in, and one out.
    let url = format!("http://{}:81/", Network::address(node.number()));
    for _ in 0..5 {
        assert!(!try_curl(&federation.client, &[&url]).status.success());
    }
    for direction in ["ingress", "egress"] {
        let counted = tc(&format!("-s filter show dev eth0 {direction}"));
        let packets = counted
            .split_once(" bytes ")
            .and_then(|(_, rest)| rest.split(' ').next()?.parse::<u32>().ok());
        assert!(packets >= Some(5), "{direction}: {counted}");
    }
    federation.stop().unwrap();
}

fn alone(arguments: &[&str]) -> Federation {
    let mut spec = NodeSpec::new(vec![Function::echo(PLENTY_RPS)]);
    spec.agent_arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
    Federation::start(&[spec]).unwrap()
}

/// What becomes of a request of a client with a socket's option, of IPv4 or IPv6.
fn ask(from: &Namespace, node: &Node, [level, option, value]: [&str; 3]) -> String {
    let is_ipv6 = level == DESTINATION_OPTIONS[0];
    let host = if is_ipv6 {
        node.ipv6_service().ip()
    } else {
        node.service().ip()
    };
    let output = from
        .output("python3", &["-c", ASK, &host.to_string(), level, option, value])
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn count(node: &Node, event: &str) -> u64 {
    let events = &node.status().unwrap().0["totals"]["events"];
    events[event].as_u64().unwrap_or_default()
}

fn is_ready(node: &Node) -> bool {
    let log = std::fs::read_to_string(node.namespace().path("/run/agent.log")).unwrap_or_default();
    ["is_ipv6=false", "is_ipv6=true"].iter().all(|which| {
        log.contains(&format!(
            "Lent a listener to the kernel whose=\"HAProxy\" {which}"
        ))
    })
}
