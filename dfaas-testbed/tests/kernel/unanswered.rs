//! Servers that have a request and end before they answer it.

use dfaas_common::{decide::Answer, maps::Phase, meter::Limit};

use crate::{
    again::ask,
    bench::{Bench, NODE, Seen, Verdict},
    frame::{CLIENT, Segment, Sent},
    leaving::answered,
    onward::answer_of_peer,
    states::entries,
    talk::{REQUEST, RESPONSE, Talk},
};

const UPLOAD: &str = "POST /function/known HTTP/1.1\r\nContent-Length: 5000\r\n\r\n1234567890";

#[test]
fn a_client_is_told_that_its_server_was_reset() {
    let (mut bench, mut talk) = taken(46_001, REQUEST);
    let seen = bench.egress(&talk.server("RA", ""));
    be_told(&mut bench, &mut talk, &seen);
}

#[test]
fn a_client_is_told_that_its_server_closed() {
    let (mut bench, mut talk) = taken(46_002, REQUEST);
    let seen = bench.egress(&talk.server("FA", ""));
    be_told_again(&mut bench, &talk);
    be_told(&mut bench, &mut talk, &seen);
}

#[test]
fn who_is_told_in_the_middle_of_a_body_may_send_the_rest() {
    let (mut bench, mut talk) = taken(46_003, UPLOAD);
    let seen = bench.egress(&talk.server("RA", ""));
    be_told(&mut bench, &mut talk, &seen);
}

#[test]
fn an_interim_answer_is_none() {
    let (mut bench, mut talk) = taken(46_004, REQUEST);
    talk.server_says(&mut bench, "HTTP/1.1 100 Continue\r\n\r\n");
    let seen = bench.egress(&talk.server("FA", ""));
    be_told_again(&mut bench, &talk);
    be_told(&mut bench, &mut talk, &seen);
}

#[test]
fn a_client_whose_answer_has_begun_sees_its_end() {
    for flags in ["RA", "FA"] {
        let (mut bench, mut talk) = taken(46_005, REQUEST);
        talk.server_says(&mut bench, "HTTP/1.1 200");
        let seen = bench.egress(&talk.server(flags, ""));
        assert_eq!(seen.verdict, Verdict::Pass);
        let end = Segment::read(&seen.frame);
        assert_eq!((end.text().as_str(), end.tcp.rst), ("", flags == "RA"));
        assert_eq!(bench.events().get("unanswered"), None);
    }
}

#[test]
fn a_client_that_has_closed_its_side_is_told() {
    for flags in ["RA", "FA"] {
        let (mut bench, mut talk) = taken(46_006, REQUEST);
        let end = talk.client("FA", "");
        bench.ingress(&end.bytes());
        talk.client_next += 1;
        let seen = bench.egress(&talk.server(flags, ""));
        let answer = Segment::read(&seen.frame);
        check_answer(&answer, talk.our_next, talk.client_next);
        if flags == "FA" {
            be_told_again(&mut bench, &talk);
        }
        // It has not heard, and says so with its end.
        let again = Segment::read(&bench.ingress(&end.bytes()).frame);
        check_answer(&again, talk.our_next, talk.client_next);
        talk.our_next = talk.our_next.wrapping_add(answer.payload.len() as u32 + 1);
        bench.ingress(&talk.client("A", "").bytes());
        assert_eq!(entries(&mut bench), [0; 5], "{flags}");
    }
}

#[test]
fn a_client_that_has_closed_its_side_gets_its_answer() {
    let (mut bench, mut talk) = taken(46_012, REQUEST);
    bench.ingress(&talk.client("FA", "").bytes());
    talk.client_next += 1;
    let seen = talk.server_says(&mut bench, RESPONSE);
    assert_eq!(Segment::read(&seen.frame).text(), RESPONSE);
    let end = Segment::read(&bench.egress(&talk.server("FA", "")).frame);
    assert_eq!(end.flags(), "AF");
    talk.our_next = talk.our_next.wrapping_add(1);
    bench.ingress(&talk.client("A", "").bytes());
    assert_eq!(entries(&mut bench), [0; 5]);
}

#[test]
fn who_has_closed_its_side_is_asked_elsewhere() {
    let (mut bench, mut talk) = Talk::asked(46_013, REQUEST);
    let end = talk.client("FA", "");
    bench.ingress(&end.bytes());
    // Its server resets, and has taken nothing: the request and the end come again.
    let untouched = Sent {
        acknowledgment: talk.sent.sequence,
        ..talk.server_sent("RA", "")
    };
    let seen = bench.egress(&untouched.bytes_to(talk.sent.source));
    assert_eq!(seen.verdict, Verdict::Drop);
    let syn = Segment::read(&bench.ingress(&talk.sent.bytes()).frame);
    assert_eq!(syn.flags(), "S");
    talk.server_takes(&mut bench);
    bench.egress(&talk.server("A", ""));
    assert_eq!(Segment::read(&bench.ingress(&end.bytes()).frame).flags(), "AF");
    talk.client_next += 1;
    let seen = talk.server_says(&mut bench, RESPONSE);
    assert_eq!(Segment::read(&seen.frame).text(), RESPONSE);
    bench.egress(&talk.server("FA", ""));
    talk.our_next = talk.our_next.wrapping_add(1);
    bench.ingress(&talk.client("A", "").bytes());
    assert_eq!(entries(&mut bench), [0; 5]);
}

#[test]
fn a_client_is_told_that_a_peer_ended() {
    for (port, flags) in [(46_007, "RA"), (46_008, "FA")] {
        let (mut bench, sent, seen) = ask(port, Limit::NONE, Limit::UNLIMITED);
        let greeting = answer_of_peer(&Segment::read(&seen.frame));
        let request = Segment::read(&bench.ingress(&greeting.bytes()).frame);
        let behind = request.tcp.sequence_number + request.payload.len() as u32;
        let of_peer = |flags| Sent {
            sequence: greeting.sequence + 1,
            acknowledgment: behind,
            flags,
            options: Vec::new(),
            ..greeting.clone()
        };
        bench.ingress(&of_peer("A").bytes());
        let seen = bench.ingress(&of_peer(flags).bytes());
        assert_eq!(seen.verdict, Verdict::Redirect, "{flags}");
        let answer = Segment::read(&seen.frame);
        check_answer(&answer, sent.acknowledgment, sent.sequence + REQUEST.len() as u32);
        assert_eq!((answer.ipv4.source, answer.ipv4.destination), (NODE, CLIENT));
        assert_eq!((answer.tcp.source_port, answer.tcp.destination_port), (80, port));
        if flags == "FA" {
            // The answer may be lost, and nobody but the peer says so.
            let again = Segment::read(&bench.ingress(&of_peer("FA").bytes()).frame);
            check_answer(&again, sent.acknowledgment, sent.sequence + REQUEST.len() as u32);
            let heard = Sent {
                sequence: sent.sequence + REQUEST.len() as u32,
                acknowledgment: sent.acknowledgment + answer.payload.len() as u32 + 1,
                flags: "A",
                payload: Vec::new(),
                ..sent.clone()
            };
            bench.ingress(&heard.bytes());
            assert_eq!(bench.events()["upstream_dropped"], 1, "the peer is reset");
        }
        assert!(bench.upstream(&greeting.key()).is_none(), "{flags}");
        // Nobody else is asked: the peer may have done what it was to do.
        let seen = bench.ingress(&sent.bytes());
        assert_eq!(Segment::read(&seen.frame).text(), Answer::NotAnswered.response());
    }
}

#[test]
fn a_client_of_a_kept_server_sees_its_end() {
    // RFC 9112, section 9.3.1: it asks again by itself, if that does no harm.
    for (port, flags) in [(46_009, "RA"), (46_010, "FA")] {
        for is_acknowledged in [false, true] {
            let (mut bench, mut talk) = answered(port, REQUEST);
            bench.ingress(&talk.client("AP", REQUEST).bytes());
            if is_acknowledged {
                bench.egress(&talk.server("A", ""));
            }
            let seen = bench.egress(&talk.server(flags, ""));
            assert_eq!(seen.verdict, Verdict::Pass);
            let end = Segment::read(&seen.frame);
            assert_eq!((end.text().as_str(), end.tcp.rst), ("", flags == "RA"));
            assert_eq!(end.tcp.sequence_number, talk.our_next);
            let events = bench.events();
            assert_eq!(
                (events.get("unanswered"), events.get("decided_again")),
                (None, None)
            );
        }
    }
}

#[test]
fn a_reset_that_acknowledges_the_request_does_not_have_it_run_again() {
    let (mut bench, mut talk) = Talk::asked(46_011, REQUEST);
    let seen = bench.egress(&talk.server("RA", ""));
    be_told(&mut bench, &mut talk, &seen);
    assert_eq!(bench.events().get("decided_again"), None);
}

#[test]
fn what_was_acknowledged_behind_missing_bytes_does_not_run_again() {
    let (mut bench, mut talk) = Talk::asked(46_012, REQUEST);
    let next = talk.server_sent("AP", "");
    let source = talk.sent.source;
    let behind = Sent {
        sequence: next.sequence + 20,
        payload: b"the first 20 bytes are lost".to_vec(),
        ..next.clone()
    };
    assert_eq!(bench.egress(&behind.bytes_to(source)).verdict, Verdict::Drop);
    let reset = Sent { flags: "R", ..next };
    let seen = bench.egress(&reset.bytes_to(source));
    be_told(&mut bench, &mut talk, &seen);
    assert_eq!(bench.events().get("decided_again"), None);
}

/// A request that its server has acknowledged.
fn taken(port: u16, request: &str) -> (Bench, Talk) {
    let (mut bench, talk) = Talk::asked(port, request);
    bench.egress(&talk.server("A", ""));
    (bench, talk)
}

/// A client that was told, asks again, sends what it still has, and closes.
#[track_caller]
fn be_told(bench: &mut Bench, talk: &mut Talk, seen: &Seen) {
    let key = talk.sent.key();
    assert_eq!(seen.verdict, Verdict::Pass);
    let answer = Segment::read(&seen.frame);
    check_answer(&answer, talk.our_next, talk.client_next);
    assert_eq!((answer.ipv4.source, answer.ipv4.destination), (NODE, CLIENT));
    assert_eq!(bench.client(&key).unwrap().phase(), Phase::Asking);

    let again = Segment::read(&bench.ingress(&talk.sent.bytes()).frame);
    check_answer(&again, talk.our_next, talk.client_next);
    talk.our_next = talk.our_next.wrapping_add(answer.payload.len() as u32 + 1);
    let more = Segment::read(&bench.ingress(&talk.client("AP", "more").bytes()).frame);
    assert_eq!((more.flags().as_str(), more.text().as_str()), ("A", ""));
    assert_eq!(more.tcp.acknowledgment_number, talk.client_next);
    assert!(bench.upstream(&key).is_none(), "the client has heard");
    let last = Segment::read(&bench.ingress(&talk.client("FA", "").bytes()).frame);
    assert_eq!(last.tcp.acknowledgment_number, talk.client_next + 1);
    assert!(bench.client(&key).is_none());
    assert_eq!(bench.events()["unanswered"], 1);
}

/// A client is told each time that its server says that it has closed: what it was told before may be lost.
#[track_caller]
fn be_told_again(bench: &mut Bench, talk: &Talk) {
    for _ in 0..3 {
        let seen = bench.egress(&talk.server("FA", ""));
        assert_eq!(seen.verdict, Verdict::Pass);
        check_answer(&Segment::read(&seen.frame), talk.our_next, talk.client_next);
    }
}

#[track_caller]
fn check_answer(answer: &Segment, our_next: u32, client_next: u32) {
    assert_eq!(answer.text(), Answer::NotAnswered.response());
    assert_eq!(answer.flags(), "APF");
    assert_eq!(answer.tcp.sequence_number, our_next);
    assert_eq!(answer.tcp.acknowledgment_number, client_next);
}
