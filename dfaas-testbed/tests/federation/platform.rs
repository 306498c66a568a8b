//! Functions that come and go while the node runs, as `faas-cli` makes them.

use std::time::Duration;

use dfaas_testbed::{Federation, Function, Node, NodeSpec, Process, wait_until};

use crate::kit::{PLENTY_RPS, Seen, curl, pair, tell, turn};

const NOTICED: Duration = Duration::from_secs(10);

/// A platform that listens as servers of Go do since 1.24, and gives bodies back. Its argument is its port.
const MULTIPATH: &str = r"
import http.server, socket, sys

class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    def server_bind(self):
        self.socket.close()
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

Server(('::', int(sys.argv[1])), Echo).serve_forever()
";

#[test]
fn a_deployed_function_is_reached_and_a_removed_one_is_not() {
    let _turn = turn();
    let federation = pair();
    let node = &federation.nodes[0];
    let deployment = r#"{"service": "shasum", "image": "functions/alpine:latest", "envProcess": "shasum",
        "labels": {"dfaas.maxrate": "100"}, "annotations": {}}"#;
    let describe = |path: &str| system(node, path, &[]);
    assert_eq!(
        system(node, "functions", &["-X", "PUT", "-d", deployment]).status,
        404
    );
    let created = system(node, "functions", &["-d", deployment]);
    assert!(matches!(created.status, 200..=202), "{created:?}");
    assert!(describe("functions").text().contains("\"shasum\""));
    assert_eq!(describe("function/shasum").status, 200);

    let ask = || {
        curl(
            &federation.client,
            &["-d", "abc", &format!("http://{}/function/shasum", node.service())],
        )
    };
    wait_until("shasum reached", NOTICED, || ask().status == 200).unwrap();
    assert!(
        ask()
            .text()
            .starts_with("a9993e364706816aba3e25717850c26c9cd0d89d"),
        "{:?}",
        ask()
    );

    let removed = system(
        node,
        "functions",
        &["-X", "DELETE", "-d", r#"{"functionName": "shasum"}"#],
    );
    assert!(matches!(removed.status, 200 | 202), "{removed:?}");
    assert_eq!(describe("function/shasum").status, 404);
    wait_until("shasum gone", NOTICED, || ask().status == 404).unwrap();
}

#[test]
fn a_listener_of_multipath_tcp_is_reached() {
    const PORT: u16 = 8095;
    let _turn = turn();
    let mut spec = NodeSpec::new(vec![Function::echo(PLENTY_RPS)]);
    spec.functions_port = PORT;
    let federation = Federation::start(&[spec]).unwrap();
    let node = &federation.nodes[0];
    let open = "import socket; socket.socket(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)";
    if !node
        .namespace()
        .output("python3", &["-c", open])
        .unwrap()
        .status
        .success()
    {
        tell("SKIPPED: the kernel has no Multipath TCP");
        return;
    }
    let body = "x".repeat(100_000);
    std::fs::write(federation.client.path("/run/sent"), &body).unwrap();
    let ask = |service| {
        let url = format!("http://{service}/function/echo");
        curl(&federation.client, &["--data-binary", "@/run/sent", &url])
    };
    // Twice: it is followed over a restart.
    for _ in 0..2 {
        let platform = Process::start(
            node.namespace(),
            "platform",
            "python3",
            &["-c", MULTIPATH, &PORT.to_string()],
        )
        .unwrap();
        for service in [node.service(), node.ipv6_service()] {
            wait_until("served", NOTICED, || ask(service).status == 200).unwrap();
            for _ in 0..5 {
                let seen = ask(service);
                assert!(
                    seen.status == 200 && seen.text() == body,
                    "{} {}",
                    seen.status,
                    seen.headers
                );
            }
        }
        drop(platform);
        let is_gone = || ask(node.service()).status == 404;
        wait_until("gone", NOTICED, is_gone)
            .unwrap_or_else(|error| panic!("{error}: {:?}\n{}", ask(node.service()), node.logs()));
    }
    // HAProxy connects to any listener.
    let is_relayed = node.spec().data_plane != "haproxy";
    assert_eq!(
        node.logs().contains("speaks Multipath TCP"),
        is_relayed,
        "{}",
        node.logs()
    );
    federation.stop().unwrap();
}

#[track_caller]
fn system(node: &Node, path: &str, arguments: &[&str]) -> Seen {
    let url = format!("http://127.0.0.1:8080/system/{path}");
    curl(
        node.namespace(),
        &[arguments, &["-H", "Content-Type: application/json", &url]].concat(),
    )
}
