//! HAProxy itself, with the configuration and the policy that the agent gives it.

mod adopted;
mod alone;
mod stub;

use std::{
    cell::Cell,
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    path::Path,
    process::Stdio,
};

use dfaas_control::{FunctionName, FunctionPolicy, Peer, Route, Token, Trust};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::{process::Child, time::sleep};

use self::stub::Stream;
use super::{folder::Folder, *};

const UNATTENDED: Duration = Duration::from_secs(30);

/// A node with a platform and two peers, of which none is more than its proxy.
struct Node {
    proxy: Proxy,
    port: u16,
    peers: BTreeMap<NodeId, Peer>,
    /// How many policies there were.
    policies: Cell<u32>,
}

/// Requests in this order, with target, fields, status, and how the body begins.
const ANSWERS: [(&str, &str, u16, &str); 19] = [
    ("/", "", 200, "dfaas: call a function"),
    ("/", FROM_N2, 200, "dfaas: call a function"),
    ("/", "DFaaS-Node-ID: n9\r\n", 403, STRANGER),
    ("/function/figlet", "dfaas-node-id:\r\n", 403, STRANGER),
    ("/function/figlet", "DFaaS-Node-ID: n1\r\n", 403, STRANGER),
    ("/", OLD_OF_N2, 200, "dfaas: call a function"),
    ("/function/figlet", "DFaaS-Node-ID: n2\r\n", 403, FORGED),
    ("/", "DFaaS-Node-ID: n2\r\nDFaaS-Node-Token:\r\n", 403, FORGED),
    ("/", "DFaaS-Node-ID: n2\r\nDFaaS-Node-Token: -\r\n", 403, FORGED),
    (
        "/function/figlet",
        "DFaaS-Node-ID: n2\r\nDFaaS-Node-Token: 22222222222222222222222222222223\r\n",
        403,
        FORGED,
    ),
    (
        "/function/figlet",
        "DFaaS-Node-Token: 22222222222222222222222222222222\r\n",
        403,
        FORGED,
    ),
    (
        "/function/figlet",
        "DFaaS-Node-ID: n2\r\nDFaaS-Node-ID: n2\r\n",
        403,
        STRANGER,
    ),
    ("/function/nosuch", "", 404, "dfaas: no node known here"),
    ("/function/nosuch", FROM_N2, 404, "dfaas: no node known here"),
    ("/function/away", FROM_N2, 404, "dfaas: no node known here"),
    ("/function/figlet", "", 200, "platform - /function/figlet 0"),
    (
        "/function/figlet.openfaas-fn/a?b",
        FROM_N2,
        200,
        "platform n2 /function/figlet.openfaas-fn/a?b 0",
    ),
    (
        "/function/figlet",
        "DFaaS-Node-ID: n3\r\n",
        429,
        "dfaas: over the limit offered",
    ),
    (
        "/function/figlet",
        "",
        503,
        "dfaas: this node and its peers are at capacity",
    ),
];
const FROM_N2: &str = "DFaaS-Node-ID: n2\r\nDFaaS-Node-Token: 22222222222222222222222222222222\r\n";
const OLD_OF_N2: &str = "dfaas-node-id: n2\r\ndfaas-node-token: 21212121212121212121212121212121\r\n";
const FORGED: &str = "dfaas: DFaaS-Node-Token is not of this node";
const STRANGER: &str = "dfaas: DFaaS-Node-ID is not of this federation";

#[tokio::test]
async fn the_answers_are_those_of_the_kernel() {
    let node = Node::start(&[("figlet", figlet(1.0)), ("away", away())]).await;
    for (target, fields, status, body) in ANSWERS {
        let answer = Stream::connect(node.port).await.get(target, fields).await;
        assert_eq!(answer.status, status, "{target} {fields:?}");
        assert!(
            answer.body.starts_with(body),
            "{target} {fields:?}: {}",
            answer.body
        );
        let has_to_wait = matches!(status, 429 | 503);
        assert_eq!(
            stub::field(&answer.head, "retry-after").is_some(),
            has_to_wait,
            "{}",
            answer.head
        );
    }
    let is_refused_twice = |counters: &Counters| {
        counters
            .functions
            .get(&function("figlet"))
            .is_some_and(|figlet| figlet.refused == 2)
    };
    let counters = node.counters(is_refused_twice).await;
    let figlet = &counters.functions[&function("figlet")];
    assert_eq!((figlet.user, figlet.local), (2, 1));
    assert_eq!(figlet.admitted, [(peer_id("n2"), 1)].into());
    node.proxy.stop().await;
}

#[tokio::test]
async fn only_functions_are_to_be_had() {
    let node = Node::start(&[("figlet", figlet(f64::INFINITY))]).await;
    for target in [
        "/?",
        "/system/functions",
        "/function",
        "/function/",
        "/function//figlet",
        "//function/figlet",
        "/Function/figlet",
        "/function/fig%6cet",
        "/function/figlet%2f..%2f..%2fsystem",
        "/function/figlet/../../system/functions",
        "/function/figlet/%2e%2E/%2e%2e/system/functions",
        "/function/figlet/..",
        "/function/figlet/./x",
        "/function/figlet/../../system/%zz",
        "/function/figlet/..;/..;/system",
        "/function/figlet/x/..%5c..%5csystem",
        "/function/figlet;x",
        "/function/../system/functions",
        "http://node/system/functions",
        "https://node/function/figlet",
        "*",
    ] {
        let answer = Stream::connect(node.port).await.get(target, "").await;
        let is_refused = matches!(answer.status, 400 | 403 | 404);
        assert!(
            is_refused && answer.body.starts_with("dfaas: "),
            "{target}: {answer:?}"
        );
    }
    for target in [
        "/function/figlet",
        "/function/figlet?x=/../..",
        "/function/figlet/..x/a..b/...",
        "/function/figlet/",
    ] {
        let answer = Stream::connect(node.port).await.get(target, "").await;
        assert_eq!(answer.body, format!("platform - {target} 0"));
    }
    // The field Host says the same.
    for node_named in ["http://node/function/figlet?x", "HTTP://node/function/figlet?x"] {
        let answer = Stream::connect(node.port).await.get(node_named, "").await;
        assert!(
            answer.body.starts_with("platform - ") && answer.body.contains("/function/figlet?x"),
            "{node_named}: {answer:?}"
        );
    }
    node.proxy.stop().await;
}

#[tokio::test]
async fn the_excess_goes_to_peers_by_weight_and_up_to_their_caps() {
    let mut away = away();
    away.routes = routes(&[("n2", 0.25, f64::INFINITY), ("n3", 0.75, f64::INFINITY)]);
    let node = Node::start(&[("away", away.clone())]).await;
    let mut client = Stream::connect(node.port).await;
    let mut served = BTreeMap::<String, u32>::new();
    for _ in 0..64 {
        let answer = client.get("/function/away", "").await;
        *served.entry(answer.body).or_default() += 1;
    }
    // They were told who sends, and each is drawn as often as its weight says.
    let (n2, n3) = (served["n2 n1 /function/away 0"], served["n3 n1 /function/away 0"]);
    assert!(n2 + n3 == 64 && (14..=18).contains(&n2), "{served:?}");
    away.routes = routes(&[("n2", 1.0, 0.01), ("n3", 0.0, 0.01)]);
    node.apply(&[("away", away)]).await;
    let mut served = BTreeMap::<String, u32>::new();
    for _ in 0..5 {
        let answer = client.get("/function/away", "").await;
        *served.entry(answer.body).or_default() += 1;
    }
    // Each has room for a burst of two; the one without weight is tried last.
    let want = [
        ("dfaas: this node and its peers are at capacity", 1),
        ("n2 n1 /function/away 0", 2),
        ("n3 n1 /function/away 0", 2),
    ];
    assert_eq!(served, want.map(|(body, count)| (body.to_owned(), count)).into());
    let counters = node
        .counters(|counters| counters.functions[&function("away")].user == 69)
        .await;
    assert_eq!(
        counters.functions[&function("away")].forwarded[&peer_id("n2")],
        u64::from(n2) + 2
    );
    node.proxy.stop().await;
}

#[tokio::test]
async fn this_node_serves_the_share_that_it_draws() {
    let mut figlet = figlet(0.0);
    figlet.here = 0.75;
    figlet.routes = routes(&[("n2", 0.25, f64::INFINITY)]);
    let node = Node::start(&[("figlet", figlet)]).await;
    let mut client = Stream::connect(node.port).await;
    let mut served = BTreeMap::<String, u64>::new();
    for _ in 0..64 {
        let answer = client.get("/function/figlet", "").await;
        *served.entry(answer.body).or_default() += 1;
    }
    let here = served["platform - /function/figlet 0"];
    let away = served["n2 n1 /function/figlet 0"];
    assert!(here + away == 64 && (46..=50).contains(&here), "{served:?}");
    let counters = node
        .counters(|counters| {
            let counted = counters.functions.get(&function("figlet"));
            counted.is_some_and(|counted| counted.user == 64)
        })
        .await;
    let counted = &counters.functions[&function("figlet")];
    assert_eq!((counted.local, counted.forwarded[&peer_id("n2")]), (here, away));
    node.proxy.stop().await;
}

#[tokio::test]
async fn a_policy_changes_under_open_connections() {
    let node = Node::start(&[("figlet", figlet(f64::INFINITY))]).await;
    let before = node.proxy.state();
    let mut client = Stream::connect(node.port).await;
    assert_eq!(client.get("/function/figlet", "").await.status, 200);
    let mut many: Vec<(String, FunctionPolicy)> = (0..300)
        .map(|index| (format!("function-{index}"), figlet(1e9)))
        .collect();
    many.push(("figlet".to_owned(), figlet(0.0)));
    let many: Vec<(&str, FunctionPolicy)> = many
        .iter()
        .map(|(name, policy)| (name.as_str(), policy.clone()))
        .collect();
    node.apply(&many).await;
    assert_eq!(client.get("/function/figlet", "").await.status, 503);
    assert_eq!(client.get("/function/function-299", "").await.status, 200);
    node.apply(&[]).await;
    assert_eq!(client.get("/function/figlet", "").await.status, 404);
    assert_eq!(node.proxy.state(), before, "HAProxy was started again");
    node.proxy.stop().await;
}

#[tokio::test]
async fn what_the_kernel_cannot_frame_passes() {
    let mut away = away();
    away.routes = routes(&[("n2", 1.0, f64::INFINITY)]);
    let node = Node::start(&[("figlet", figlet(f64::INFINITY)), ("away", away)]).await;
    for (name, want) in [("figlet", "platform -"), ("away", "n2 n1")] {
        let path = format!("/function/{name}");
        let mut chunked = Stream::connect(node.port).await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in [head.as_str(), "5\r\nhello\r\n", "6\r\n world\r\n", "0\r\n\r\n"] {
            chunked.send(piece.as_bytes()).await;
        }
        assert_eq!(chunked.answer().await.body, format!("{want} {path} 11"));

        let mut tunnel = Stream::connect(node.port).await;
        let upgrade = "Connection: Upgrade\r\nUpgrade: echo\r\n";
        assert_eq!(tunnel.get(&path, upgrade).await.status, 101);
        for words in ["there", "and back"] {
            tunnel.send(words.as_bytes()).await;
            assert_eq!(tunnel.exact(words.len()).await, words.as_bytes());
        }

        let mut slow = Stream::connect(node.port).await;
        for byte in format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "y".repeat(2_000)
        )
        .bytes()
        {
            slow.send(&[byte]).await;
        }
        assert_eq!(slow.answer().await.body, format!("{want} {path} 0"));
    }
    node.proxy.stop().await;
}

#[tokio::test]
async fn what_is_no_http_is_told_so() {
    let node = Node::start(&[("figlet", figlet(f64::INFINITY))]).await;
    for bytes in [
        &b"\x16\x03\x01\x00\x05hello"[..],
        b"GET /function/figlet HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /function/figlet HTTP/1.1\r\nX : y\r\n\r\n",
    ] {
        let mut client = Stream::connect(node.port).await;
        client.send(bytes).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 400, "{}", String::from_utf8_lossy(bytes));
    }
    // HTTP/2 without asking first (RFC 9113, section 3.3): HAProxy begins with its settings.
    let mut client = Stream::connect(node.port).await;
    client
        .send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await;
    assert_eq!(client.exact(9).await[3], 4);
    node.proxy.stop().await;
}

#[tokio::test]
async fn a_killed_haproxy_comes_back_and_nothing_is_counted_anew() {
    let node = Node::start(&[("figlet", figlet(f64::INFINITY))]).await;
    let user = |counters: &Counters| {
        counters
            .functions
            .get(&function("figlet"))
            .map_or(0, |figlet| figlet.user)
    };
    let ask = async || {
        Stream::connect(node.port)
            .await
            .get("/function/figlet", "")
            .await
            .status
    };
    assert_eq!((ask().await, ask().await), (200, 200));
    node.counters(|counters| user(counters) == 2).await;
    let first = node.pid();
    kill_process(first, Signal::KILL).unwrap();
    until("another HAProxy", || matches!(node.proxy.state(), State::Ready { pid, .. } if pid != first.as_raw_pid().cast_unsigned())).await;
    assert_eq!(ask().await, 200);
    node.counters(|counters| user(counters) == 3).await;
    node.proxy.stop().await;
}

#[tokio::test]
async fn one_that_hangs_for_a_moment_is_not_ended() {
    let node = Node::start(&[("figlet", figlet(f64::INFINITY))]).await;
    let mut client = Stream::connect(node.port).await;
    assert_eq!(client.get("/function/figlet", "").await.status, 200);
    let pid = node.pid();
    kill_process(pid, Signal::STOP).unwrap();
    // Longer than an answer may take.
    sleep(Duration::from_millis(2_500)).await;
    kill_process(pid, Signal::CONT).unwrap();
    assert_eq!(client.get("/function/figlet", "").await.status, 200);
    let is_counted = |counters: &Counters| {
        counters
            .functions
            .get(&function("figlet"))
            .is_some_and(|figlet| figlet.user == 2)
    };
    node.counters(is_counted).await;
    assert_eq!(node.pid(), pid);
    node.proxy.stop().await;
}

#[tokio::test]
async fn it_ends_with_the_agent() {
    let node = Node::start(&[]).await;
    let pid = node.pid();
    node.proxy.stop().await;
    assert!(test_kill_process(pid).is_err(), "HAProxy still runs");
}

#[tokio::test]
async fn a_taken_port_is_told_with_its_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = Service::Own(program());
    let proxy = Proxy::start(
        config(taken.local_addr().unwrap().port(), 1, service),
        peer_id("n1"),
    );
    proxy.apply(&Policy::default());
    until(
        "a reason",
        || matches!(proxy.state(), State::Absent { reason } if reason.contains("Address already in use")),
    )
    .await;
    assert_eq!(proxy.port(), None);
    proxy.stop().await;
}

#[test]
fn haproxy_finds_nothing_wrong_with_its_configuration() {
    let base = tempfile::tempdir().unwrap();
    let folder = Folder::within(base.path()).unwrap();
    let settings = Settings {
        entrances: helping_entrances("127.0.0.1:8091".parse().unwrap()),
        functions_port: 8090,
        control: folder.control(),
        map: folder.map(),
    };
    folder.fill(&settings, &BTreeMap::new()).unwrap();
    let mut command = std::process::Command::new(program().path);
    let command = command
        .arg("-c")
        .arg("-f")
        .arg(folder.configuration())
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("WARNING"), "{said}");
}

impl Node {
    /// A node `n1` with peers `n2` and `n3` and a policy, ready.
    async fn start(functions: &[(&str, FunctionPolicy)]) -> Self {
        let platform = stub::serve("platform").await;
        let mut peers = BTreeMap::new();
        for name in ["n2", "n3"] {
            let service = stub::serve(name).await.to_string().parse().unwrap();
            // The one of the first has been changed, the second is too old for any.
            let trust = match name {
                "n2" => Trust {
                    sends: Some(Token::new([0x12; 16])),
                    accepts: [0x22, 0x21].map(|byte| Some(Token::new([byte; 16]))),
                    tokenless: false,
                },
                _ => Trust {
                    tokenless: true,
                    ..Trust::default()
                },
            };
            peers.insert(peer_id(name), Peer { service, trust });
        }
        let port = free_port();
        let proxy = Proxy::start(
            config(port, platform.port(), Service::Own(program())),
            peer_id("n1"),
        );
        let policies = Cell::new(0);
        let node = Self {
            proxy,
            port,
            peers,
            policies,
        };
        node.apply(functions).await;
        node
    }

    /// Has a policy carried out, and waits until it is.
    async fn apply(&self, functions: &[(&str, FunctionPolicy)]) {
        let mark = format!("policy-{}", self.policies.get());
        self.policies.set(self.policies.get() + 1);
        let marked = [functions, &[(mark.as_str(), FunctionPolicy::default())]].concat();
        self.proxy.apply(&policy(&marked, &self.peers));
        until("HAProxy", || self.proxy.port().is_some()).await;
        // A function that nobody has room for is answered otherwise than one that nobody knows.
        let mut client = Stream::connect(self.port).await;
        let path = format!("/function/{mark}");
        while client.get(&path, "").await.status == 404 {}
    }

    /// What is counted, as soon as it is what is expected.
    async fn counters(&self, mut is_expected: impl FnMut(&Counters) -> bool) -> Counters {
        let mut counters = Counters::default();
        until("the counters", || {
            counters = Counters::default();
            ledger::add_since(
                &Counts::new(),
                &self.proxy.snapshot.borrow().counts,
                &mut counters,
            );
            is_expected(&counters)
        })
        .await;
        counters
    }

    fn pid(&self) -> Pid {
        match self.proxy.state() {
            State::Ready { pid, .. } => Pid::from_raw(pid.cast_signed()).unwrap(),
            state @ (State::Starting | State::Waiting | State::Absent { .. }) => panic!("{state:?}"),
        }
    }
}

fn config(port: u16, functions_port: u16, service: Service) -> ProxyConfig {
    ProxyConfig {
        kept_as: None,
        unattended: UNATTENDED,
        bind: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
        duty: Duty::Help,
        functions_port,
        service,
    }
}

fn program() -> Program {
    Program::find()
        .unwrap()
        .expect("HAProxy is needed; `cargo xtask setup` installs it")
}

fn policy(functions: &[(&str, FunctionPolicy)], peers: &BTreeMap<NodeId, Peer>) -> Policy {
    Policy {
        functions: functions
            .iter()
            .map(|(name, policy)| (function(name), policy.clone()))
            .collect(),
        peers: peers.clone(),
        ..Policy::default()
    }
}

/// A function that runs here; `n2` may ask for it.
fn figlet(local_rps: f64) -> FunctionPolicy {
    FunctionPolicy {
        local_rps,
        hosted: true,
        here: 0.0,
        routes: BTreeMap::new(),
        admit: [(peer_id("n2"), 1.0), (peer_id("n3"), 0.0)].into(),
    }
}

/// A function that only peers run.
fn away() -> FunctionPolicy {
    FunctionPolicy {
        admit: [(peer_id("n2"), 1.0)].into(),
        ..FunctionPolicy::default()
    }
}

fn routes(routes: &[(&str, f64, f64)]) -> BTreeMap<NodeId, Route> {
    let route = |&(peer, weight, cap_rps): &(&str, f64, f64)| (peer_id(peer), Route { weight, cap_rps });
    routes.iter().map(route).collect()
}

fn function(name: &str) -> FunctionName {
    FunctionName::new(name).unwrap()
}

fn peer_id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), wait)
        .await
        .unwrap_or_else(|_| panic!("no {what}"));
}
