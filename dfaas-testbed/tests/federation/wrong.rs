//! Mistakes of operators, and what they are told.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use dfaas_testbed::{Federation, Namespace, Network, NodeSpec, figlet, wait_until};

use crate::kit::{curl, run_ours, start_ours, turn};

/// `EX_USAGE` of sysexits.h.
const WRONG_USAGE: i32 = 64;
const FAILURE: i32 = 1;

#[test]
fn wrong_usage_is_told() {
    let _turn = turn();
    let network = Network::new().unwrap();
    let host = network.add_host("host", 1).unwrap();
    for arguments in [&["run", "--nonsense"][..], &["--nonsense"], &["nonsense"]] {
        let word = arguments.last().unwrap();
        check(&host, "dfaas-agent", arguments, WRONG_USAGE, &[word]);
    }
    check(
        &host,
        "dfaas-provider",
        &["--nonsense"],
        WRONG_USAGE,
        &["--nonsense"],
    );
    let strategy = with(&agent("eth0"), &["--strategy", "guessing"]);
    check(
        &host,
        "dfaas-agent",
        &strategy,
        WRONG_USAGE,
        &["guessing", "water-filling"],
    );
}

#[test]
fn mistakes_are_told_with_the_remedy() {
    let _turn = turn();
    let network = Network::new().unwrap();
    let host = network.add_host("host", 1).unwrap();
    let (code, text) = run_ours(&host, "dfaas-agent", &agent("nowhere0"));
    assert!(
        code.is_some_and(|code| code != 0) && text.contains("nowhere0"),
        "{code:?} {text}"
    );
    let stack = ["--state-dir", "/run/p", "--stack", "/run/nowhere.yaml"];
    check(&host, "dfaas-provider", &stack, FAILURE, &["/run/nowhere.yaml"]);

    fs::write(host.path("/run/key"), "no key").unwrap();
    let own_key = with(&agent("eth0"), &["--private-key-file", "/run/key"]);
    fs::set_permissions(host.path("/run/key"), Permissions::from_mode(0o644)).unwrap();
    check(
        &host,
        "dfaas-agent",
        &own_key,
        FAILURE,
        &["/run/key", "chmod 600"],
    );
    fs::set_permissions(host.path("/run/key"), Permissions::from_mode(0o600)).unwrap();
    check(&host, "dfaas-agent", &own_key, FAILURE, &["/run/key"]);
}

#[test]
fn a_port_in_use_is_told() {
    let _turn = turn();
    let network = Network::new().unwrap();
    let host = network.add_host("host", 1).unwrap();
    let _busy = start_ours(&host, "busy", "dfaas-provider", &["--state-dir", "/run/busy"]);
    wait_until("port taken", Duration::from_secs(5), || curl_ok(&host)).unwrap();
    let provider = ["--state-dir", "/run/p"];
    check(
        &host,
        "dfaas-provider",
        &provider,
        FAILURE,
        &["127.0.0.1:8080", "in use"],
    );
    let agent = with(&agent("eth0"), &["--api", "127.0.0.1:8080"]);
    check(
        &host,
        "dfaas-agent",
        &agent,
        FAILURE,
        &["127.0.0.1:8080", "in use"],
    );
    let attached = host.output("bpftool", &["net", "show"]).unwrap();
    assert!(
        !String::from_utf8_lossy(&attached.stdout).contains("eth0"),
        "{attached:?}"
    );
}

/// Runs a program that cannot go on, and looks at how it says so.
#[track_caller]
fn check(host: &Namespace, program: &str, arguments: &[&str], code: i32, words: &[&str]) {
    let (ended, text) = run_ours(host, program, arguments);
    assert_eq!(ended, Some(code), "{program} {arguments:?}: {text}");
    for word in words {
        assert!(
            text.contains(word),
            "{program} {arguments:?} does not tell {word:?}: {text}"
        );
    }
}

fn with<'a>(arguments: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [arguments, more].concat()
}

#[test]
fn without_privileges_the_agent_says_what_it_needs() {
    let _turn = turn();
    let network = Network::new().unwrap();
    let host = network.add_host("host", 1).unwrap();
    let program = dfaas_testbed::binary("dfaas-agent").unwrap();
    let unprivileged = [
        "--bounding-set",
        "-all",
        "--inh-caps",
        "-all",
        "timeout",
        "20",
        program.to_str().unwrap(),
    ];
    let output = host
        .output("setpriv", &[&unprivileged[..], &agent("eth0")].concat())
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(!output.status.success(), "{text}");
    assert!(
        text.contains("cap_") || text.contains("root") || text.contains("privilege"),
        "{text}"
    );
}

#[test]
fn an_agent_waits_for_its_provider() {
    let _turn = turn();
    let mut federation = Federation::unformed(&[NodeSpec::new(vec![figlet(10)])]).unwrap();
    let node = &mut federation.nodes[0];
    node.stop_provider().unwrap();
    node.start_agent().unwrap();
    let answer = |path: &str| node.ask_agent(path).map(|answer| answer.status);
    wait_until("agent unready", Duration::from_secs(10), || {
        answer("/healthz").is_ok_and(|status| status == 503)
    })
    .unwrap();
    federation.nodes[0].start_provider().unwrap();
    let node = &federation.nodes[0];
    let ready = || node.ask_agent("/healthz").is_ok_and(|answer| answer.is_ok());
    wait_until("agent ready", Duration::from_secs(10), ready).unwrap();
    let url = format!("http://{}/function/figlet", node.service());
    assert_eq!(
        curl(&federation.client, &["-d", "x", &url]).status,
        200,
        "{}",
        federation.logs()
    );
}

fn curl_ok(host: &Namespace) -> bool {
    dfaas_testbed::get(host, ([127, 0, 0, 1], 8080).into(), "/healthz").is_ok_and(|answer| answer.is_ok())
}

fn agent(interface: &str) -> [&str; 9] {
    [
        "run",
        "--interface",
        interface,
        "--node-ip",
        "10.77.0.1",
        "--state-dir",
        "/run/a",
        "--openfaas-host",
        "127.0.0.1",
    ]
}
