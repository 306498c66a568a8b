//! Long bodies over bad links: whole, and not much slower than without the data plane.

use std::{
    env, fmt,
    fs::File,
    io::{BufWriter, Write as _},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use dfaas_testbed::{
    CLIENT, Federation, Function, Namespace, Network, Node, NodeSpec, Process, Wire, get, now, patience,
    wait_until,
};

use crate::kit::{FLOW_MAPS, PLENTY_RPS, start_ours, tell, try_curl, turn};

/// The length of a transfer, in megabytes, unless this variable says another.
const LENGTH: (&str, u64) = ("DFAAS_TEST_LONG_MB", 100);
/// Of the packets to every host, each way.
const LINK: &str = "delay 1ms reorder 25% 50% loss 1%";
/// The least of the speed without the data plane that is left with it.
const SPEED_MIN: f64 = 0.5;
/// Where providers are asked without the data plane.
const DIRECT_PORT: u16 = 9090;

#[test]
fn long_transfers_survive_loss_and_reordering() {
    let _turn = turn();
    let network = Network::new().unwrap();
    let host = network.add_host("host", 1).unwrap();
    if let Err(error) = network.impair(&host, 1, LINK) {
        tell(&format!("lossy: SKIPPED: transfers over bad links: {error:#}"));
        return;
    }
    drop((host, network));
    let [near, far] = [("echo", "sum"), ("far", "far-sum")].map(|(echo, sum)| {
        let echo = Function::echo(PLENTY_RPS).named(echo);
        NodeSpec::new(vec![echo, checksum().named(sum)])
    });
    let federation = Federation::start(&[near, far]).unwrap();
    let _direct: Vec<Process> = federation.nodes.iter().map(direct).collect();
    route_by_node_1(&federation);
    impair(&federation, LINK);
    let [near, far] = &federation.nodes[..] else {
        panic!("two nodes")
    };
    let sent = prepare_upload(&federation.client);
    let stored = stored(near);
    let pairs = [
        download(&federation, "local download", near, "echo", &stored),
        download(&federation, "forwarded download", far, "far", &stored),
        upload(&federation, "local upload", near, "sum", &sent),
        upload(&federation, "forwarded upload", far, "far-sum", &sent),
    ];
    let slow: Vec<&Pair> = pairs.iter().filter(|pair| pair.speed() < SPEED_MIN).collect();
    assert!(slow.is_empty(), "{slow:#?}{}", federation.logs());
}

/// What overtakes a missing segment may be the end of a chunk, behind which the next request waits for its turn.
#[test]
fn pipelines_go_on_behind_missing_segments() {
    const CONNECTIONS: usize = 20;
    const REQUESTS: usize = 50;
    const BYTES: usize = 3000;
    let _turn = turn();
    let nodes = ["near", "far"].map(|name| vec![Function::echo(PLENTY_RPS).named(name)]);
    let federation = Federation::start(&nodes.map(NodeSpec::new)).unwrap();
    impair(&federation, "delay 1ms reorder 25% 50% loss 2% duplicate 1%");
    let ask = |number: usize| {
        let function = ["near", "far"][number % 2];
        format!("GET /function/{function}?chunked={BYTES} HTTP/1.1\r\nHost: x\r\n\r\n")
    };
    thread::scope(|scope| {
        for first in 0..CONNECTIONS {
            let federation = &federation;
            scope.spawn(move || {
                let mut wire = Wire::connect(&federation.client, federation.nodes[0].service()).unwrap();
                // What is sent again for the third time comes late.
                let patience = patience(Duration::from_secs(60));
                wire.stream().set_read_timeout(Some(patience)).unwrap();
                let all: String = (first..first + REQUESTS).map(ask).collect();
                wire.send(all.as_bytes()).unwrap();
                for number in 0..REQUESTS {
                    let told = || format!("answer {number} of connection {first}");
                    let response = wire.response("GET").with_context(told).unwrap();
                    assert_eq!((response.status, response.body.len()), (200, BYTES), "{}", told());
                }
            });
        }
    });
}

/// Each request goes to another peer than the one before, so servers that are kept are left and found again.
#[test]
fn a_kept_connection_goes_round_ten_peers() {
    const PEERS: usize = 10;
    const REQUESTS: usize = 1_000;
    /// How long a connection that has ended may be remembered.
    const FORGOTTEN: Duration = Duration::from_secs(15);
    let _turn = turn();
    let specs: Vec<NodeSpec> = (0..=PEERS)
        .map(|number| NodeSpec {
            // Eleven nodes have little time each.
            period: Duration::from_secs(3),
            ..NodeSpec::new(vec![Function::echo(PLENTY_RPS).named(&format!("f{number}"))])
        })
        .collect();
    let federation = Federation::start(&specs).unwrap();
    impair(&federation, "delay 1ms reorder 25% 50% loss 2%");
    let node = &federation.nodes[0];
    let mut wire = Wire::connect(&federation.client, node.service()).unwrap();
    // What is lost several times comes late.
    wire.stream()
        .set_read_timeout(Some(patience(Duration::from_secs(60))))
        .unwrap();
    let mut most = 0;
    let mut took = Vec::new();
    for number in 0..REQUESTS {
        let start = now();
        let peer = 1 + number * 7 % PEERS;
        let body = format!("request {number}");
        let request = format!(
            "PUT /function/f{peer} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let told = || format!("request {number} to peer {peer}\n{}", node.logs());
        let answer = wire.ask(request.as_bytes(), "PUT").with_context(told).unwrap();
        assert_eq!(answer.status, 200, "{}", told());
        assert_eq!(
            answer.served_by(),
            Some(&*format!("node{}", peer + 1)),
            "{}",
            told()
        );
        assert!(answer.body.ends_with(body.as_bytes()), "{answer:?}");
        took.push(start.elapsed());
        if number % 100 == 99 {
            most = most.max(node.map_entries(&["UPSTREAMS"]).unwrap()["UPSTREAMS"]);
        }
    }
    took.sort_unstable();
    let [middle, tenth, last] = [REQUESTS / 2, REQUESTS * 9 / 10, REQUESTS - 1].map(|rank| took[rank]);
    println!(
        "{REQUESTS} requests over {PEERS} peers: p50 {middle:.1?}, p90 {tenth:.1?}, longest {last:.1?}; \
         at most {most} servers known at a time"
    );
    assert!((1..=PEERS).contains(&most), "{most} servers for {PEERS} peers");
    drop(wire);
    let left = || node.map_entries(&FLOW_MAPS).unwrap();
    wait_until("all forgotten", FORGOTTEN, || left().values().sum::<usize>() == 0)
        .unwrap_or_else(|error| panic!("{error}: {:?}", left()));
}

/// How long a transfer took without the data plane and with it.
#[derive(Debug)]
struct Pair {
    what: &'static str,
    direct: Duration,
    through: Duration,
}

impl Pair {
    fn speed(&self) -> f64 {
        self.direct.as_secs_f64() / self.through.as_secs_f64()
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            direct,
            through,
        } = self;
        let speed = self.speed();
        write!(
            f,
            "{what}: {direct:.1?} without the data plane, {through:.1?} with it: {speed:.2} of the speed"
        )
    }
}

fn checksum() -> Function {
    Function {
        name: "sum".to_owned(),
        image: "ghcr.io/openfaas/alpine:latest".to_owned(),
        process: Some("sha256sum".to_owned()),
        rate_rps: PLENTY_RPS,
    }
}

/// A second provider of a node, which the client reaches by itself.
fn direct(node: &Node) -> Process {
    let functions = format!("0.0.0.0:{DIRECT_PORT}");
    let arguments = [
        "--gateway",
        "127.0.0.1:9080",
        "--functions",
        &functions,
        "--state-dir",
        "/run/direct",
        "--stack",
        "/run/stack.yaml",
    ];
    let process = start_ours(node.namespace(), "direct", "dfaas-provider", &arguments);
    let gateway = ([127, 0, 0, 1], 9080).into();
    let up = || get(node.namespace(), gateway, "/healthz").is_ok_and(|answer| answer.is_ok());
    wait_until("direct provider up", Duration::from_secs(20), up).unwrap();
    process
}

/// The client and node 2 reach each other over the links of node 1, as they do by the data plane.
fn route_by_node_1(federation: &Federation) {
    let [near, far] = [&federation.nodes[0], &federation.nodes[1]].map(Node::namespace);
    let settings = [
        "net.ipv4.ip_forward=1",
        "net.ipv4.conf.all.send_redirects=0",
        "net.ipv4.conf.eth0.send_redirects=0",
    ];
    let output = near.output("sysctl", &[&["-w"], &settings[..]].concat()).unwrap();
    assert!(output.status.success(), "{output:?}");
    for (host, other) in [(&federation.client, 2), (far, CLIENT)] {
        let (other, by) = (Network::address(other), Network::address(1));
        host.ip(&format!("route add {other}/32 via {by}\n")).unwrap();
    }
}

fn impair(federation: &Federation, link: &str) {
    let nodes = federation
        .nodes
        .iter()
        .map(|node| (node.namespace(), node.number()));
    for (host, number) in nodes.chain([(&federation.client, CLIENT)]) {
        federation.network.impair(host, number, link).unwrap();
    }
}

/// Writes what is sent, in which no two places look alike, and returns its checksum.
fn prepare_upload(client: &Namespace) -> String {
    let mut file = BufWriter::new(File::create(client.path("/run/sent")).unwrap());
    for n in 0..bytes() / 8 {
        let word = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        file.write_all(&word).unwrap();
    }
    file.flush().unwrap();
    sha256(client, "/run/sent")
}

/// The checksum of what functions send, as it never went over a link.
fn stored(node: &Node) -> String {
    let url = format!("http://127.0.0.1:{DIRECT_PORT}/function/echo?size={}", bytes());
    curl(node.namespace(), &["--output", "/run/stored", &url]);
    sha256(node.namespace(), "/run/stored")
}

#[track_caller]
fn download(federation: &Federation, what: &'static str, at: &Node, function: &str, sum: &str) -> Pair {
    check(
        federation,
        what,
        at,
        &format!("{function}?size={}", bytes()),
        |client, url| {
            let took = curl(client, &["--output", "/run/got", url]);
            assert_eq!(sha256(client, "/run/got"), sum, "{what} {url}: not what was sent");
            took
        },
    )
}

#[track_caller]
fn upload(federation: &Federation, what: &'static str, at: &Node, function: &str, sum: &str) -> Pair {
    check(federation, what, at, function, |client, url| {
        let upload = ["-X", "POST", "-H", "Expect:", "--upload-file", "/run/sent"];
        let took = curl(client, &[&upload[..], &["--output", "/run/got", url]].concat());
        let got = std::fs::read_to_string(client.path("/run/got")).unwrap();
        assert_eq!(
            got.split(' ').next(),
            Some(sum),
            "{what} {url}: not what was sent"
        );
        took
    })
}

#[track_caller]
fn check(
    federation: &Federation,
    what: &'static str,
    at: &Node,
    path: &str,
    transfer: impl Fn(&Namespace, &str) -> Duration,
) -> Pair {
    let address = Network::address(at.number());
    let direct = transfer(
        &federation.client,
        &format!("http://{address}:{DIRECT_PORT}/function/{path}"),
    );
    tell(&format!("lossy: {what}: {direct:.1?} without the data plane"));
    let url = format!("http://{}/function/{path}", federation.nodes[0].service());
    wait_until_reached(federation, &url);
    let through = transfer(&federation.client, &url);
    let pair = Pair {
        what,
        direct,
        through,
    };
    tell(&pair.to_string());
    pair
}

/// Over bad links, nodes may just have lost touch.
fn wait_until_reached(federation: &Federation, url: &str) {
    let short = url.split('?').next().unwrap();
    let reached = || {
        try_curl(&federation.client, &["--fail", "--data", "x", short])
            .status
            .success()
    };
    wait_until("function reached", Duration::from_secs(20), reached).unwrap();
}

fn bytes() -> u64 {
    let (name, unless) = LENGTH;
    let told = env::var(name).ok().and_then(|length| length.parse().ok());
    told.unwrap_or(unless) * 1_000_000
}

/// How long curl took for a transfer.
#[track_caller]
fn curl(from: &Namespace, arguments: &[&str]) -> Duration {
    let ours = [
        "--silent",
        "--show-error",
        "--fail",
        "--max-time",
        "900",
        "--write-out",
        "%{time_total}",
    ];
    let output = from.output("curl", &[&ours, arguments].concat()).unwrap();
    let [text, complaint] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(
        output.status.success(),
        "curl {arguments:?}: {complaint} after {text} s"
    );
    Duration::from_secs_f64(text.trim().parse().unwrap())
}

fn sha256(host: &Namespace, file: &str) -> String {
    let output = host.output("sha256sum", &[file]).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split(' ').next().unwrap().to_owned()
}
