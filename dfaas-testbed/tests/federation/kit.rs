//! What the tests have in common.

use std::{
    env,
    io::{self, Write as _},
    process::Output,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use dfaas_testbed::{DATA_PLANE, Federation, Function, Namespace, Node, NodeSpec, Process, figlet, patience};

/// More than any test asks for.
pub(crate) const PLENTY_RPS: u32 = 1_000_000;

static TURN: Mutex<()> = Mutex::new(());

/// Tests measure time: they run one after the other.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether HAProxy alone steers, which does not try elsewhere what a peer refuses.
pub(crate) fn is_on_haproxy() -> bool {
    env::var(DATA_PLANE).is_ok_and(|name| name == "haproxy")
}

/// Two nodes that tests only ask: `echo` and `figlet` are at node 1, `far` is an echo at node 2.
/// They end with the test program.
pub(crate) fn pair() -> &'static Federation {
    static PAIR: OnceLock<Federation> = OnceLock::new();
    PAIR.get_or_init(|| {
        let near = vec![Function::echo(PLENTY_RPS), figlet(PLENTY_RPS)];
        let far = vec![Function::echo(PLENTY_RPS).named("far")];
        Federation::start(&[NodeSpec::new(near), NodeSpec::new(far)]).unwrap()
    })
}

/// The maps that hold what is known of connections.
pub(crate) const FLOW_MAPS: [&str; 4] = ["CLIENTS", "UPSTREAMS", "HELD", "AHEAD"];

/// How many entries all nodes have of connections.
pub(crate) fn left(federation: &Federation) -> usize {
    let nodes = federation.nodes.iter();
    nodes
        .flat_map(|node| node.map_entries(&FLOW_MAPS).unwrap().into_values())
        .sum()
}

/// How many connections the platforms have at the service port.
pub(crate) fn service_sockets(federation: &Federation) -> usize {
    let count = |node: &Node| {
        let filter = ["-H", "-t", "-n", "state", "established", "sport", "=", ":80"];
        let output = node.namespace().output("ss", &filter).unwrap();
        assert!(output.status.success(), "{output:?}");
        output
            .stdout
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .count()
    };
    federation.nodes.iter().map(count).sum()
}

/// Three nodes that draw letters, for 10, 20 and 30 requests a second.
pub(crate) fn three() -> Federation {
    Federation::start(&[10, 20, 30].map(|rate| NodeSpec::new(vec![figlet(rate)]))).unwrap()
}

/// Says how far a test is: not by a macro, whose output the test harness keeps until the end.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// An answer as curl saw it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.headers.lines().filter_map(|line| line.split_once(':'));
        lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .next_back()
    }
}

/// Runs curl from a namespace and expects an answer.
#[track_caller]
pub(crate) fn curl(from: &Namespace, arguments: &[&str]) -> Seen {
    let output = try_curl(from, arguments);
    assert!(
        output.status.success(),
        "curl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let headers = std::fs::read_to_string(from.path("/run/headers")).unwrap();
    let mut lines = headers.lines().filter(|line| line.starts_with("HTTP/"));
    let status = lines
        .next_back()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let body = std::fs::read(from.path("/run/body")).unwrap_or_default();
    Seen {
        status: status.unwrap(),
        headers,
        body,
    }
}

/// Runs curl from a namespace.
pub(crate) fn try_curl(from: &Namespace, arguments: &[&str]) -> Output {
    let _ = std::fs::remove_file(from.path("/run/body"));
    let ours = [
        "--silent",
        "--show-error",
        "--max-time",
        &patience(Duration::from_secs(60)).as_secs().to_string(),
        "--dump-header",
        "/run/headers",
        "--output",
        "/run/body",
    ];
    from.output("curl", &[&ours, arguments].concat()).unwrap()
}

/// Runs a program of ours to its end in a namespace and returns its exit code and what it wrote.
pub(crate) fn run_ours(namespace: &Namespace, program: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let program = dfaas_testbed::binary(program).unwrap();
    let at_most = patience(Duration::from_secs(20)).as_secs().to_string();
    let command = [&[at_most.as_str(), program.to_str().unwrap()], arguments].concat();
    let output = namespace.output("timeout", &command).unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// Starts a program of ours that stays.
pub(crate) fn start_ours(namespace: &Namespace, name: &str, program: &str, arguments: &[&str]) -> Process {
    Process::start(
        namespace,
        name,
        dfaas_testbed::binary(program).unwrap(),
        arguments,
    )
    .unwrap()
}
