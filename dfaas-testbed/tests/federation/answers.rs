//! What users get for their requests.

use std::time::Duration;

use dfaas_testbed::patience;

use crate::kit::{curl, pair, turn};

#[test]
fn functions_answer_wherever_they_are() {
    let _turn = turn();
    check("/function/echo", &["-d", "near"], 200, Some("node1"));
    check("/function/far", &["-d", "far"], 200, Some("node2"));
    check(
        "/function/figlet",
        &["-d", "Hello DFaaS world!"],
        200,
        Some("node1"),
    );
    check(
        "/function/echo/some/path?query=1",
        &["-d", "near"],
        200,
        Some("node1"),
    );
    check("/function/echo", &[], 200, Some("node1"));
}

#[test]
fn what_is_no_function_is_answered_by_the_data_plane() {
    let _turn = turn();
    check("/", &[], 200, None);
    check("/function/nobody-has-it", &["-d", "x"], 404, None);
    check("/system/functions", &[], 403, None);
    check("/healthz", &[], 200, None);
    // Nobody resolves dots, and no function has such a name.
    check("/function/../system/functions", &["--path-as-is"], 404, None);
}

#[test]
fn forged_identities_are_refused() {
    let _turn = turn();
    check(
        "/function/echo",
        &["-H", "DFaaS-Node-ID: malicious-id"],
        403,
        None,
    );
    check("/function/far", &["-H", "dfaas-node-id: malicious-id"], 403, None);
}

#[test]
fn a_connection_carries_many_requests() {
    let _turn = turn();
    let federation = pair();
    for function in ["echo", "far"] {
        let url = format!("http://{}/function/{function}", federation.nodes[0].service());
        let seen = curl(
            &federation.client,
            &[
                "-d",
                "x",
                &url,
                "--next",
                "-s",
                "-d",
                "second",
                &url,
                "-w",
                "%{num_connects}",
            ],
        );
        assert_eq!(seen.status, 200, "{seen:?}");
        assert_eq!(
            seen.headers.matches("HTTP/1.1 200").count(),
            1,
            "curl writes each request's headers anew: {seen:?}"
        );
    }
}

#[test]
fn many_connections_are_served() {
    let _turn = turn();
    let federation = pair();
    for (function, header) in [
        ("echo", "X: 1"),
        ("far", "X: 1"),
        ("echo", "Connection: close"),
        ("far", "Connection: close"),
    ] {
        let url = format!("http://{}/function/{function}", federation.nodes[0].service());
        let timeout = format!("{}s", patience(Duration::from_secs(3)).as_secs());
        let arguments = [
            "-t",
            "2",
            "-c",
            "64",
            "-d",
            "3s",
            "-H",
            header,
            "--timeout",
            &timeout,
            &url,
        ];
        let output = federation.client.output("wrk", &arguments).unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        assert!(!text.contains("Non-2xx"), "{function} {header}: {text}");
        assert!(!text.contains("Socket errors"), "{function} {header}: {text}");
        println!(
            "{function}, {header}: {}",
            text.lines()
                .find(|line| line.contains("Requests/sec"))
                .unwrap_or("?")
        );
    }
}

#[track_caller]
fn check(path: &str, arguments: &[&str], status: u16, served_by: Option<&str>) {
    let federation = pair();
    let url = format!("http://{}{path}", federation.nodes[0].service());
    let seen = curl(&federation.client, &[arguments, &[&url]].concat());
    assert_eq!(seen.status, status, "{path}: {seen:?} {}", federation.logs());
    assert_eq!(seen.header("X-Served-By"), served_by, "{path}: {seen:?}");
    if let Some(sent) = arguments.iter().position(|argument| *argument == "-d") {
        let figlet = path.contains("figlet");
        assert!(
            figlet || status != 200 || seen.text() == arguments[sent + 1],
            "{path}: {seen:?}"
        );
    }
}
