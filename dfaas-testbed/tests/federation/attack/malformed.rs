//! Frames that no stack would send: they are let go, and harm nobody.

use std::{
    io::Write as _,
    net::SocketAddr,
    process::{Command, Stdio},
};

use dfaas_testbed::{Federation, Namespace};
use etherparse::{PacketBuilder, TcpHeader};

use super::{Honest, event, plain, wait_for_clients};
use crate::kit::turn;

const KEPT: usize = 6;
const FRAMES: usize = 20_000;
/// Sends what comes on standard input, each frame behind its length, as it is.
const SENDER: &str = "
import socket, struct, sys
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(('eth0', 0))
while length := sys.stdin.buffer.read(2):
    link.send(sys.stdin.buffer.read(struct.unpack('>H', length)[0]))
";
const ETHERNET_BYTES: usize = 14;

#[test]
fn malformed_frames_harm_nobody() {
    let _turn = turn();
    let federation = plain();
    let frames = frames(federation);
    let node = &federation.nodes[0];
    let mut honest = Honest::new(federation, KEPT);
    honest.ask().unwrap();
    let random = &mut Random(0x5eed);
    let aimed = aimed(&honest, &frames, random);
    let before = counted(federation);
    let rounds = honest.ask_while(|| send(&federation.client, &aimed));
    println!("{FRAMES} frames, meanwhile {rounds} rounds of {KEPT} kept connections and 2 new ones");
    assert!(rounds > 0);
    honest.ask().unwrap();
    wait_for_clients(node, honest.entries());
    assert!(counted(federation) > before, "they are counted");
    assert_eq!(event(node, "helper_failed"), 0);
    drop(honest);
    wait_for_clients(node, 0);
}

/// What the kernel has let go.
fn counted(federation: &Federation) -> u64 {
    let events = ["out_of_window", "out_of_handshake", "malformed", "drained"];
    events.map(|name| event(&federation.nodes[0], name)).iter().sum()
}

/// Ethernet addresses of the client and of node 1.
struct Link {
    client: [u8; 6],
    node: [u8; 6],
    service: [u8; 4],
}

fn frames(federation: &Federation) -> Link {
    let address = |host: &Namespace| {
        let output = host.output("cat", &["/sys/class/net/eth0/address"]).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let bytes = text
            .trim()
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).unwrap());
        <[u8; 6]>::try_from(bytes.collect::<Vec<_>>()).unwrap()
    };
    Link {
        client: address(&federation.client),
        node: address(federation.nodes[0].namespace()),
        service: octets(federation.nodes[0].service()),
    }
}

fn octets(address: SocketAddr) -> [u8; 4] {
    match address {
        SocketAddr::V4(address) => address.ip().octets(),
        SocketAddr::V6(_) => panic!("nodes have IPv4 addresses"),
    }
}

/// Noise, segments with wrong bytes, cut segments, and segments of live connections that nobody sent.
fn aimed(honest: &Honest<'_>, link: &Link, random: &mut Random) -> Vec<Vec<u8>> {
    let clients: Vec<SocketAddr> = honest
        .kept
        .iter()
        .map(|wire| wire.stream().local_addr().unwrap())
        .collect();
    let frame = |number| {
        let client = clients[random.below(clients.len())];
        let mut frame = segment(link, client, number % 4 == 0, random);
        match number % 4 {
            // Right in itself, and not what is expected.
            0 => {}
            1 => frame[ETHERNET_BYTES..].fill_with(|| random.next() as u8),
            2 => {
                for _ in 0..1 + random.below(4) {
                    let at = ETHERNET_BYTES + random.below(frame.len() - ETHERNET_BYTES);
                    frame[at] = random.next() as u8;
                }
            }
            _ => frame.truncate(ETHERNET_BYTES + random.below(frame.len() - ETHERNET_BYTES)),
        }
        frame
    };
    (0..FRAMES).map(frame).collect()
}

/// A segment to the service, of a live connection or of one that never was.
fn segment(link: &Link, client: SocketAddr, is_live: bool, random: &mut Random) -> Vec<u8> {
    let port = if is_live {
        client.port()
    } else {
        random.next() as u16
    };
    let mut tcp = TcpHeader::new(port, 80, random.next() as u32, random.next() as u16);
    tcp.acknowledgment_number = random.next() as u32;
    let flags = random.next();
    let is = |bit: u32| flags >> bit & 1 == 1;
    (tcp.syn, tcp.ack, tcp.fin, tcp.rst, tcp.psh, tcp.urg) = (is(0), is(1), is(2), is(3), is(4), is(5));
    let options: Vec<u8> = (0..4 * random.below(11)).map(|_| random.next() as u8).collect();
    tcp.set_options_raw(&options).unwrap();
    let payload: Vec<u8> = (0..random.below(100)).map(|_| random.next() as u8).collect();
    let builder = PacketBuilder::ethernet2(link.client, link.node)
        .ipv4(octets(client), link.service, 64)
        .tcp_header(tcp);
    let mut frame = Vec::new();
    builder.write(&mut frame, &payload).unwrap();
    frame
}

fn send(from: &Namespace, frames: &[Vec<u8>]) {
    let mut command: Command = from.command("python3");
    command.args(["-c", SENDER]).stdin(Stdio::piped());
    let mut sender = from.start(&mut command).unwrap();
    let mut stdin = sender.stdin.take().unwrap();
    for frame in frames {
        let length = u16::try_from(frame.len()).unwrap();
        stdin.write_all(&length.to_be_bytes()).unwrap();
        stdin.write_all(frame).unwrap();
    }
    drop(stdin);
    assert!(sender.wait().unwrap().success());
}

/// Marsaglia's xorshift: the same frames in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }
}
