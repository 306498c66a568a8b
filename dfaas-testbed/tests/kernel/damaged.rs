//! Checksums: nothing is made of a segment that was damaged on its way, and what is made of others is right.

use dfaas_common::meter::Limit;
use etherparse::{IpNumber, Ipv4Header, TcpHeader};

use crate::{
    bench::{Bench, NODE, Verdict},
    frame::{CLIENT, Segment, Sent},
    talk::{REQUEST, RESPONSE, Talk},
};

/// The checksum's place in a frame of IPv4 without options.
const CHECKSUM: usize = 14 + 20 + 16;

#[test]
fn a_syn_whose_whole_checksum_looks_partial_is_answered_right() {
    let mut bench = Bench::new();
    let syn = (0..=u32::from(u16::MAX))
        .map(|sequence| Sent {
            sequence,
            ..Sent::syn(43_000)
        })
        .find(looks_partial)
        .expect("one in 65 536 does");
    let seen = bench.ingress(&syn.bytes());
    assert_eq!(seen.verdict, Verdict::Redirect);
    // It is read with its checksum verified.
    let answer = Segment::read(&seen.frame);
    assert_eq!(answer.flags(), "SA");
    assert_eq!(answer.tcp.acknowledgment_number, syn.sequence + 1);
}

#[test]
fn nothing_is_made_of_a_damaged_segment() {
    let mut bench = Bench::new();
    bench.offer("known", Limit::UNLIMITED, Limit::NONE);
    let damaged = |bench: &mut Bench, frame: &[u8], what: &str| {
        let before = bench.events().get("damaged").copied().unwrap_or_default();
        for at in [CHECKSUM, CHECKSUM - 2, frame.len() - 1] {
            let mut frame = frame.to_vec();
            frame[at] ^= 1;
            assert_eq!(bench.ingress(&frame).verdict, Verdict::Drop, "{what} {at}");
        }
        let after = bench.events().get("damaged").copied();
        assert_eq!(after, Some(before + 3), "{what}");
    };
    let syn = Sent::syn(43_100);
    damaged(&mut bench, &syn.bytes(), "SYN");
    assert_eq!(bench.opening(&syn.key()), None);

    let mut talk = Talk::open(&mut bench, 43_100);
    let request = talk.client("AP", REQUEST).bytes();
    damaged(&mut bench, &request, "request");
    assert_eq!(bench.client(&syn.key()), None);

    talk.client_next -= REQUEST.len() as u32;
    let seen = talk.client_says(&mut bench, REQUEST);
    assert_eq!(seen.verdict, Verdict::Pass);
    talk.server_takes(&mut bench);
    talk.server_says(&mut bench, RESPONSE);
    let before = bench.client(&syn.key());
    for flags in ["A", "FA", "R", "RA"] {
        let mut end = talk.client(flags, "");
        end.options = vec![1; 4];
        damaged(&mut bench, &end.bytes(), flags);
    }
    assert_eq!(bench.client(&syn.key()), before);
}

fn looks_partial(sent: &Sent) -> bool {
    let frame = sent.bytes();
    frame[CHECKSUM..CHECKSUM + 2] == pseudo_sum(frame.len() - 34).to_be_bytes()
}

/// The sum over the pseudo-header alone, as an implementation that is not ours has it: the checksum of a header that is all
/// zeros but for its length, less that.
fn pseudo_sum(segment_bytes: usize) -> u16 {
    let zeros = TcpHeader::default();
    let payload = vec![0; segment_bytes - zeros.header_len()];
    let length = u16::try_from(segment_bytes).unwrap();
    let ipv4 = Ipv4Header::new(length, 64, IpNumber::TCP, CLIENT, NODE).unwrap();
    let whole = !zeros.calc_checksum_ipv4(&ipv4, &payload).unwrap();
    let header = u16::from_be_bytes([zeros.to_bytes()[12], zeros.to_bytes()[13]]);
    let (sum, carried) =
        whole.overflowing_sub(header + u16::from_be_bytes([zeros.to_bytes()[14], zeros.to_bytes()[15]]));
    sum - u16::from(carried)
}
