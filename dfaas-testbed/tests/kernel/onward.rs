//! Requests that go on: to the local stack, or to a peer with a stamp.

use dfaas_common::{
    maps::{DATA_IN_SYN_FROM_PEERS, DATA_IN_SYN_LOCAL, IS_LOCAL, Phase},
    meter::Limit,
};

use crate::{
    bench::{Bench, NAT_FIRST, NAT_MASK, NODE, PEER, PEER_ID, PEER_TOKENS, STAMP, Seen, Verdict},
    frame::{CLIENT, CLIENT_ISN, Segment, Sent},
    handshake::open,
};

const REQUEST: &str = "POST /function/known HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn a_local_request_travels_in_the_syn_to_the_stack() {
    let mut bench = Bench::with_flags(DATA_IN_SYN_LOCAL);
    let (sent, seen) = ask(&mut bench, 42_001, Limit::UNLIMITED, Limit::NONE);
    assert_eq!(seen.verdict, Verdict::Pass);
    let syn = Segment::read(&seen.frame);
    assert_eq!(syn.flags().replace('P', ""), "S");
    assert_eq!(syn.text(), REQUEST, "users' requests are not changed");
    assert_eq!(
        syn.tcp.sequence_number, CLIENT_ISN,
        "the stack is to see the client's numbers"
    );
    assert_eq!((syn.ipv4.source, syn.tcp.source_port), (CLIENT, 42_001));
    let client = bench.client(&sent.key()).unwrap();
    assert!(client.is(IS_LOCAL) && client.phase() == Phase::Connecting);
    assert!(bench.opening(&sent.key()).is_none());
}

#[test]
fn without_data_in_syns_a_request_is_held() {
    let mut bench = Bench::new();
    let (_, seen) = ask(&mut bench, 42_002, Limit::UNLIMITED, Limit::NONE);
    assert_eq!(seen.verdict, Verdict::Pass);
    let syn = Segment::read(&seen.frame);
    assert_eq!((syn.flags().as_str(), syn.payload.len()), ("S", 0));
}

#[test]
fn what_is_too_much_goes_to_a_peer_with_a_stamp() {
    let mut bench = Bench::new();
    let (sent, seen) = ask(&mut bench, 42_003, Limit::NONE, Limit::UNLIMITED);
    assert_eq!(seen.verdict, Verdict::Redirect);
    let syn = Segment::read(&seen.frame);
    assert_eq!(syn.flags(), "S");
    assert_eq!((syn.ipv4.source, syn.ipv4.destination), (NODE, PEER));
    assert_eq!(syn.tcp.destination_port, 80);
    assert!(
        syn.tcp.source_port.wrapping_sub(NAT_FIRST) <= NAT_MASK,
        "{}",
        syn.tcp.source_port
    );
    let client = bench.client(&sent.key()).unwrap();
    assert!(!client.is(IS_LOCAL));
    assert_eq!(usize::from(client.numbering.stamp_bytes), STAMP.len());
    let upstream = bench.upstream(&client.upstream).unwrap();
    assert_eq!(upstream.client, sent.key());
}

#[test]
fn the_replay_holds_the_request_and_the_stamp() {
    let mut bench = Bench::new();
    let (_, seen) = ask(&mut bench, 42_004, Limit::NONE, Limit::UNLIMITED);
    let syn = Segment::read(&seen.frame);
    let answer = answer_of_peer(&syn);
    let seen = bench.ingress(&answer.bytes());
    assert_eq!(seen.verdict, Verdict::Redirect);
    let replay = Segment::read(&seen.frame);
    assert_eq!(replay.ipv4.destination, PEER);
    assert_eq!(replay.tcp.acknowledgment_number, 9_001);
    assert_eq!(
        replay.tcp.sequence_number,
        syn.tcp.sequence_number.wrapping_add(1)
    );
    let stamped = REQUEST.replacen("HTTP/1.1\r\n", &format!("HTTP/1.1\r\n{STAMP}"), 1);
    assert_eq!(replay.text(), stamped);
}

#[test]
fn a_peer_that_nobody_has_room_for_is_not_sent_on() {
    let mut bench = Bench::new();
    bench.offer("known", Limit::NONE, Limit::UNLIMITED);
    let our_isn = open(&mut bench, 42_005);
    let request = from_peer();
    let sent = Sent::data(42_005, our_isn.wrapping_add(1), request.as_bytes());
    let answer = Segment::read(&bench.ingress(&sent.bytes()).frame);
    assert!(answer.text().starts_with("HTTP/1.1 429 "), "{}", answer.text());
}

#[test]
fn a_peer_s_request_in_a_syn_goes_up_as_it_is() {
    let mut bench = Bench::with_flags(DATA_IN_SYN_LOCAL | DATA_IN_SYN_FROM_PEERS);
    bench.offer("known", Limit::NONE, Limit::NONE);
    bench.admit(Limit::UNLIMITED);
    let request = from_peer();
    let sent = Sent {
        source: PEER,
        payload: request.into_bytes(),
        ..Sent::syn(42_006)
    };
    let seen = bench.ingress(&sent.bytes());
    assert_eq!(seen.verdict, Verdict::Pass);
    assert_eq!(seen.frame, sent.bytes());
    assert_eq!(bench.events()["syn_accepted"], 1);
}

#[test]
fn a_limit_of_five_admits_five_at_once() {
    let mut bench = Bench::new();
    let five = Limit::new(0.001, 5.0, 7);
    let verdicts: Vec<Verdict> = (42_100..42_108)
        .map(|port| ask(&mut bench, port, five, Limit::NONE).1.verdict)
        .collect();
    let passed = verdicts
        .iter()
        .take_while(|verdict| **verdict == Verdict::Pass)
        .count();
    assert_eq!(passed, 5, "{verdicts:?}");
}

#[test]
fn the_stack_gets_the_request_and_the_client_its_answer() {
    let mut bench = Bench::new();
    let (sent, seen) = ask(&mut bench, 42_007, Limit::UNLIMITED, Limit::NONE);
    let syn = Segment::read(&seen.frame);
    let answer = answer_of_stack(&sent, 5_000, syn.tcp.sequence_number.wrapping_add(1), "SA", b"");
    let seen = bench.egress(&answer);
    assert_eq!(
        seen.verdict,
        Verdict::Redirect,
        "the client has been answered already"
    );
    let replay = Segment::read(&seen.frame);
    assert_eq!((replay.ipv4.source, replay.ipv4.destination), (CLIENT, NODE));
    assert_eq!(replay.text(), REQUEST);
    assert_eq!(replay.tcp.sequence_number, CLIENT_ISN + 1);
    assert_eq!(
        replay.tcp.acknowledgment_number, 5_001,
        "in the server's numbers, as nobody translates it"
    );

    let body = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let behind = replay
        .tcp
        .sequence_number
        .wrapping_add(u32::try_from(REQUEST.len()).unwrap());
    let answer = answer_of_stack(&sent, 5_001, behind, "AP", body);
    let seen = bench.egress(&answer);
    assert_eq!(seen.verdict, Verdict::Pass);
    let answer = Segment::read(&seen.frame);
    assert_eq!(answer.payload, body);
    assert_eq!(
        answer.tcp.sequence_number, sent.acknowledgment,
        "in the numbers of our SYN-ACK"
    );
    assert!(bench.upstream(&sent.key()).unwrap().first_byte_ns > 0);
}

#[test]
fn a_forwarded_upload_may_be_longer_than_sequence_numbers() {
    const BODY: u64 = 10 << 30;
    const STEP: u32 = 300 << 20;
    let mut bench = Bench::new();
    bench.offer("known", Limit::NONE, Limit::UNLIMITED);
    let our_isn = open(&mut bench, 42_008);
    let head = format!("POST /function/known HTTP/1.1\r\nContent-Length: {BODY}\r\n\r\n");
    let sent = Sent::data(42_008, our_isn.wrapping_add(1), head.as_bytes());
    let syn = Segment::read(&bench.ingress(&sent.bytes()).frame);
    let greeting = answer_of_peer(&syn);
    let replay = Segment::read(&bench.ingress(&greeting.bytes()).frame);
    let mut passed = head.len() as u64;
    while passed + u64::from(STEP) < BODY {
        let part = Sent {
            sequence: sent.sequence.wrapping_add(passed as u32),
            payload: vec![b'x'; 1_000],
            ..sent.clone()
        };
        let onward = Segment::read(&bench.ingress(&part.bytes()).frame);
        assert_eq!(onward.payload, part.payload, "{passed}: nothing is put in");
        let behind = passed + STAMP.len() as u64;
        let want = replay.tcp.sequence_number.wrapping_add(behind as u32);
        assert_eq!(onward.tcp.sequence_number, want, "{passed}");
        let acknowledgment = Sent {
            sequence: greeting.sequence + 1,
            acknowledgment: want.wrapping_add(1_000),
            flags: "A",
            options: Vec::new(),
            ..greeting.clone()
        };
        let back = Segment::read(&bench.ingress(&acknowledgment.bytes()).frame);
        let want = sent.sequence.wrapping_add(passed as u32 + 1_000);
        assert_eq!(back.tcp.acknowledgment_number, want, "{passed}");
        bench.pass(&sent.key(), STEP - 1_000);
        passed += u64::from(STEP);
    }
    assert!(passed > 2 << 32);
}

/// The SYN-ACK of a peer that takes no data in SYNs.
pub(crate) fn answer_of_peer(syn: &Segment) -> Sent {
    Sent {
        source: PEER,
        source_port: 80,
        destination_port: syn.tcp.source_port,
        sequence: 9_000,
        acknowledgment: syn.tcp.sequence_number.wrapping_add(1),
        flags: "SA",
        ..Sent::syn(80)
    }
}

fn from_peer() -> String {
    let [token, _] = PEER_TOKENS;
    format!("GET /function/known HTTP/1.1\r\nDFaaS-Node-ID: {PEER_ID}\r\nDFaaS-Node-Token: {token}\r\n\r\n")
}

/// A segment that the local stack sends to a client.
pub(crate) fn answer_of_stack(
    client: &Sent,
    sequence: u32,
    acknowledgment: u32,
    flags: &'static str,
    payload: &[u8],
) -> Vec<u8> {
    let answer = Sent {
        sequence,
        acknowledgment,
        flags,
        payload: payload.to_vec(),
        ..of_stack(client)
    };
    answer.bytes_to(client.source)
}

/// A segment of the local stack to a client, without anything in it.
pub(crate) fn of_stack(client: &Sent) -> Sent {
    Sent {
        source: NODE,
        source_port: 80,
        destination_port: client.source_port,
        options: Vec::new(),
        ..client.clone()
    }
}

/// Offers the function and sends the request of a client for it.
fn ask(bench: &mut Bench, port: u16, local: Limit, cap: Limit) -> (Sent, Seen) {
    bench.offer("known", local, cap);
    let our_isn = open(bench, port);
    let sent = Sent::data(port, our_isn.wrapping_add(1), REQUEST.as_bytes());
    let seen = bench.ingress(&sent.bytes());
    (sent, seen)
}
