//! What is not for the service passes as it is; and the kernel reads headers as the host does.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
};

use dfaas_common::packet::{ACK, Address, FIN, RST, SYN, fold};
use dfaas_oracle::frames::headers;
use etherparse::PacketBuilder;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::{
    bench::{Bench, NAT_FIRST, NAT_MASK, NODE, PORT, Verdict},
    frame::{CLIENT, CLIENT_MAC, NODE_MAC, Sent},
};

#[test]
fn what_is_not_for_the_service_passes_untouched() {
    let mut bench = Bench::new();
    let mut arp = vec![0; 60];
    arp[12..14].copy_from_slice(&[8, 6]);
    let mut elsewhere = Sent::syn(41_000).bytes();
    elsewhere[33] = 99;
    let cases: &[(&str, Vec<u8>)] = &[
        ("UDP", udp(&[])),
        ("ARP", arp),
        ("IPv6", with(&Sent::syn(41_001).bytes(), 12, &[0x86, 0xdd])),
        ("a later fragment", with(&Sent::syn(41_003).bytes(), 20, &[0, 1])),
        ("another address", elsewhere),
        (
            "another port",
            Sent {
                destination_port: 22,
                ..Sent::syn(41_004)
            }
            .bytes(),
        ),
        (
            "an unknown connection",
            Sent::data(41_005, 1, b"GET / HTTP/1.1\r\n\r\n").bytes(),
        ),
        (
            "an unknown forwarded connection",
            Sent {
                destination_port: 50_000,
                ..Sent::data(80, 1, b"x")
            }
            .bytes(),
        ),
        (
            "a SYN with FIN",
            Sent {
                flags: "SF",
                ..Sent::syn(41_006)
            }
            .bytes(),
        ),
        (
            "a SYN-ACK",
            Sent {
                flags: "SA",
                ..Sent::syn(41_007)
            }
            .bytes(),
        ),
    ];
    for (what, frame) in cases {
        for program in ["ingress", "egress"] {
            let seen = bench.try_run(program, frame).unwrap();
            assert_eq!(seen.verdict, Verdict::Pass, "{what}");
            assert_eq!(seen.frame, *frame, "{what}");
        }
    }
    assert!(bench.events().is_empty(), "{:?}", bench.events());
}

#[test]
fn what_was_cut_on_its_way_is_left_to_the_stack() {
    let mut bench = Bench::new();
    let syn = Sent {
        payload: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        ..Sent::syn(41_100)
    };
    let whole = syn.bytes();
    for length in 34..whole.len() {
        let seen = bench.try_run("ingress", &whole[..length]).unwrap();
        assert_eq!(seen.verdict, Verdict::Pass, "{length}");
        assert_eq!(seen.frame, whole[..length], "{length}");
    }
    // What an interface puts behind short frames is no part of them.
    let padded = [&whole[..], &[0; 8]].concat();
    assert_eq!(bench.ingress(&padded).verdict, Verdict::Redirect);
    assert_eq!(bench.events().get("helper_failed"), None);
}

#[test]
fn random_frames_get_the_verdict_that_the_host_expects() {
    let bench = RefCell::new(Bench::new());
    let (run, answered) = (Cell::new(0), Cell::new(0));
    let known = RefCell::new(BTreeSet::new());
    let mut runner = TestRunner::new(Config {
        cases: 3_000,
        failure_persistence: None,
        ..Config::default()
    });
    let frames = (
        any::<u16>(),
        proptest::collection::vec((0..120_usize, any::<u8>()), 0..4),
        0..400_usize,
        proptest::collection::vec(any::<u8>(), 0..40),
        0..6_usize,
    );
    let check = |(port, spoilt, cut, payload, kind): (u16, Vec<(usize, u8)>, usize, Vec<u8>, usize)| {
        let frame = random_frame(port, &spoilt, cut, payload, kind);
        // What an earlier frame has opened would be another matter.
        if !frame
            .get(26..38)
            .is_none_or(|key| known.borrow_mut().insert(key.to_vec()))
        {
            return Ok(());
        }
        let Some(seen) = bench.borrow_mut().try_run("ingress", &frame) else {
            return Ok(());
        };
        let want = expected(&frame);
        run.set(run.get() + 1);
        answered.set(answered.get() + u32::from(want == Verdict::Redirect));
        prop_assert_eq!(seen.verdict, want);
        if want == Verdict::Pass {
            prop_assert_eq!(seen.frame, frame);
        }
        Ok(())
    };
    runner.run(&frames, check).unwrap();
    let (run, answered) = (run.get(), answered.get());
    assert!(
        run > 1_500 && answered > 300,
        "the kernel ran {run} frames and answered {answered}"
    );
}

/// What the host makes of a frame of a connection that nobody knows.
fn expected(frame: &[u8]) -> Verdict {
    let Some(headers) = headers(frame) else {
        return if is_refused_unread(frame) {
            Verdict::Drop
        } else {
            Verdict::Pass
        };
    };
    let port = headers.destination_port.get();
    let is_of_service = port == PORT;
    let is_of_peers = port.wrapping_sub(NAT_FIRST) <= NAT_MASK;
    let is_ours = headers.destination == Address::from_ipv4(NODE) && (is_of_service || is_of_peers);
    let is_whole = frame.len() >= headers.end_offset() as usize;
    if !is_ours || !is_whole {
        return Verdict::Pass;
    }
    if is_damaged(&frame[26..headers.end_offset() as usize]) && !headers.has_partial_checksum() {
        return Verdict::Drop;
    }
    if !is_of_service || headers.flags & (SYN | ACK | RST | FIN) != SYN {
        return Verdict::Pass;
    }
    if frame.len() < headers.payload_offset() as usize {
        // The options that it promises are not there.
        return Verdict::Drop;
    }
    Verdict::Redirect
}

/// Whether the checksum of a segment is wrong, of which these are the addresses and all behind them.
fn is_damaged(bytes: &[u8]) -> bool {
    sum(bytes) != 0xffff
}

/// The sum over addresses and a segment, and what else the pseudo-header has.
fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 6 + bytes.len() as u64 - 8;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
    }
    fold(sum)
}

/// Whether a frame that the programs do not read is the beginning of a segment to the service, and no SYN.
fn is_refused_unread(frame: &[u8]) -> bool {
    let is_first = frame.get(12..14) == Some(&[8, 0])
        && frame.get(23) == Some(&6)
        && frame.get(30..34) == Some(&NODE)
        && frame[14] >> 4 == 4
        && u16::from_be_bytes([frame[20], frame[21]]) & 0x1fff == 0;
    if !is_first || usize::from(u16::from_be_bytes([frame[16], frame[17]])) + 14 > frame.len() {
        return false;
    }
    let at = 14 + usize::from(frame[14] & 15) * 4;
    let flags = frame.get(at + 13).copied().unwrap_or_default();
    frame.get(at + 2..at + 4) == Some(&PORT.to_be_bytes()) && flags & (SYN | ACK | RST | FIN) != SYN
}

fn random_frame(port: u16, spoilt: &[(usize, u8)], cut: usize, payload: Vec<u8>, kind: usize) -> Vec<u8> {
    let flags = ["S", "A", "SA", "F", "R", "S"][kind];
    let sent = Sent {
        flags,
        payload,
        ..Sent::syn(port)
    };
    let mut frame = sent.bytes();
    for &(at, byte) in spoilt {
        if let Some(place) = frame.get_mut(at) {
            *place = byte;
        }
    }
    // Half of the SYNs are right for all that.
    if kind == 5 {
        repair(&mut frame);
    }
    // Most frames are whole.
    if cut < frame.len() {
        frame.truncate(cut);
    }
    frame
}

/// Makes the checksum right.
fn repair(frame: &mut [u8]) {
    let end = 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    if let Some(bytes) = frame.get_mut(26..end).filter(|bytes| bytes.len() >= 28) {
        bytes[24..26].fill(0);
        let checksum = !sum(bytes);
        bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
    }
}

fn with(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(CLIENT_MAC, NODE_MAC)
        .ipv4(CLIENT, NODE, 64)
        .udp(40_000, PORT)
        .write(&mut bytes, payload)
        .unwrap();
    bytes
}
