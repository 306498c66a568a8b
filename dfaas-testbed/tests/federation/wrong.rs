//! Mistakes of operators, and what they are told.

use std::time::Duration;

use dfaas_testbed::{Federation, Network, NodeSpec, figlet, wait_until};

use crate::kit::{curl, run_ours, start_ours, turn};

#[test]
fn mistakes_are_told_with_the_remedy() {
    let _turn = turn();
    let network = Network::new().unwrap();
    let host = network.add_host("host", 1).unwrap();
    let check = |program: &str, arguments: &[&str], words: &[&str]| {
        let (well, text) = run_ours(&host, program, arguments);
        assert!(!well, "{program} {arguments:?}: {text}");
        for word in words {
            assert!(
                text.contains(word),
                "{program} {arguments:?} does not tell {word:?}: {text}"
            );
        }
    };
    check("dfaas-agent", &["run", "--nonsense"], &["--nonsense"]);
    check("dfaas-provider", &["--nonsense"], &["--nonsense"]);
    check(
        "dfaas-provider",
        &["--state-dir", "/run/p", "--stack", "/run/nowhere.yaml"],
        &["/run/nowhere.yaml"],
    );
    check("dfaas-agent", &agent("nowhere0"), &["nowhere0"]);
    let busy = start_ours(&host, "busy", "dfaas-provider", &["--state-dir", "/run/busy"]);
    wait_until("port taken", Duration::from_secs(5), || curl_ok(&host)).unwrap();
    check(
        "dfaas-provider",
        &["--state-dir", "/run/p"],
        &["127.0.0.1:8080", "in use"],
    );
    drop(busy);
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

fn curl_ok(host: &dfaas_testbed::Namespace) -> bool {
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
