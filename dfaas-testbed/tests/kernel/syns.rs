//! SYNs to servers, and the numbers in ours: who can know them, what data they carry, and what is made of odd answers.

use dfaas_common::{
    maps::{FlowKey, SYN_DATA_LOST_TICKS, TARGET_DATA_IN_SYN},
    meter::Limit,
    packet::Address,
    siphash::{self, Purpose},
};

use crate::{
    again::ask,
    bench::{Bench, PEER, SECRET, STAMP, Verdict},
    frame::{CLIENT_ISN, Segment, Sent},
    onward::{answer_of_peer, answer_of_stack},
    talk::{REQUEST, Talk},
};

const RETRANSMISSION_MS: u32 = 200;
/// More than the test takes, in units of 64 ns: a hundred seconds.
const CLOCK_MAX: u32 = 1_562_500_000;

#[test]
fn nobody_without_the_secret_knows_our_numbers() {
    let mut clocks = [Vec::new(), Vec::new()];
    let mut bench = Bench::new();
    bench.offer("known", Limit::NONE, Limit::UNLIMITED);
    for port in 53_000..53_016 {
        let mut talk = Talk::open(&mut bench, port);
        let clock = clock_of(&talk.sent.key(), Purpose::TowardsClient, talk.our_next - 1);
        clocks[0].push(clock);
        let syn = Segment::read(&talk.client_says(&mut bench, REQUEST).frame);
        let server = FlowKey {
            remote: Address::from_ipv4(PEER),
            remote_port: 80_u16.to_be_bytes(),
            local_port: syn.tcp.source_port.to_be_bytes(),
        };
        clocks[1].push(clock_of(&server, Purpose::TowardsServer, syn.tcp.sequence_number));
    }
    for clocks in clocks {
        for (earlier, later) in clocks.iter().zip(&clocks[1..]) {
            assert!(later.wrapping_sub(*earlier) < CLOCK_MAX, "{clocks:?}");
        }
        assert!(
            clocks[clocks.len() - 1].wrapping_sub(clocks[0]) < CLOCK_MAX,
            "{clocks:?}"
        );
    }
}

#[test]
fn only_the_first_syn_has_data() {
    let mut bench = bench_with_data_in_syn();
    let mut talk = Talk::open(&mut bench, 53_101);
    let syn = Segment::read(&talk.client_says(&mut bench, REQUEST).frame);
    assert_eq!(syn.text(), stamped(), "the first");
    bench.wait(&talk.sent.key(), RETRANSMISSION_MS);
    let syn = Segment::read(&bench.ingress(&talk.client_again().bytes()).frame);
    assert_eq!(
        (syn.flags().as_str(), syn.text().as_str()),
        ("S", ""),
        "the second"
    );
    // This one gets an answer, and the peer the request.
    let replay = Segment::read(&bench.ingress(&answer_of_peer(&syn).bytes()).frame);
    assert_eq!(replay.text(), stamped());
    // It is remembered of the peer for a while.
    for (port, tick, want) in [
        (53_102, 0, String::new()),
        (53_103, SYN_DATA_LOST_TICKS, String::new()),
        (53_104, SYN_DATA_LOST_TICKS + 2, stamped()),
    ] {
        bench.tick(tick);
        let mut talk = Talk::open(&mut bench, port);
        let syn = Segment::read(&talk.client_says(&mut bench, REQUEST).frame);
        assert_eq!((syn.tcp.syn, syn.text()), (true, want), "{tick}");
    }
}

#[test]
fn a_peer_whose_first_syn_was_heard_gets_data_in_the_next() {
    let mut bench = bench_with_data_in_syn();
    for port in 53_201..53_204 {
        let mut talk = Talk::open(&mut bench, port);
        let syn = Segment::read(&talk.client_says(&mut bench, REQUEST).frame);
        assert_eq!(syn.text(), stamped());
        bench.ingress(&answer_of_peer(&syn).bytes());
    }
}

#[test]
fn who_takes_a_syn_for_another_connection_s_is_reset() {
    let (mut bench, sent, seen) = ask(53_301, Limit::NONE, Limit::UNLIMITED);
    let syn = Segment::read(&seen.frame);
    let stale = Sent {
        flags: "A",
        acknowledgment: 123_456,
        options: Vec::new(),
        ..answer_of_peer(&syn)
    };
    let seen = bench.ingress(&stale.bytes());
    assert_eq!(seen.verdict, Verdict::Redirect);
    let reset = Segment::read(&seen.frame);
    assert_eq!(reset.flags(), "R");
    assert_eq!(
        (reset.tcp.sequence_number, reset.ipv4.destination),
        (123_456, PEER)
    );
    assert_eq!(reset.tcp.source_port, syn.tcp.source_port);
    // The next SYN is for nobody else.
    bench.wait(&sent.key(), RETRANSMISSION_MS);
    let syn = Segment::read(&bench.ingress(&sent.bytes()).frame);
    let replay = Segment::read(&bench.ingress(&answer_of_peer(&syn).bytes()).frame);
    assert_eq!(replay.text(), stamped());
    // What may be meant for the new connection, and is no SYN, is not.
    let (mut bench, _, seen) = ask(53_302, Limit::NONE, Limit::UNLIMITED);
    let acceptable = Sent {
        flags: "A",
        ..answer_of_peer(&Segment::read(&seen.frame))
    };
    assert_eq!(bench.ingress(&acceptable.bytes()).verdict, Verdict::Drop);
}

#[test]
fn a_stack_that_takes_a_syn_for_another_connection_s_is_reset() {
    let (mut bench, sent, _) = ask(53_303, Limit::UNLIMITED, Limit::NONE);
    let stale = answer_of_stack(&sent, 5_000, 123_456, "A", b"");
    let seen = bench.egress(&stale);
    assert_eq!(seen.verdict, Verdict::Redirect, "in again");
    let reset = Segment::read(&seen.frame);
    assert_eq!(
        (reset.flags().as_str(), reset.tcp.sequence_number),
        ("R", 123_456)
    );
    assert_eq!((reset.ipv4.source, reset.tcp.destination_port), (sent.source, 80));
    let greeting = answer_of_stack(&sent, 7_000, CLIENT_ISN + 1, "SA", b"");
    assert_eq!(Segment::read(&bench.egress(&greeting).frame).text(), REQUEST);
}

/// What the clock was when a connection got its first number.
fn clock_of(key: &FlowKey, purpose: Purpose, number: u32) -> u32 {
    let [a, b, c] = siphash::words(key, purpose);
    number.wrapping_sub(siphash::sequence_start(siphash::hash(SECRET, [a, b, c, 0]), 0))
}

fn bench_with_data_in_syn() -> Bench {
    let mut bench = Bench::new();
    bench.offer("known", Limit::NONE, Limit::UNLIMITED);
    bench.target_flags(TARGET_DATA_IN_SYN);
    bench
}

fn stamped() -> String {
    REQUEST.replacen("HTTP/1.1\r\n", &format!("HTTP/1.1\r\n{STAMP}"), 1)
}
