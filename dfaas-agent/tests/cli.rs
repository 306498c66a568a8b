//! The command line as a shell sees it. Nothing here gets so far as to attach anything.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    process::{Command, Output},
    thread,
};

#[test]
fn wrong_usage_is_64() {
    check(&mut agent(&["--nonsense"]), 64, "--nonsense");
    check(&mut agent(&[]), 64, "Usage");
    check(
        &mut agent(&["run", "--api", "nowhere", "--recalc-period", "soon"]),
        64,
        "--api: \"nowhere\"",
    );
}

#[test]
fn variables_stand_in_for_flags() {
    check(
        agent(&["run"]).env("AGENT_RECALC_PERIOD", "soon"),
        64,
        "--recalc-period: \"soon\"",
    );
    check(
        agent(&["run"]).env("AGENT_HAPROXY_PORT", "http"),
        64,
        "--service-port: \"http\"",
    );
    check(
        agent(&["status"]).env("AGENT_API_LISTEN", "nowhere"),
        64,
        "--api: \"nowhere\"",
    );
}

#[test]
fn flags_win_over_variables() {
    let mut command = agent(&["run", "--recalc-period", "later"]);
    let output = check(
        command.env("AGENT_RECALC_PERIOD", "soon"),
        64,
        "--recalc-period: \"later\"",
    );
    assert!(!String::from_utf8_lossy(&output.stderr).contains("soon"));
}

#[test]
fn an_identity_lasts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    check(&mut agent(&["id", "--state-dir", folder]), 1, "identity.pem");
    let created = check(&mut agent(&["id", "--create", "--state-dir", folder]), 0, "");
    assert!(created.stdout.starts_with(b"12D3KooW"), "{created:?}");
    let read = check(&mut agent(&["id", "--state-dir", folder]), 0, "");
    assert_eq!(read.stdout, created.stdout);
}

#[test]
fn operators_get_a_configuration_for_their_haproxy() {
    let socket = ["haproxy-config", "--haproxy-socket", "/run/haproxy/dfaas.sock"];
    let printed = check(&mut agent(&socket), 0, "");
    let text = String::from_utf8_lossy(&printed.stdout);
    for line in [
        "    stats socket /run/haproxy/dfaas.sock mode 600 level admin",
        "    bind 127.0.0.1:8091",
    ] {
        assert!(text.lines().any(|found| found == line), "{text}");
    }
    assert!(text.contains("touch /run/haproxy/dfaas-policy.map\n"), "{text}");
    check(
        &mut agent(&["haproxy-config"]),
        64,
        "--haproxy-socket: name the socket",
    );
}

#[test]
fn status_of_nobody_is_told() {
    // Nobody listens on the port of the discard service.
    check(
        &mut agent(&["status", "--api", "127.0.0.1:9"]),
        1,
        "is the agent running?",
    );
}

#[test]
fn probes_learn_by_the_exit_code_whether_a_node_is_ready() {
    let ready = |answer: &'static str, code, text| {
        let address = api_that_answers(answer);
        check(&mut agent(&["status", "--ready", "--api", &address]), code, text)
    };
    let well = ready(
        "HTTP/1.1 200 OK\r\ncontent-length: 21\r\n\r\nok   listener: there\n",
        0,
        "",
    );
    assert!(well.stdout.starts_with(b"ok   listener"), "{well:?}");
    ready(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 22\r\n\r\nFAIL listener: nobody\n",
        1,
        "FAIL listener: nobody",
    );
    check(
        &mut agent(&["status", "--ready", "--api", "127.0.0.1:9"]),
        1,
        "is the agent running?",
    );
    check(&mut agent(&["status", "--ready", "--json"]), 64, "--json");
}

/// A server that answers one request for `/healthz` with these bytes, and its address.
fn api_that_answers(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = String::new();
        BufReader::new(&stream).read_line(&mut head).unwrap();
        assert_eq!(head, "GET /healthz HTTP/1.1\r\n");
        stream.write_all(answer.as_bytes()).unwrap();
    });
    address
}

fn agent(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dfaas-agent"));
    command.args(arguments);
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("AGENT_") {
            command.env_remove(variable);
        }
    }
    command
}

#[track_caller]
fn check(command: &mut Command, want: i32, text: &str) -> Output {
    let output = command.output().expect("cargo has built it");
    assert_eq!(output.status.code(), Some(want), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains(text),
        "{output:?}"
    );
    output
}
