//! Nodes and programs that fail, and what users notice.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use dfaas_testbed::{
    Federation, Function, Load, Node, NodeSpec, Outcome, Sample, Siege, Wire, get, now, patience, wait_until,
};

use crate::kit::{PLENTY_RPS, curl, three, try_curl, turn};

/// More than node 1 takes and less than it takes together with any peer.
const RATE_RPS: u32 = 25;
/// How long peers may take to see that a node is gone.
const NOTICED: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(50);
const AFTERWARDS: Duration = Duration::from_secs(3);

#[test]
fn nothing_is_sent_to_a_node_that_lost_its_link() {
    let _turn = turn();
    check_death(|federation| federation.network.unplug(2).unwrap());
}

#[test]
fn nothing_is_sent_to_a_node_whose_agent_was_killed() {
    let _turn = turn();
    check_death(|federation| federation.nodes[1].kill_agent());
}

#[track_caller]
fn check_death(kill: impl FnOnce(&mut Federation)) {
    let mut federation = three();
    let dead = federation.nodes[1].status().unwrap().node().to_owned();
    let start = now();
    let load = Load::new(federation.nodes[0].service(), "figlet", RATE_RPS)
        .start(&federation.client)
        .unwrap();
    let sent_there = |federation: &Federation| {
        federation.nodes[0]
            .status()
            .unwrap()
            .forwarded_to("figlet", &dead)
    };
    wait_until("node 2 is used", NOTICED, || sent_there(&federation) > 0).unwrap();
    kill(&mut federation);
    let killed = start.elapsed();
    let (mut count, mut last_sent) = (0, Duration::ZERO);
    while start.elapsed() < killed + patience(NOTICED) + AFTERWARDS {
        // It falls where a request is taken back and decided again.
        let new = sent_there(&federation);
        if new > count {
            last_sent = start.elapsed() - killed;
        }
        count = new;
        thread::sleep(STEP);
    }
    let samples = load.stop().unwrap();
    println!("the last request was sent there {last_sent:?} after its death");
    assert!(
        last_sent < patience(NOTICED),
        "{last_sent:?} {}",
        federation.logs()
    );
    check_all_well(&federation, &samples, killed + patience(NOTICED));
}

#[test]
fn a_kept_connection_leaves_a_peer_that_keeps_silent() {
    let (answers, _) = ask_a_peer_that_keeps_silent("PUT");
    let all_by_node3 = answers
        .iter()
        .all(|answer| *answer == (200, Some("node3".to_owned())));
    assert!(all_by_node3, "{answers:?}");
}

/// What was sent on a kept connection may have run, and must not run twice (RFC 9110, section 9.2.2): its client is
/// told. What waited for a new connection cannot have run.
#[test]
fn what_a_silent_peer_may_have_run_is_not_run_again() {
    let (answers, left) = ask_a_peer_that_keeps_silent("POST");
    let (told, others): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| **answer == (503, None));
    assert!(left > 0 && told.len() as u64 == left, "{left} left: {answers:?}");
    let by_node3 = (200, Some("node3".to_owned()));
    assert!(others.iter().all(|answer| **answer == by_node3), "{answers:?}");
}

/// What some kept connections are answered when node 2, which had served some of them, has lost its link, and how many
/// requests left it.
#[track_caller]
fn ask_a_peer_that_keeps_silent(method: &'static str) -> (Vec<(u16, Option<String>)>, u64) {
    const CLIENTS: usize = 24;
    let _turn = turn();
    let request = format!("{method} /function/far HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    let nodes =
        ["near", "far", "far"].map(|name| NodeSpec::new(vec![Function::echo(PLENTY_RPS).named(name)]));
    let federation = Federation::start(&nodes).unwrap();
    let mut wires = Vec::new();
    let mut silent = 0;
    for _ in 0..CLIENTS {
        let mut wire = Wire::connect(&federation.client, federation.nodes[0].service()).unwrap();
        let answer = wire.ask(request.as_bytes(), method).unwrap();
        silent += usize::from(answer.served_by() == Some("node2"));
        wires.push(wire);
    }
    assert!(silent > 0, "node 2 has served nobody");
    federation.network.unplug(2).unwrap();
    let asked = wires.into_iter().map(|mut wire| {
        let request = request.clone();
        thread::spawn(move || {
            let answer = wire.ask(request.as_bytes(), method)?;
            anyhow::Ok((answer.status, answer.served_by().map(str::to_owned)))
        })
    });
    let asked: Vec<_> = asked.collect();
    let answers = asked
        .into_iter()
        .map(|answer| answer.join().unwrap().unwrap())
        .collect();
    let status = federation.nodes[0].status().unwrap();
    let left = status.0["totals"]["events"]["upstream_silent"].as_u64().unwrap();
    println!("{silent} of {CLIENTS} connections were kept with node 2; {left} requests left it");
    (answers, left)
}

#[test]
fn a_provider_that_stops_costs_no_request() {
    let _turn = turn();
    check_restarts(|node| {
        node.stop_provider().unwrap();
        node.start_provider().unwrap();
        node.wait_for_provider().unwrap();
    });
}

#[test]
fn an_agent_of_a_peer_that_stops_costs_no_request() {
    let _turn = turn();
    check_restarts(|node| {
        node.stop_agent().unwrap();
        node.start_agent().unwrap();
        let is_back = || {
            node.status()
                .is_ok_and(|status| status.peers_with_functions() == 2)
        };
        wait_until("a node is back", Duration::from_secs(60), is_back)
            .unwrap_or_else(|error| panic!("{error:#}: {:?}\n{}", node.status(), node.logs()));
    });
}

/// Restarts something of two nodes in turns while a third one is asked for what only they have.
#[track_caller]
fn check_restarts(restart: impl Fn(&mut Node)) {
    let nodes =
        ["near", "far", "far"].map(|name| NodeSpec::new(vec![Function::echo(PLENTY_RPS).named(name)]));
    let mut federation = Federation::start(&nodes).unwrap();
    let Federation { nodes, client, .. } = &mut federation;
    let server = nodes[0].service();
    let served = || get(client, server, "/function/far").is_ok_and(|answer| answer.is_ok());
    wait_until("node 1 knows who serves", Duration::from_secs(10), served).unwrap();
    let siege = move |requests_a_connection| Siege {
        server,
        sources: Vec::new(),
        requests: vec![b"POST /function/far HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello".to_vec()],
        method: "POST",
        connections: 4,
        requests_a_connection,
        at_most: Duration::from_secs(150),
    };
    let stop = &AtomicBool::new(false);
    let client = &*client;
    let tolls = thread::scope(|scope| {
        let sieges =
            [1, 1_000_000].map(|requests| scope.spawn(move || siege(requests).run(client, stop).unwrap()));
        for number in [1, 2] {
            thread::sleep(Duration::from_secs(1));
            restart(&mut nodes[number]);
        }
        stop.store(true, Ordering::Relaxed);
        sieges.map(|siege| siege.join().unwrap())
    });
    for toll in tolls {
        println!("{toll:?}");
        assert_eq!(
            (toll.refused(), toll.lost()),
            (0, 0),
            "{toll:?}{}",
            federation.logs()
        );
    }
    federation.stop().unwrap();
}

#[test]
fn requests_succeed_again_within_a_second_of_a_providers_restart() {
    let _turn = turn();
    let mut federation = three();
    let start = now();
    // Less than node 1 takes: all is served by the provider that is restarted.
    let load = Load::new(federation.nodes[0].service(), "figlet", 8)
        .start(&federation.client)
        .unwrap();
    for _ in 0..2 {
        thread::sleep(Duration::from_secs(2));
        federation.nodes[0].kill_provider();
        federation.nodes[0].start_provider().unwrap();
    }
    let restarted = start.elapsed();
    thread::sleep(patience(AFTERWARDS));
    let samples = load.stop().unwrap();
    check_all_well(
        &federation,
        &samples,
        restarted + patience(Duration::from_secs(1)),
    );
    let last = samples.iter().max_by_key(|sample| sample.sent).unwrap();
    assert!(
        matches!(&last.outcome, Outcome::Answered { served_by: Some(node), .. } if node == "node1"),
        "{last:?}"
    );
}

#[test]
fn who_is_connected_through_an_agent_that_stops_learns_it_at_once() {
    let _turn = turn();
    let nodes = ["near", "far"].map(|name| NodeSpec::new(vec![Function::echo(PLENTY_RPS).named(name)]));
    let mut federation = Federation::start(&nodes).unwrap();
    let wires = ["near", "far"].map(|function| {
        let mut wire = Wire::connect(&federation.client, federation.nodes[0].service()).unwrap();
        let request = format!("GET /function/{function} HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(wire.ask(request.as_bytes(), "GET").unwrap().status, 200);
        wire
    });
    federation.nodes[0].stop_agent().unwrap();
    for mut wire in wires {
        let error = wire.receive().unwrap_err();
        assert!(format!("{error:#}").contains("reset"), "{error:#}");
    }
}

#[test]
fn an_agent_that_is_stopped_leaves_nothing_attached() {
    let _turn = turn();
    let mut federation = three();
    let url = format!("http://{}/function/figlet", federation.nodes[0].service());
    assert_eq!(curl(&federation.client, &["-d", "x", &url]).status, 200);
    federation.nodes[0].stop_agent().unwrap();
    let namespace = federation.nodes[0].namespace();
    let seen = |program: &str, arguments: &[&str]| {
        let output = namespace.output(program, arguments).unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let attached = seen("bpftool", &["net", "show"]);
    assert!(!attached.contains("eth0"), "{attached}");
    assert_eq!(seen("tc", &["filter", "show", "dev", "eth0", "ingress"]), "");
    assert_eq!(seen("sh", &["-c", "ls /sys/fs/bpf | grep -v debug"]), "");
    // Nobody listens on the service port itself.
    const COULD_NOT_CONNECT: i32 = 7;
    assert_eq!(
        try_curl(&federation.client, &["-d", "x", &url]).status.code(),
        Some(COULD_NOT_CONNECT)
    );
    // And it starts again.
    federation.nodes[0].start_agent().unwrap();
    let answers = || {
        try_curl(&federation.client, &["-f", "-d", "x", &url])
            .status
            .success()
    };
    wait_until("node 1 answers again", Duration::from_secs(10), answers).unwrap();
}

#[track_caller]
fn check_all_well(federation: &Federation, samples: &[Sample], from: Duration) {
    let is_well = |sample: &&Sample| matches!(sample.outcome, Outcome::Answered { status: 200, .. });
    let (later, earlier): (Vec<&Sample>, _) = samples.iter().partition(|sample| sample.sent >= from);
    let ill: Vec<_> = later.iter().filter(|sample| !is_well(sample)).collect();
    let before = earlier.iter().filter(|sample| !is_well(sample)).count();
    assert!(!later.is_empty());
    assert!(
        ill.is_empty(),
        "{} of {}: {ill:#?}{}",
        ill.len(),
        later.len(),
        federation.logs()
    );
    println!(
        "{before} of {} requests failed before {from:?}, none of {} later",
        earlier.len(),
        later.len()
    );
}
