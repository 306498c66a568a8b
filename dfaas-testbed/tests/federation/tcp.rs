//! What clients, servers and strangers may do with TCP, and what others notice of it.

use std::{
    cell::Cell,
    io::Read as _,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    os::fd::OwnedFd,
    sync::OnceLock,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use dfaas_testbed::{
    Federation, Function, Namespace, Network, NodeSpec, Response, Wire, get as get_page, wait_until,
};
use etherparse::TcpHeader;
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketType, bind, socket,
        sockopt::{set_socket_linger, set_socket_recv_buffer_size, set_socket_reuseaddr},
    },
};

use crate::{
    forger::{Forger, Sniffer},
    front_ends::{FrontEnd, trio},
    kit::{PLENTY_RPS, turn},
};

static ONE_OF_NODE_1: [(&str, &str); 1] = [("near", "node1")];
static ONE_OF_NODE_3: [(&str, &str); 1] = [("far", "node3")];
const STRANGER: u8 = 200;
/// What the name of a function ends with that answers late.
const LATE: &str = "-late";
/// Far beyond every window.
const BEYOND: u32 = 1 << 30;
/// Within every window, and yet not what is expected next.
const WITHIN: u32 = 1000;

#[test]
fn blind_segments_from_the_clients_address_change_nothing() {
    let _turn = turn();
    for functions in [&ONE_OF_NODE_1, &ONE_OF_NODE_3] {
        let front_end = FrontEnd::data_plane_to(functions);
        check_blind(&front_end, front_end.from, |wire| {
            let asked = wire.ask(&get(&front_end, 100), "GET");
            ensure!(asked.is_err(), "nothing of it arrives");
            Ok(())
        });
    }
}

#[test]
fn blind_segments_from_the_peers_address_change_nothing() {
    let _turn = turn();
    let front_end = FrontEnd::data_plane_to(&ONE_OF_NODE_3);
    let left = || {
        let status = trio().nodes[0].status().unwrap();
        status.0["totals"]["events"]["upstream_left"].as_u64().unwrap()
    };
    let seen = Cell::new(left());
    check_blind(&front_end, trio().nodes[2].namespace(), |wire| {
        // Between requests, a client does not notice that its server is gone.
        wire.ask(&get(&front_end, 100), "GET")?;
        ensure!(seen.replace(left()) < left(), "nothing of it arrives");
        Ok(())
    });
}

/// A stranger, who knows addresses and ports and guesses numbers, sends to node 1 in the name of somebody else. What comes
/// of a reset with the right numbers tells whether anything arrives.
#[track_caller]
fn check_blind(front_end: &FrontEnd, victim: &Namespace, is_ended: impl Fn(&mut Wire) -> Result<()>) {
    let faults: Vec<String> = BLIND
        .iter()
        .filter_map(|blind| {
            Some(format!(
                "{}: {:#}",
                blind.name,
                suffer(front_end, victim, blind, &is_ended).err()?
            ))
        })
        .collect();
    assert!(faults.is_empty(), "{}:\n{}", front_end.name, faults.join("\n"));
}

/// Uses a connection after blind segments, and makes sure that they had arrived.
fn suffer(
    front_end: &FrontEnd,
    victim: &Namespace,
    blind: &Blind,
    is_ended: impl Fn(&mut Wire) -> Result<()>,
) -> Result<()> {
    let forger = Forger::new(stranger());
    let mut wire = front_end.connect();
    let sniffer = Sniffer::new(victim);
    check_download(front_end, &mut wire, 100);
    let expected = || sniffer.last(Network::address(1), 80).answer();
    let mut guessed = expected();
    guessed.sequence = guessed.sequence.wrapping_add(blind.offset);
    for _ in 0..20 {
        forger.send(guessed, blind.mark, blind.payload);
    }
    let response = wire.ask(&get(front_end, 100_000), "GET")?;
    ensure!(response.body.len() == 100_000, "{response:?}");
    // Who knows the numbers is believed. A packet may be lost.
    let known = expected();
    for _ in 0..5 {
        forger.send(known, |header| header.rst = true, b"");
    }
    is_ended(&mut wire)
}

/// A segment whose number is this far from the one that is expected.
struct Blind {
    name: &'static str,
    offset: u32,
    mark: fn(&mut TcpHeader),
    payload: &'static [u8],
}

const REQUEST: &[u8] = b"GET /function/guarded HTTP/1.1\r\nHost: x\r\n\r\n";

const BLIND: [Blind; 10] = [
    Blind {
        name: "a reset beyond the window",
        offset: BEYOND,
        mark: |header| header.rst = true,
        payload: b"",
    },
    Blind {
        name: "a reset before the window",
        offset: BEYOND.wrapping_neg(),
        mark: |header| header.rst = true,
        payload: b"",
    },
    Blind {
        name: "a reset within the window",
        offset: WITHIN,
        mark: |header| header.rst = true,
        payload: b"",
    },
    Blind {
        name: "data beyond the window",
        offset: BEYOND,
        mark: |header| (header.ack, header.psh) = (true, true),
        payload: REQUEST,
    },
    Blind {
        name: "data before the window",
        offset: BEYOND.wrapping_neg(),
        mark: |header| (header.ack, header.psh) = (true, true),
        payload: REQUEST,
    },
    Blind {
        name: "an end beyond the window",
        offset: BEYOND,
        mark: |header| (header.ack, header.fin) = (true, true),
        payload: b"",
    },
    Blind {
        name: "an end before the window",
        offset: BEYOND.wrapping_neg(),
        mark: |header| (header.ack, header.fin) = (true, true),
        payload: b"",
    },
    Blind {
        name: "an end within the window",
        offset: WITHIN,
        mark: |header| (header.ack, header.fin) = (true, true),
        payload: b"",
    },
    Blind {
        name: "an end of what was said before",
        offset: WITHIN.wrapping_neg(),
        mark: |header| (header.ack, header.fin) = (true, true),
        payload: b"",
    },
    Blind {
        name: "a beginning",
        offset: BEYOND,
        mark: |header| header.syn = true,
        payload: b"",
    },
];

fn stranger() -> &'static Namespace {
    static STRANGER_HOST: OnceLock<Namespace> = OnceLock::new();
    STRANGER_HOST.get_or_init(|| {
        let host = trio().network.add_host("stranger", STRANGER).unwrap();
        // What is sent before the link is up is lost.
        let is_up = || get_page(&host, trio().nodes[0].service(), "/").is_ok();
        wait_until("stranger up", Duration::from_secs(5), is_up).unwrap();
        host
    })
}

#[test]
fn who_reads_late_gets_all() {
    const BYTES: usize = 10 << 20;
    const LATE: Duration = Duration::from_secs(2);
    each(|front_end| {
        let mut wire = front_end.connect();
        wire.send(&get(front_end, BYTES)).unwrap();
        // The window is full long before.
        thread::sleep(LATE);
        let response = wire.response("GET").with_context(|| front_end.name).unwrap();
        assert_eq!(response.body.len(), BYTES, "{}", front_end.name);
        check_download(front_end, &mut wire, 1000);
    });
}

#[test]
fn who_has_said_all_gets_the_rest() {
    // A server has handed it over at once, and a client that takes little at a time has not got it yet.
    const BYTES: usize = 10_000;
    const TAKEN_BYTES: usize = 2048;
    each(|front_end| {
        let stream = connect(front_end, |socket| {
            set_socket_recv_buffer_size(socket, TAKEN_BYTES)
        });
        let mut wire = Wire::new(stream).unwrap();
        wire.send(&get(front_end, BYTES)).unwrap();
        assert_eq!(wire.stream().peek(&mut [0]).unwrap(), 1);
        wire.stream().shutdown(Shutdown::Write).unwrap();
        let response = wire.response("GET").with_context(|| front_end.name).unwrap();
        assert_eq!(response.body.len(), BYTES, "{}", front_end.name);
        wire.end().with_context(|| front_end.name).unwrap();
    });
}

#[test]
fn nobody_suffers_from_clients_that_left() {
    each(|front_end| {
        let mut kept = front_end.connect();
        for number in 0..100 {
            let mut wire = front_end.connect();
            let (function, _) = front_end.function(number);
            let request =
                format!("POST /function/{function} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\npart");
            wire.send(&request.as_bytes()[..request.len() - number % 60])
                .unwrap();
            if number % 2 == 0 {
                set_socket_linger(wire.stream(), Some(Duration::ZERO)).unwrap();
            }
            drop(wire);
            check_download(front_end, &mut kept, 1000 + number);
        }
    });
}

#[test]
fn a_head_that_comes_byte_by_byte_has_an_answer() {
    const PAUSE: Duration = Duration::from_millis(1);
    each(|front_end| {
        let mut wire = front_end.connect();
        for byte in get(front_end, 1000) {
            // Who is refused early has an answer all the same.
            let _ = wire.send(&[byte]);
            thread::sleep(PAUSE);
        }
        let response = wire.response("GET").with_context(|| front_end.name).unwrap();
        let is_whole = response.status == 200 && response.body.len() == 1000;
        assert!(
            is_whole || response.status >= 400,
            "{}: {response:?}",
            front_end.name
        );
    });
}

#[test]
fn a_clients_port_may_be_used_again_at_once() {
    const PORT: u16 = 10_001;
    each(|front_end| {
        for number in 0..60 {
            let stream = connect(front_end, |socket| {
                set_socket_reuseaddr(socket, true)?;
                bind(socket, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)))
            });
            let mut wire = Wire::new(stream).unwrap();
            check_download(front_end, &mut wire, 1000 + number);
            if number % 2 == 0 {
                set_socket_linger(wire.stream(), Some(Duration::ZERO)).unwrap();
                continue;
            }
            // The server remembers a connection that it has ended first.
            let (function, _) = front_end.function(number);
            let last = format!("GET /function/{function} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let response = wire
                .ask(last.as_bytes(), "GET")
                .with_context(|| front_end.name)
                .unwrap();
            assert_eq!(response.status, 200, "{}", front_end.name);
            wire.end().unwrap();
        }
    });
}

/// The server ends first and remembers that in numbers of its own; its client hears nothing of the last acknowledgment.
#[test]
fn an_end_that_comes_again_is_acknowledged_again() {
    let _turn = turn();
    let front_end = FrontEnd::data_plane_to(&ONE_OF_NODE_1);
    let mut wire = front_end.connect();
    let SocketAddr::V4(client) = wire.stream().local_addr().unwrap() else {
        panic!("clients have IPv4 addresses");
    };
    check_download(&front_end, &mut wire, 100);
    let last = b"GET /function/near HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(wire.ask(last, "GET").unwrap().status, 200);
    let sniffer = Sniffer::new(front_end.from);
    wire.end().unwrap();
    let heard = || sniffer.last(Network::address(1), client.port());
    let acknowledgment = heard();
    let mut end = acknowledgment.answer();
    end.sequence = end.sequence.wrapping_sub(1);
    Forger::new(front_end.from).send(end, |header| (header.fin, header.ack) = (true, true), b"");
    let again = heard();
    assert_eq!(again.sequence, acknowledgment.sequence);
    assert_eq!(again.acknowledgment, acknowledgment.acknowledgment);
}

/// Connects by a socket that was prepared. A port that was used just now may still await an acknowledgment of its end.
fn connect(
    front_end: &FrontEnd,
    prepare: impl Fn(&OwnedFd) -> std::result::Result<(), Errno> + Sync,
) -> TcpStream {
    let connected = || {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        prepare(&socket)?;
        rustix::net::connect(&socket, &front_end.address)?;
        Ok::<_, Errno>(socket)
    };
    let mut socket = Err(Errno::ADDRNOTAVAIL);
    wait_until("port free", Duration::from_secs(5), || {
        socket = front_end.from.on_thread(connected).unwrap();
        !matches!(socket, Err(Errno::ADDRNOTAVAIL))
    })
    .unwrap();
    socket.unwrap().into()
}

/// Who has a part of the answer sees that it ends; who has nothing of it yet is told.
#[test]
fn an_answer_ends_when_its_server_is_killed() {
    let _turn = turn();
    let spec = |name: &str| {
        NodeSpec::new(vec![
            Function::echo(PLENTY_RPS).named(name),
            sleeper(&format!("{name}{LATE}")),
        ])
    };
    let mut federation = Federation::start(&["near", "far"].map(spec)).unwrap();
    for (number, function) in ["near", "far"].into_iter().enumerate() {
        let server = federation.nodes[0].service();
        let mut late = Wire::connect(&federation.client, server).unwrap();
        late.send(format!("GET /function/{function}{LATE} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
            .unwrap();
        let mut wire = Wire::connect(&federation.client, server).unwrap();
        let request = format!("GET /function/{function}?size=1000000000 HTTP/1.1\r\nHost: x\r\n\r\n");
        wire.send(request.as_bytes()).unwrap();
        let mut stream = wire.stream();
        let mut bytes = vec![0; 1 << 20];
        stream.read_exact(&mut bytes).unwrap();
        federation.nodes[number].kill_provider();
        // An end or a reset, and no silence.
        let mut rest = 0;
        let error = loop {
            match stream.read(&mut bytes) {
                Ok(0) => break None,
                Ok(length) => rest += length,
                Err(error) => break Some(error),
            }
        };
        let is_end = error
            .as_ref()
            .is_none_or(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
        assert!(is_end, "{function}: {error:?}, after {rest} bytes");
        let response = late.response("GET").with_context(|| function).unwrap();
        assert_eq!(response.status, 502, "{function}");
    }
}

/// A function that does not answer before its server is killed.
fn sleeper(name: &str) -> Function {
    Function {
        image: "sleep".to_owned(),
        process: Some("sleep 600".to_owned()),
        ..Function::echo(PLENTY_RPS).named(name)
    }
}

/// Calls it for one place after the other, the simplest first.
fn each(check: impl Fn(&FrontEnd)) {
    let _turn = turn();
    let front_ends = [
        FrontEnd::platform(),
        FrontEnd::data_plane_to(&ONE_OF_NODE_1),
        FrontEnd::data_plane_to(&ONE_OF_NODE_3),
    ];
    front_ends.iter().for_each(check);
}

fn get(front_end: &FrontEnd, bytes: usize) -> Vec<u8> {
    let (function, _) = front_end.function(0);
    format!("GET /function/{function}?size={bytes} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()
}

#[track_caller]
fn check_download(front_end: &FrontEnd, wire: &mut Wire, bytes: usize) {
    let response: Response = wire
        .ask(&get(front_end, bytes), "GET")
        .with_context(|| front_end.name)
        .unwrap();
    assert_eq!(
        (response.status, response.body.len()),
        (200, bytes),
        "{}",
        front_end.name
    );
}
