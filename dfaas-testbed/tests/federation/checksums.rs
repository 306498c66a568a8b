//! Where no interface finishes checksums, those that the programs write must be right by themselves.

use std::{thread, time::Duration};

use dfaas_testbed::{Federation, Function, Namespace, NodeSpec, Process, patience, wait_until};

use crate::kit::{PLENTY_RPS, curl, turn};

const CAPTURE: &str = "/run/capture";
/// How long the capture may take to come to the disk.
const FLUSH: Duration = Duration::from_millis(300);

#[test]
fn checksums_are_right_without_offloads() {
    let _turn = turn();
    let federation = federation();
    let hosts = [
        &federation.client,
        federation.nodes[0].namespace(),
        federation.nodes[1].namespace(),
    ];
    for host in hosts {
        let output = host
            .output("ethtool", &["-K", "eth0", "tx", "off", "rx", "off"])
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let captures: Vec<Process> = hosts.iter().map(|host| capture(host)).collect();
    ask(&federation);
    thread::sleep(patience(FLUSH));
    for capture in captures {
        capture.terminate().unwrap();
    }
    for host in hosts {
        check(host);
    }
}

#[test]
fn a_client_without_offloads_and_nodes_with_them_understand_each_other() {
    let _turn = turn();
    let federation = federation();
    for (off, on) in [
        (&federation.client, federation.nodes[0].namespace()),
        (federation.nodes[0].namespace(), federation.nodes[1].namespace()),
        (federation.nodes[1].namespace(), &federation.client),
    ] {
        assert!(
            off.output("ethtool", &["-K", "eth0", "tx", "off"])
                .unwrap()
                .status
                .success()
        );
        assert!(
            on.output("ethtool", &["-K", "eth0", "tx", "on"])
                .unwrap()
                .status
                .success()
        );
        ask(&federation);
    }
}

fn federation() -> Federation {
    let far = Function::echo(PLENTY_RPS).named("far");
    let nodes = [Function::echo(PLENTY_RPS), far].map(|function| NodeSpec::new(vec![function]));
    Federation::start(&nodes).unwrap()
}

/// Short and long, local and forwarded, answered by servers and by the data plane.
fn ask(federation: &Federation) {
    let at = |path: &str| format!("http://{}{path}", federation.nodes[0].service());
    let body = "x".repeat(100_000);
    for function in ["echo", "far"] {
        for body in ["short", &body] {
            std::fs::write(federation.client.path("/run/sent"), body).unwrap();
            let url = at(&format!("/function/{function}"));
            let seen = curl(&federation.client, &["--data-binary", "@/run/sent", &url]);
            assert_eq!(
                (seen.status, seen.text().len()),
                (200, body.len()),
                "{}",
                federation.logs()
            );
        }
    }
    for (path, status) in [("/", 200), ("/system/functions", 403), ("/function/nosuch", 404)] {
        assert_eq!(curl(&federation.client, &[&at(path)]).status, status);
    }
}

fn capture(host: &Namespace) -> Process {
    let arguments = [
        "-i",
        "eth0",
        "-s",
        "0",
        "--immediate-mode",
        "-U",
        "-w",
        CAPTURE,
        "tcp",
        "port",
        "80",
    ];
    let process = Process::start(
        host,
        "tcpdump",
        "tcpdump",
        &[&["-Z", "root"], &arguments[..]].concat(),
    )
    .unwrap();
    wait_until("capture", Duration::from_secs(5), || {
        process.log_tail(3).contains("listening")
    })
    .unwrap();
    process
}

/// Lets tcpdump check the checksums of all that a host sent and got.
#[track_caller]
fn check(host: &Namespace) {
    let output = host.output("tcpdump", &["-vv", "-n", "-r", CAPTURE]).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let wrong: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("incorrect") || line.contains("bad cksum"))
        .collect();
    assert!(
        wrong.is_empty(),
        "{}: {} wrong, as {:#?}",
        host.name(),
        wrong.len(),
        &wrong[..wrong.len().min(5)]
    );
    let right = text.lines().filter(|line| line.contains("(correct)")).count();
    assert!(right > 20, "{}: {right} right\n{text}", host.name());
}
