//! The guard before the interface (XDP), in the interface's driver and before the kernel's stack.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    path::PathBuf,
    process,
    time::Duration,
};

use dfaas_testbed::{CLIENT, Federation, Network, now, wait_until};

use super::{Honest, event, two, wait_for_clients};
use crate::{
    forger::{Forger, Segment},
    kit::turn,
};

const KEPT: usize = 4;
/// What a network may begin in a second. As many may come at once.
const SYN_RATE: u64 = 50;
const SYNS: u64 = 5_000;
const SCANS: u64 = 500;
/// How soon a file that has changed is read, and more.
const READ_AGAIN: Duration = Duration::from_secs(5);
/// How long a blocked client waits for an answer to its first SYN.
const BLOCKED: Duration = Duration::from_millis(300);

#[test]
fn a_guard_in_the_driver_keeps_out_what_nobody_wants() {
    check("native");
}

#[test]
fn a_guard_before_the_stack_keeps_out_what_nobody_wants() {
    check("generic");
}

fn check(mode: &str) {
    let _turn = turn();
    let file = BlockFile::new(mode);
    let federation = two(|spec| {
        spec.agent_arguments = vec![
            format!("--guard={mode}"),
            format!("--guard-syn-rate={SYN_RATE}"),
            format!("--guard-block-file={}", file.0.display()),
        ];
    });
    let mut honest = Honest::new(&federation, KEPT);
    honest.ask().unwrap();
    scan(&federation);
    flood(&federation, &mut honest);
    block(&federation, &file);
    honest.ask().unwrap();
    drop(honest);
    wait_for_clients(&federation.nodes[0], 0);
}

/// Segments that no stack sends.
fn scan(federation: &Federation) {
    let node = &federation.nodes[0];
    let forger = Forger::new(&federation.client);
    for number in 0..SCANS as u32 {
        let segment = spoofed(federation, number);
        forger.send(
            segment,
            |header| (header.fin, header.psh, header.urg) = (true, true, true),
            b"",
        );
    }
    let counted = || event(node, "guard_flags") == SCANS;
    wait_until("scans counted", READ_AGAIN, counted).unwrap();
}

/// More SYNs of one network than it may send; those of another go on.
fn flood(federation: &Federation, honest: &mut Honest<'_>) {
    let node = &federation.nodes[0];
    let before = event(node, "guard_syns");
    let start = now();
    let rounds = honest.ask_while(|| {
        let forger = Forger::new(&federation.client);
        for number in 0..SYNS as u32 {
            forger.send(spoofed(federation, number), |header| header.syn = true, b"");
        }
    });
    // Twice what is due: two processors may take a SYN at once.
    let most = 2 * (SYN_RATE + start.elapsed().as_secs() * SYN_RATE + 1);
    let dropped = || event(node, "guard_syns") - before >= SYNS.saturating_sub(most);
    wait_until("SYNs dropped", READ_AGAIN, dropped).unwrap();
    println!(
        "{} of {SYNS} SYNs dropped in {:?}; meanwhile {rounds} rounds of {KEPT} kept connections and 2 new ones",
        event(node, "guard_syns") - before,
        start.elapsed()
    );
    assert!(rounds > 0);
}

/// A client that is blocked gets nothing, and all again when it is not.
fn block(federation: &Federation, file: &BlockFile) {
    let node = &federation.nodes[0];
    let connects = || {
        let connect = || TcpStream::connect_timeout(&node.service(), BLOCKED).is_ok();
        federation.client.on_thread(connect).unwrap()
    };
    assert!(connects());
    file.write(&format!("# nobody\n{}\n", Network::address(CLIENT)));
    wait_until("the client is blocked", READ_AGAIN, || !connects()).unwrap();
    assert!(event(node, "guard_blocked") > 0);
    file.write("192.0.2.0/24\n");
    wait_until("the client is let in again", READ_AGAIN, connects).unwrap();
}

/// A segment of one of 250 hosts of a network (RFC 2544).
fn spoofed(federation: &Federation, number: u32) -> Segment {
    let SocketAddr::V4(destination) = federation.nodes[0].service() else {
        panic!("nodes have IPv4 addresses");
    };
    let first = u32::from(Ipv4Addr::new(198, 18, 7, 1));
    Segment {
        source: SocketAddrV4::new(
            Ipv4Addr::from(first + number % 250),
            1024 + (number % 60_000) as u16,
        ),
        destination,
        sequence: number.wrapping_mul(0x9e37_79b1),
        acknowledgment: 0,
    }
}

/// The file of blocked sources.
struct BlockFile(PathBuf);

impl BlockFile {
    fn new(name: &str) -> Self {
        let file = Self(env::temp_dir().join(format!("dfaas-blocked-{name}-{}", process::id())));
        file.write("");
        file
    }

    /// Replaced as a whole: the agent reads at any time.
    fn write(&self, text: &str) {
        let new = self.0.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &self.0).unwrap();
    }
}

impl Drop for BlockFile {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}
