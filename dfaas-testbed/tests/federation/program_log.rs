//! What the programs log, in the agents' logs.

use std::{fs, time::Duration};

use dfaas_testbed::{Federation, Function, Held, Node, NodeSpec, bpftool, held, wait_until};

use crate::{
    kit::{PLENTY_RPS, curl, turn},
    trust::{claim, overhear},
};

const READY: Duration = Duration::from_secs(20);
/// What a peer exceeds by a burst, on a slow machine too.
const LIMIT_RPS: u32 = 1;

#[test]
fn requests_are_logged_with_their_functions_and_peers() {
    let _turn = turn();
    let near = vec![Function::echo(PLENTY_RPS)];
    let far = vec![Function::echo(LIMIT_RPS).named("far")];
    let mut federation = Federation::start(&[logging(near.clone()), logging(far)]).unwrap();
    let [near_id, far_id] = [0, 1].map(|at| federation.nodes[at].status().unwrap().node().to_owned());
    let token = overhear(&federation);
    let [asker, server] = &federation.nodes[..] else {
        panic!("two nodes");
    };
    let told = |node: &Node, words: &[&str]| {
        let wait = wait_until(&format!("{words:?} in the log"), READY, || logs(node, words));
        wait.unwrap_or_else(|error| panic!("{error:#}\n{}", federation.logs()));
    };
    told(
        asker,
        &["DEBUG", "Forwarded a request", "function=far", &peer(&far_id)],
    );
    told(
        server,
        &["DEBUG", "Admitted a request", "function=far", &peer(&near_id)],
    );
    let own = format!("http://{}/function/echo", asker.service());
    assert_eq!(curl(&federation.client, &[&own]).status, 200);
    told(asker, &["DEBUG", "Served a request", "function=echo"]);
    let unknown = format!("http://{}/function/nosuch", asker.service());
    assert_eq!(curl(&federation.client, &[&unknown]).status, 404);
    told(asker, &["INFO", "Refused a request", "answer=404 Not Found"]);
    let burst = format!("http://{}/function/far?[1-20]", server.service());
    wait_until("a refusal", READY, || {
        claim(&federation, server, &near_id, Some(&token), &[&burst]).status == 429
    })
    .unwrap();
    let over = "answer=429 Too Many Requests";
    told(
        server,
        &["INFO", "Refused a request", "function=far", &peer(&near_id), over],
    );
    assert!(calls_the_log(asker), "what is told must come from somewhere");

    let quiet = &mut federation.nodes[0];
    quiet.set_spec(on_the_kernel(near));
    quiet.stop_agent().unwrap();
    quiet.start_agent().unwrap();
    wait_until("an agent without a log", READY, || quiet.status().is_ok()).unwrap();
    assert!(!calls_the_log(quiet), "nobody asked for a log");
    federation.stop().unwrap();
}

fn on_the_kernel(functions: Vec<Function>) -> NodeSpec {
    NodeSpec {
        data_plane: "kernel".to_owned(),
        ..NodeSpec::new(functions)
    }
}

fn logging(functions: Vec<Function>) -> NodeSpec {
    NodeSpec {
        agent_arguments: ["--log-programs", "debug", "--log-colors", "false"]
            .map(str::to_owned)
            .to_vec(),
        ..on_the_kernel(functions)
    }
}

fn peer(id: &str) -> String {
    format!("peer={id}")
}

/// Whether a line of the agent's log has all of these.
fn logs(node: &Node, words: &[&str]) -> bool {
    let log = fs::read_to_string(node.agent_namespace().path("/run/agent.log")).unwrap();
    log.lines()
        .any(|line| line.contains("dfaas_agent::programs") && words.iter().all(|word| line.contains(word)))
}

/// Whether a program that the agent holds calls a helper that writes to a ring.
fn calls_the_log(node: &Node) -> bool {
    let programs = held(node.agent_pid().unwrap(), Held::Programs).unwrap();
    assert!(!programs.is_empty());
    programs.iter().any(|id| {
        let dump = bpftool(&["prog", "dump", "xlated", "id", id]).unwrap();
        dump.to_string().contains("bpf_ringbuf_")
    })
}
