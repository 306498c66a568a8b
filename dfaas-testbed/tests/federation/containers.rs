//! Nodes in containers with user namespaces: one steers by HAProxy, one is served from outside.

use std::{fs, time::Duration};

use dfaas_testbed::{
    Federation, Load, Namespace, Network, Node, NodeSpec, Place, Process, Tally, figlet, get, now, patience,
    wait_until,
};

use crate::kit::{curl, run_ours, start_ours, turn};

const RATE_RPS: u32 = 50;
const SETTLED: Duration = Duration::from_secs(3);
const SECONDS: usize = 5;
const FAILURE: i32 = 1;
/// A busy machine takes its time to verify the programs.
const START: Duration = Duration::from_secs(60);

#[test]
fn containers_share_with_a_host() {
    let _turn = turn();
    let spec = |(rate, place, data_plane): (u32, Place, &str)| NodeSpec {
        place,
        data_plane: data_plane.to_owned(),
        ..NodeSpec::new(vec![figlet(rate)])
    };
    let specs = [
        (10, Place::Host, "auto"),
        (20, Place::Container, "auto"),
        (30, Place::ServedContainer, "auto"),
    ];
    let federation = Federation::start(&specs.map(spec)).unwrap();
    let planes = federation.nodes.iter().map(data_plane);
    assert_eq!(
        planes.collect::<Vec<_>>(),
        ["kernel", "haproxy", "kernel"],
        "{}",
        federation.logs()
    );
    check_fallback(&federation.nodes[1]);
    check_outside(&federation.nodes[2]);
    for node in &federation.nodes {
        let url = format!("http://{}/function/figlet", node.service());
        let seen = curl(&federation.client, &["-d", "x", &url]);
        assert_eq!(
            seen.status,
            200,
            "{} {seen:?}\n{}",
            node.name(),
            federation.logs()
        );
    }
    let settled = patience(SETTLED);
    let mut load = Load::new(federation.nodes[0].service(), "figlet", RATE_RPS);
    load.at_most = settled + Duration::from_secs(SECONDS as u64);
    let tally = Tally::of(
        "node1",
        &load.start(&federation.client).unwrap().finish().unwrap(),
    );
    let told = || format!("{tally:#?}\n{}", federation.logs());
    assert_eq!(tally.lost(), 0, "{}", told());
    assert_eq!(tally.failed_after(settled), 0, "{}", told());
    let from = settled.as_secs() as usize;
    for (name, least_rps) in [("node1", 8.0), ("node2", 10.0), ("node3", 15.0)] {
        let rate_rps = tally.rate_of(name, from..from + SECONDS);
        assert!(rate_rps >= least_rps, "{name} {rate_rps} {}", told());
        println!("{name} served {rate_rps:.1}/s");
    }
    federation.stop().unwrap();
}

fn data_plane(node: &Node) -> String {
    let status = node.status().unwrap();
    status.0["data_plane"].as_str().unwrap_or_default().to_owned()
}

/// One line says who steers, why, and what to do about it.
fn check_fallback(node: &Node) {
    let log = fs::read_to_string(node.namespace().path("/run/agent.log")).unwrap();
    // That everybody may join is said by each node of these tests.
    let is_about_this = |line: &&str| line.contains("WARN") && !line.contains("THE FEDERATION IS OPEN");
    let warnings: Vec<&str> = log.lines().filter(is_about_this).collect();
    let [line] = warnings[..] else {
        panic!("not one warning: {log}");
    };
    for words in [
        "HAProxy alone steers",
        "user namespace",
        "--netns PID",
        "--data-plane haproxy",
    ] {
        assert!(line.contains(words), "{words:?} is not in {line:?}");
    }
}

/// The API is on the host, and what runs in the container does not reach it.
fn check_outside(node: &Node) {
    let api = ([127, 0, 0, 1], 8070).into();
    assert!(get(node.agent_namespace(), api, "/livez").is_ok_and(|answer| answer.is_ok()));
    assert!(get(node.namespace(), api, "/livez").is_err());
}

#[test]
fn explicit_choices_fail_clearly_in_a_container() {
    let _turn = turn();
    let (network, host) = (Network::new().unwrap(), Namespace::new("host").unwrap());
    let container = Namespace::container("container", &host).unwrap();
    network.connect(&container, 1).unwrap();
    let run = [
        "run",
        "--interface=eth0",
        "--state-dir=/run/a",
        "--openfaas-host=127.0.0.1",
    ];
    for (arguments, words) in [
        (
            &["--data-plane=kernel"][..],
            &["privilege: this is a user namespace", "--netns PID"][..],
        ),
        (
            &["--haproxy=off"],
            &["the kernel cannot steer here", "--haproxy off", "user namespace"],
        ),
        (
            &["--guard=generic"],
            &[
                "the kernel cannot steer here",
                "--guard comes with",
                "user namespace",
            ],
        ),
    ] {
        let (code, text) = run_ours(&container, "dfaas-agent", &[&run, arguments].concat());
        assert_eq!(code, Some(FAILURE), "{arguments:?} {text}");
        for word in words {
            assert!(
                text.contains(word),
                "{arguments:?} does not tell {word:?}: {text}"
            );
        }
        assert!(!text.contains("seccomp"), "{text}");
    }
}

#[test]
fn a_container_is_checked_from_inside_and_from_outside() {
    let _turn = turn();
    let (network, host) = (Network::new().unwrap(), Namespace::new("host").unwrap());
    let container = Namespace::container("container", &host).unwrap();
    network.connect(&container, 1).unwrap();
    let provider = ["--state-dir", "/run/p", "--functions", "127.0.0.1:8090"];
    let _provider = start_ours(&container, "provider", "dfaas-provider", &provider);
    let listens = || get(&container, ([127, 0, 0, 1], 8080).into(), "/healthz").is_ok();
    wait_until("provider up", Duration::from_secs(10), listens).unwrap();
    let kernel = ["check", "--interface=eth0", "--data-plane=kernel"];
    let (code, text) = run_ours(&container, "dfaas-agent", &kernel);
    assert_eq!(code, Some(FAILURE), "{text}");
    assert!(
        text.contains("user namespace") && !text.contains("seccomp"),
        "{text}"
    );
    let (code, text) = run_ours(&container, "dfaas-agent", &["check", "--interface=eth0"]);
    assert_eq!(code, Some(0), "HAProxy does: {text}");

    let pid = container.pid_outside().unwrap().to_string();
    let outside = [&kernel[..], &["--netns", &pid]].concat();
    let (code, text) = run_ours(&host, "dfaas-agent", &outside);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("eth0 is Ethernet"), "{text}");
    assert!(text.contains("listens on port 8090"), "{text}");
    // Likewise where only its network was entered, and /sys is the host's.
    let agent = dfaas_testbed::binary("dfaas-agent").unwrap();
    let net = format!("--net=/proc/{pid}/ns/net");
    let entered = [&[net.as_str(), agent.to_str().unwrap()][..], &kernel].concat();
    let output = host.output("nsenter", &entered).unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn an_agent_outside_ends_with_its_container() {
    let _turn = turn();
    let (network, host) = (Network::new().unwrap(), Namespace::new("host").unwrap());
    let container = Namespace::container("container", &host).unwrap();
    network.connect(&container, 1).unwrap();
    let pid = container.pid_outside().unwrap().to_string();
    let arguments = [
        "run",
        "--interface=eth0",
        "--state-dir=/run/a",
        "--openfaas-host=127.0.0.1",
        "--netns",
        &pid,
    ];
    let mut agent: Process = start_ours(&host, "agent", "dfaas-agent", &arguments);
    let api = ([127, 0, 0, 1], 8070).into();
    let up = || get(&host, api, "/livez").is_ok_and(|answer| answer.is_ok());
    wait_until("agent up", patience(START), up)
        .unwrap_or_else(|error| panic!("{error:#} {}", agent.log_tail(20)));
    let ended_at = now();
    drop(container);
    wait_until("agent ended", patience(Duration::from_secs(10)), || {
        !agent.is_running()
    })
    .unwrap();
    println!("ended after {:?}", ended_at.elapsed());
    let log = agent.log_tail(20);
    assert!(
        log.contains("the process of --netns has ended: start the agent again"),
        "{log}"
    );
    // The number of a process that has ended is told.
    let (code, text) = run_ours(&host, "dfaas-agent", &arguments);
    assert_eq!(code, Some(FAILURE), "{text}");
    assert!(
        text.contains(&format!("--netns {pid}: there is no such process")),
        "{text}"
    );
}
