//! The test bed itself: hosts reach each other, and nothing outlives the process that made them.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use dfaas_testbed::{
    Connections, Load, Namespace, Network, Outcome, Process, Relay, Tally, get, now, patience, wait_until,
};

/// Set where this test program is started by itself, to be killed.
const VICTIM: &str = "DFAAS_TESTBED_VICTIM";
const RELAY_PORT: u16 = 18_081;
/// More than one segment, and more than what one connection has under way at first.
const FILE_BYTES: usize = 1_000_000;

#[test]
fn hosts_reach_each_other_and_the_relay_reaches_them() {
    let network = Network::new().unwrap();
    let server = network.add_host("server", 1).unwrap();
    let client = network.add_host("client", 100).unwrap();
    let program = Process::start(
        &server,
        "web",
        "python3",
        &["-m", "http.server", "80", "--directory", "/run"],
    )
    .unwrap();
    let address = (Network::address(1), 80).into();
    let up = || get(&client, address, "/").is_ok_and(|answer| answer.is_ok());
    wait_until("web server up", Duration::from_secs(10), up).unwrap();

    let relay = Relay::start(&client, &[(RELAY_PORT, address)]).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", RELAY_PORT)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    drop(relay);
    assert!(TcpStream::connect(("127.0.0.1", RELAY_PORT)).is_err());

    network.unplug(1).unwrap();
    assert!(get(&client, address, "/").is_err());
    network.plug(1).unwrap();
    assert!(get(&client, address, "/").is_ok());
    assert!(program.terminate().is_ok());
}

#[test]
fn what_crosses_a_late_link_is_whole_and_late() {
    let network = Network::new().unwrap();
    let server = network.add_host("server", 1).unwrap();
    let client = network.add_host("client", 100).unwrap();
    let link = network.stretch(1).unwrap();
    let address: SocketAddr = (Network::address(1), 80).into();
    let _web = Process::start(
        &server,
        "web",
        "python3",
        &["-m", "http.server", "80", "--directory", "/run"],
    )
    .unwrap();
    fs::write(server.path("/run/file"), vec![b'x'; FILE_BYTES]).unwrap();
    let is_there = || get(&client, address, "/file").is_ok_and(|answer| answer.body.len() == FILE_BYTES);
    wait_until("the file is there", Duration::from_secs(10), is_there).unwrap();

    // Both ends know where the other is by now, so it takes a packet each way.
    let delay = patience(Duration::from_millis(50));
    let quick = (0..5).map(|_| connected_in(&client, address)).min();
    assert!(quick < Some(delay), "{quick:?}");
    link.set_delay(delay);
    let late = connected_in(&client, address);
    assert!(late >= 2 * delay, "{late:?}");
    assert_eq!(get(&client, address, "/file").unwrap().body.len(), FILE_BYTES);
    link.set_delay(Duration::ZERO);
    let quick = (0..5).map(|_| connected_in(&client, address)).min();
    assert!(quick < Some(delay), "{quick:?}");
    println!("connected in {quick:.1?}, over the late link in {late:.1?}");
}

/// How long it takes to connect.
fn connected_in(from: &Namespace, server: SocketAddr) -> Duration {
    let connect = || {
        let start = now();
        TcpStream::connect(server).map(|_| start.elapsed())
    };
    let took = from.on_thread(connect).expect("the namespace is there");
    took.expect("somebody listens")
}

#[test]
fn the_load_keeps_its_rate_and_tells_what_is_lost() {
    let network = Network::new().unwrap();
    let client = network.add_host("client", 100).unwrap();
    let server = network.add_host("server", 1).unwrap();
    let mut load = Load::new((Network::address(1), 80).into(), "x", 100);
    load.at_most = Duration::from_secs(2);
    for connections in [Connections::OnePerRequest, Connections::KeepAlive] {
        let load = Load {
            connections,
            ..load.clone()
        };
        let samples = load.start(&client).unwrap().finish().unwrap();
        let tally = Tally::of("server", &samples);
        assert!((195..=205).contains(&tally.sent), "{tally:?}");
        assert_eq!(tally.lost(), tally.sent, "nobody listens");
    }
    // It knows no POST, which is an answer too.
    let _web = Process::start(&server, "web", "python3", &["-m", "http.server", "80"]).unwrap();
    let up = || get(&client, load.server, "/").is_ok();
    wait_until("web server up", Duration::from_secs(10), up).unwrap();
    let samples = load.start(&client).unwrap().finish().unwrap();
    let refused = |outcome: &Outcome| {
        matches!(
            outcome,
            Outcome::Answered {
                status: 501,
                served_by: None
            }
        )
    };
    assert!(
        samples.iter().all(|sample| refused(&sample.outcome)),
        "{:?}",
        Tally::of("server", &samples)
    );
}

#[test]
fn nothing_outlives_a_process_that_is_killed() {
    let mut victim = Command::new(env::current_exe().unwrap())
        .args(["--exact", "the_victim_waits_to_be_killed", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The victim would end if nobody read its output any more.
    let mut lines = BufReader::new(victim.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let pids = lines
        .find_map(|line| Some(line.split_once("pids ")?.1.to_owned()))
        .unwrap();
    let alive = || pids.split(' ').filter(|pid| is_alive(pid)).count();
    assert_eq!(alive(), 2, "{pids}");
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_until("all gone", Duration::from_secs(5), || alive() == 0).unwrap();
}

#[test]
fn the_victim_waits_to_be_killed() {
    if env::var_os(VICTIM).is_none() {
        return;
    }
    let network = Network::new().unwrap();
    let host = network.add_host("host", 1).unwrap();
    let program = Process::start(&host, "sleep", "setsid", &["--wait", "sleep", "1000"]).unwrap();
    println!("pids {} {}", host.pid(), program.pid());
    // It may be woken for no reason.
    loop {
        std::thread::park();
    }
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}
