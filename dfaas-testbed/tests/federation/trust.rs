//! Who is let in: a node's identity is known to all, its token is not.

use std::{
    collections::BTreeSet,
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use dfaas_testbed::{
    Federation, Function, Load, Node, NodeSpec, Outcome, Sample, Wire, now, patience, wait_until,
};

use crate::{
    forger::Sniffer,
    kit::{PLENTY_RPS, Seen, curl, run_ours, turn},
};

const READY: Duration = Duration::from_secs(20);
const RATE_RPS: u32 = 100;
const SECONDS: u64 = 8;
/// What a peer exceeds that asks as fast as it can.
const LIMIT_RPS: u32 = 4;
/// Longer than two tokens last.
const TWO_ROTATIONS: Duration = Duration::from_secs(15);
const CHUNKED: [&str; 4] = ["-H", "Transfer-Encoding: chunked", "-d", "hello"];

#[test]
fn an_identity_without_its_token_is_forged() {
    let _turn = turn();
    let federation = quick(&[]);
    let [near, far] = &federation.nodes[..] else {
        panic!("two nodes");
    };
    let id = near.status().unwrap().node().to_owned();
    let before = forged(far);
    let admitted_before = admitted(far);
    let wrong = "0123456789abcdef0123456789abcdef".to_owned();
    let attempts = [None, Some(String::new()), Some(wrong)];
    for token in &attempts {
        for more in [&[][..], &CHUNKED] {
            let seen = claim(&federation, far, &id, token.as_deref(), more);
            assert_eq!(seen.status, 403, "{token:?} {seen:?}");
            assert!(seen.text().contains("DFaaS-Node-Token"), "{seen:?}");
        }
    }
    let count = 2 * attempts.len() as u64;
    wait_until("forgeries counted", READY, || forged(far) == before + count).unwrap();
    assert_eq!(admitted(far), admitted_before);
    assert_eq!(ask_far(&federation, &[]).status, 200, "others are not harmed");
    assert_eq!(forged(far), before + count);
    federation.stop().unwrap();
}

#[test]
fn an_old_token_is_worth_nothing() {
    let _turn = turn();
    let federation = quick(&[]);
    let [near, far] = &federation.nodes[..] else {
        panic!("two nodes");
    };
    let id = near.status().unwrap().node().to_owned();
    let overheard = overhear(&federation);
    let seen = claim(&federation, far, &id, Some(&overheard), &[]);
    assert_eq!(seen.status, 200, "while it lasts, whoever has it is believed");
    let before = forged(far);
    for more in [&[][..], &CHUNKED] {
        wait_until("the token refused", TWO_ROTATIONS, || {
            claim(&federation, far, &id, Some(&overheard), more).status == 403
        })
        .unwrap();
    }
    wait_until("replays counted", READY, || forged(far) == before + 2).unwrap();
    assert_eq!(ask_far(&federation, &[]).status, 200);
    federation.stop().unwrap();
}

#[test]
fn tokens_change_under_load_and_nothing_is_lost() {
    let _turn = turn();
    let federation = quick(&[]);
    let [near, far] = &federation.nodes[..] else {
        panic!("two nodes");
    };
    let before = (forged(near), forged(far));
    let mut load = Load::new(near.service(), "far", RATE_RPS);
    load.at_most = Duration::from_secs(SECONDS);
    let running = load.start(&federation.client).unwrap();
    let mut tokens = BTreeSet::new();
    let mut by_haproxy = 0;
    let start = now();
    while start.elapsed() < Duration::from_secs(SECONDS - 1) {
        tokens.insert(Sniffer::new(far.namespace()).token());
        let seen = ask_far(&federation, &CHUNKED);
        assert_eq!((seen.status, seen.text().as_str()), (200, "hello"), "{seen:?}");
        by_haproxy += 1;
    }
    let samples = running.finish().unwrap();
    let is_served = |outcome: &Outcome| matches!(outcome, Outcome::Answered { status: 200, served_by: Some(node) } if node == far.name());
    let lost: Vec<_> = samples
        .iter()
        .filter(|sample| !is_served(&sample.outcome))
        .collect();
    assert!(lost.is_empty(), "{lost:?}\n{}", federation.logs());
    assert!(tokens.len() >= 3, "{} tokens in {SECONDS} s", tokens.len());
    assert_eq!((forged(near), forged(far)), before);
    println!(
        "{} requests by the kernel and {by_haproxy} by HAProxy with {} tokens, none refused",
        samples.len(),
        tokens.len()
    );
    federation.stop().unwrap();
}

#[test]
fn a_peer_over_its_limit_is_refused_and_users_are_not() {
    let _turn = turn();
    let limited = |name: &str| NodeSpec::new(vec![Function::echo(LIMIT_RPS).named(name)]);
    let federation = Federation::start(&[limited("near"), limited("far")]).unwrap();
    let [near, far] = &federation.nodes[..] else {
        panic!("two nodes");
    };
    wait_until_ready(&federation);
    let id = near.status().unwrap().node().to_owned();
    let token = overhear(&federation);
    let mut users = Load::new(far.service(), "far", LIMIT_RPS / 2);
    users.at_most = Duration::from_secs(SECONDS);
    let users = users.start(&federation.client).unwrap();
    let mut flood = Load::new(far.service(), "far", RATE_RPS);
    flood.at_most = Duration::from_secs(SECONDS - 1);
    flood.headers = vec![
        ("DFaaS-Node-ID".to_owned(), id.clone()),
        ("DFaaS-Node-Token".to_owned(), token.clone()),
    ];
    let flood = flood.start(&federation.client).unwrap();
    let mut refused = 0;
    wait_until("HAProxy refuses, too", READY, || {
        let is_refused = claim(&federation, far, &id, Some(&token), &CHUNKED).status == 429;
        refused += u64::from(is_refused);
        is_refused
    })
    .unwrap();
    let flood = flood.finish().unwrap();
    let users = users.finish().unwrap();
    let of_status = |samples: &[Sample], wanted: u16| {
        let has_status =
            |sample: &&Sample| matches!(sample.outcome, Outcome::Answered { status, .. } if status == wanted);
        samples.iter().filter(has_status).count()
    };
    let (served, over) = (of_status(&flood, 200), of_status(&flood, 429));
    println!("{served} of {} served at a limit of {LIMIT_RPS}/s", flood.len());
    assert_eq!(served + over, flood.len(), "{flood:?}");
    // At first a burst passes.
    let most = LIMIT_RPS as usize * (SECONDS as usize + 1);
    assert!(served <= most, "{served} served, at most {most}");
    refused += over as u64;
    let counted = || {
        let refused = &far.status().unwrap().0["totals"]["functions"]["far"]["refused"];
        refused["429"].as_u64().unwrap_or(0)
    };
    wait_until("refusals counted", READY, || counted() == refused).unwrap();
    assert_eq!(of_status(&users, 200), users.len(), "{users:?}");
    federation.stop().unwrap();
}

#[test]
fn a_node_without_the_ability_can_be_let_in() {
    let _turn = turn();
    let federation = quick(&["--tokenless-peers=all"]);
    let [near, far] = &federation.nodes[..] else {
        panic!("two nodes");
    };
    let id = near.status().unwrap().node().to_owned();
    for more in [&[][..], &CHUNKED] {
        assert_eq!(claim(&federation, far, &id, None, more).status, 200);
        assert_eq!(claim(&federation, far, "malicious-id", None, more).status, 403);
    }
    federation.stop().unwrap();
}

#[test]
fn a_peer_that_is_struck_off_is_cut_off_within_a_second() {
    let _turn = turn();
    let spec = |name: &str, more: &[&str]| NodeSpec {
        agent_arguments: more.iter().map(|&argument| argument.to_owned()).collect(),
        ..NodeSpec::new(vec![Function::echo(PLENTY_RPS).named(name)])
    };
    let listed = ["--admitted-peers-file=/run/admitted"];
    let mut federation = Federation::unformed(&[spec("near", &[]), spec("far", &listed)]).unwrap();
    let [near, far] = &federation.nodes[..] else {
        panic!("two nodes");
    };
    let create = ["id", "--create", "--state-dir=/run/agent"];
    let (_, id) = run_ours(near.namespace(), "dfaas-agent", &create);
    let id = id.lines().last().unwrap().to_owned();
    let list = far.namespace().path("/run/admitted");
    fs::write(&list, &id).unwrap();
    let start = federation.start_agents().unwrap();
    federation.wait_until_formed(start).unwrap();
    wait_until_ready(&federation);
    let [near, far] = &federation.nodes[..] else {
        panic!("two nodes");
    };
    let token = overhear(&federation);
    let stamp = format!("Host: x\r\nDFaaS-Node-ID: {id}\r\nDFaaS-Node-Token: {token}\r\n");
    let post = "POST /function/far HTTP/1.1\r\n";
    let mut idle = connect(near, far);
    write!(idle, "{post}{stamp}Content-Length: 2\r\n\r\nhi").unwrap();
    let mut answer = [0; 1_024];
    let length = idle.read(&mut answer).unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"), "{answer:?}");
    let mut sending = connect(near, far);
    write!(sending, "{post}{stamp}Content-Length: 1000000\r\n\r\npart").unwrap();
    let mut by_haproxy = connect(near, far);
    write!(
        by_haproxy,
        "{post}{stamp}Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n"
    )
    .unwrap();
    let mut by_user = connect(near, near);
    write!(by_user, "{post}Host: x\r\nContent-Length: 1000000\r\n\r\npart").unwrap();
    let mut user = Wire::connect(&federation.client, far.service()).unwrap();
    let as_user = format!("{post}Host: x\r\nContent-Length: 2\r\n\r\nhi");
    let mut ask_as_user = || assert_eq!(user.ask(as_user.as_bytes(), "POST").unwrap().status, 200);
    ask_as_user();
    wait_until("all under way", READY, || served_at(far) >= 5).unwrap();

    fs::write(&list, "# nobody\n").unwrap();
    let struck = now();
    for (connection, what) in [(idle, "idle"), (sending, "sending"), (by_haproxy, "by HAProxy")] {
        wait_for_end(connection);
        let took = struck.elapsed();
        println!("{what}: ended {took:?} after the peer was struck off");
        assert!(took < patience(Duration::from_secs(1)), "{what}: {took:?}");
    }
    wait_until("no connection left but the user's", READY, || served_at(far) == 1).unwrap();
    ask_as_user();
    assert_eq!(claim(&federation, far, &id, Some(&token), &[]).status, 403);
    let events = far.status().unwrap().0["totals"]["events"].clone();
    assert!(events["ended_with_peer"].as_u64().unwrap() >= 4, "{events}");
    wait_for_end(by_user);

    fs::write(&list, &id).unwrap();
    wait_until_ready(&federation);
    federation.stop().unwrap();
}

/// How many connections a node's platform and HAProxy have on the service port.
fn served_at(node: &Node) -> usize {
    let output = node
        .namespace()
        .output("ss", &["-Htn", "state", "established", "sport", "=", ":80"]);
    String::from_utf8(output.unwrap().stdout).unwrap().lines().count()
}

fn connect(from: &Node, to: &Node) -> TcpStream {
    let server = to.service();
    let stream = from.namespace().on_thread(move || TcpStream::connect(server));
    let stream = stream.unwrap().unwrap();
    stream.set_read_timeout(Some(patience(READY))).unwrap();
    stream
}

/// Waits until the other end is gone; what it has sent before does not matter.
#[track_caller]
fn wait_for_end(mut connection: TcpStream) {
    let mut bytes = [0; 1_024];
    loop {
        match connection.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Two nodes whose tokens last a second: `near` runs at the first, `far` at the second, and HAProxy at both.
fn quick(more: &[&str]) -> Federation {
    let spec = |name: &str| NodeSpec {
        agent_arguments: [&["--token-rotation=1s"], more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        ..NodeSpec::new(vec![Function::echo(PLENTY_RPS).named(name)])
    };
    let federation = Federation::start(&[spec("near"), spec("far")]).unwrap();
    let served = wait_until_ready(&federation);
    wait_until("all counted", READY, || admitted(&federation.nodes[1]) == served).unwrap();
    federation
}

/// Returns how many requests were served meanwhile.
fn wait_until_ready(federation: &Federation) -> u64 {
    let mut served = 0;
    let mut is_served = |more: &[&str]| {
        let is_served = ask_far(federation, more).status == 200;
        served += u64::from(is_served);
        is_served
    };
    wait_until("HAProxy ready and routes known", READY, || {
        let has_proxy = |node: &Node| {
            let status = node.status().ok();
            status.is_some_and(|status| status.0["proxy"]["state"] == "ready")
        };
        federation.nodes.iter().all(has_proxy) && is_served(&[]) && is_served(&CHUNKED)
    })
    .unwrap();
    served
}

/// How many requests for its function a node has counted as admitted of peers.
fn admitted(node: &Node) -> u64 {
    node.status().unwrap().totals("far").admitted
}

/// Asks the first node for what only the second has.
fn ask_far(federation: &Federation, more: &[&str]) -> Seen {
    let url = format!("http://{}/function/far", federation.nodes[0].service());
    curl(&federation.client, &[more, &[&url]].concat())
}

/// Asks a node directly, as if from another node.
pub(crate) fn claim(
    federation: &Federation,
    node: &Node,
    id: &str,
    token: Option<&str>,
    more: &[&str],
) -> Seen {
    let id = format!("DFaaS-Node-ID: {id}");
    let token = token.map(|token| match token {
        "" => "DFaaS-Node-Token;".to_owned(),
        token => format!("DFaaS-Node-Token: {token}"),
    });
    let url = format!("http://{}/function/far", node.service());
    let mut arguments = vec!["-H", &id, &url];
    if let Some(token) = &token {
        arguments.extend(["-H", token.as_str()]);
    }
    curl(&federation.client, &[more, &arguments].concat())
}

/// The token that goes from the first node to the second, as somebody on the way hears it.
pub(crate) fn overhear(federation: &Federation) -> String {
    let sniffer = Sniffer::new(federation.nodes[1].namespace());
    // What was asked before may have used up what the second node takes.
    wait_until("an answer", READY, || ask_far(federation, &[]).status == 200).unwrap();
    sniffer.token()
}

/// How many forgeries a node has counted, in the kernel and in HAProxy.
fn forged(node: &Node) -> u64 {
    let status = node.status().unwrap();
    status.0["totals"]["events"]["forged"].as_u64().unwrap()
}
