//! Ends in every state of a connection: a reset ends it, a FIN closes it, and what is forged does neither.

use dfaas_common::{
    maps::{Client, FlowKey, Held, Locked, Opening, Phase, Upstream},
    meter::Limit,
};

use crate::{
    bench::{Bench, Verdict},
    frame::{Segment, Sent},
    talk::{REQUEST, RESPONSE, Talk},
};

/// A state of a connection, and how it comes to it.
type State = (&'static str, fn(&mut Bench, u16) -> Talk);

const STATES: [State; 9] = [
    ("opened", Talk::open),
    ("in its head", in_its_head),
    ("at a server that was not met", connecting),
    ("waiting for an answer", waiting),
    ("in its answer", in_its_answer),
    ("between requests", idle),
    ("pipelining", pipelining),
    ("refused", refused),
    ("refused and open", refused_and_open),
];

#[test]
fn a_reset_of_the_client_ends_all() {
    let mut bench = bench();
    for (port, (name, come)) in (49_000..).zip(STATES) {
        let mut talk = come(&mut bench, port);
        let reset = talk.client("RA", "");
        let before = entries(&mut bench);
        for wrong in [u32::MAX, 1, 1 << 20, 1 << 30] {
            if wrong == 1 && !is_end_known(name) {
                continue;
            }
            let forged = Sent {
                sequence: reset.sequence.wrapping_add(wrong),
                ..reset.clone()
            };
            let seen = bench.ingress(&forged.bytes());
            assert_eq!(entries(&mut bench), before, "{name}: {wrong}");
            if seen.verdict == Verdict::Redirect {
                let challenge = Segment::read(&seen.frame);
                assert_eq!(challenge.flags(), "A", "{name}: {wrong}");
                let unacknowledged = match name {
                    "at a server that was not met" => REQUEST.len(),
                    _ => 0,
                };
                let acknowledged = talk.client_next - unacknowledged as u32;
                assert_eq!(challenge.tcp.acknowledgment_number, acknowledged, "{name}");
            }
        }
        let seen = bench.ingress(&reset.bytes());
        if has_server(name) {
            assert_eq!(seen.verdict, Verdict::Pass, "{name}");
            assert!(Segment::read(&seen.frame).tcp.rst, "{name}");
        }
        assert_eq!(entries(&mut bench), [0; 5], "{name}");
    }
}

#[test]
fn a_client_may_close_at_any_time() {
    let mut bench = bench();
    for (port, (name, come)) in (49_100..).zip(STATES) {
        let mut talk = come(&mut bench, port);
        let mut end = talk.client("FA", "");
        let before = entries(&mut bench);
        let early = Sent {
            sequence: end.sequence.wrapping_add(1),
            ..end.clone()
        };
        if is_end_known(name) {
            bench.ingress(&early.bytes());
            assert_eq!(entries(&mut bench), before, "{name}: not the end yet");
        }
        let mut seen = bench.ingress(&end.bytes());
        if name == "at a server that was not met" {
            assert_eq!(
                seen.verdict,
                Verdict::Drop,
                "{name}: the server is to have it behind the request"
            );
            talk.server_takes(&mut bench);
            seen = bench.ingress(&end.bytes());
        }
        if name == "pipelining" {
            assert_eq!(
                seen.verdict,
                Verdict::Drop,
                "{name}: it stands behind a request that is held"
            );
            bench.ingress(&talk.client("RA", "").bytes());
            assert_eq!(entries(&mut bench), [0; 5], "{name}");
            continue;
        }
        talk.client_next += 1;
        if has_server(name) {
            assert_eq!(seen.verdict, Verdict::Pass, "{name}");
            assert!(Segment::read(&seen.frame).tcp.fin, "{name}");
            let seen = bench.egress(&talk.server("FA", ""));
            assert_eq!(seen.verdict, Verdict::Pass, "{name}");
            // Who still waits for an answer is told with it.
            let last = Segment::read(&seen.frame);
            assert!(last.tcp.fin, "{name}");
            talk.our_next = talk.our_next.wrapping_add(last.payload.len() as u32 + 1);
        } else {
            let answer = Segment::read(&seen.frame);
            assert_eq!(answer.tcp.acknowledgment_number, talk.client_next, "{name}");
            assert_eq!(answer.tcp.fin, name != "refused", "{name}: it has had our end");
            talk.our_next = answer.tcp.sequence_number.wrapping_add(answer.tcp.fin.into());
        }
        // Its own end is lost on its way in the meantime, and comes again.
        if entries(&mut bench) != [0; 5] {
            end.acknowledgment = talk.our_next;
            bench.ingress(&talk.client("A", "").bytes());
        }
        assert_eq!(entries(&mut bench), [0; 5], "{name}");
    }
}

#[test]
fn a_reset_of_the_server_ends_what_nobody_else_can_answer() {
    let mut bench = bench();
    let cases: [(State, Verdict, Option<Phase>); 4] = [
        // The client asks again, and is decided about again.
        (STATES[2], Verdict::Drop, Some(Phase::Connecting)),
        (STATES[3], Verdict::Pass, Some(Phase::Asking)),
        (STATES[4], Verdict::Pass, None),
        (STATES[5], Verdict::Drop, Some(Phase::Asking)),
    ];
    for (port, ((name, come), verdict, left)) in (49_200..).zip(cases) {
        let mut talk = come(&mut bench, port);
        let key: FlowKey = talk.sent.key();
        let reset = talk.server_sent("RA", "");
        let before = entries(&mut bench);
        if talk.is_met() {
            for wrong in [u32::MAX, 1, 1 << 20, 1 << 30] {
                let forged = Sent {
                    sequence: reset.sequence.wrapping_add(wrong),
                    ..reset.clone()
                };
                bench.egress(&forged.bytes_to(talk.sent.source));
                assert_eq!(entries(&mut bench), before, "{name}: {wrong}");
            }
        }
        let seen = bench.egress(&reset.bytes_to(talk.sent.source));
        assert_eq!(seen.verdict, verdict, "{name}");
        assert_eq!(bench.client(&key).map(|client| client.phase()), left, "{name}");
        bench.ingress(&talk.client("RA", "").bytes());
        assert_eq!(entries(&mut bench), [0; 5], "{name}");
    }
}

pub(crate) fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.offer("known", Limit::UNLIMITED, Limit::NONE);
    bench
}

pub(crate) fn in_its_head(bench: &mut Bench, port: u16) -> Talk {
    let mut talk = Talk::open(bench, port);
    talk.client_says(bench, &REQUEST[..10]);
    talk
}

pub(crate) fn connecting(bench: &mut Bench, port: u16) -> Talk {
    let mut talk = Talk::open(bench, port);
    talk.client_says(bench, REQUEST);
    talk
}

pub(crate) fn waiting(bench: &mut Bench, port: u16) -> Talk {
    let mut talk = connecting(bench, port);
    talk.server_takes(bench);
    bench.egress(&talk.server("A", ""));
    talk
}

pub(crate) fn in_its_answer(bench: &mut Bench, port: u16) -> Talk {
    let mut talk = waiting(bench, port);
    talk.server_says(bench, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
    bench.ingress(&talk.client("A", "").bytes());
    talk
}

pub(crate) fn idle(bench: &mut Bench, port: u16) -> Talk {
    let mut talk = waiting(bench, port);
    talk.server_says(bench, RESPONSE);
    bench.ingress(&talk.client("A", "").bytes());
    talk
}

pub(crate) fn pipelining(bench: &mut Bench, port: u16) -> Talk {
    let mut talk = waiting(bench, port);
    talk.client_says(bench, REQUEST);
    talk
}

pub(crate) fn refused(bench: &mut Bench, port: u16) -> Talk {
    told(bench, port, "GET /system HTTP/1.1\r\nConnection: close\r\n\r\n")
}

pub(crate) fn refused_and_open(bench: &mut Bench, port: u16) -> Talk {
    told(bench, port, "GET /system HTTP/1.1\r\n\r\n")
}

/// A client that has had an answer of ours.
fn told(bench: &mut Bench, port: u16, request: &str) -> Talk {
    let mut talk = Talk::open(bench, port);
    let answer = Segment::read(&talk.client_says(bench, request).frame);
    assert!(answer.text().starts_with("HTTP/1.1 403 "));
    let length = answer.payload.len() as u32 + u32::from(answer.tcp.fin);
    talk.our_next = talk.our_next.wrapping_add(length);
    talk
}

/// Whether a server has the connection, or is asked to.
fn has_server(state: &str) -> bool {
    !["opened", "in its head", "refused", "refused and open"].contains(&state)
}

/// Whether it is known where the client's next byte stands: not how much has come of who was refused, and not whether a
/// FIN has of who waits for its server.
fn is_end_known(state: &str) -> bool {
    !["refused", "at a server that was not met"].contains(&state)
}

/// How many entries the tables of connections have.
pub(crate) fn entries(bench: &mut Bench) -> [usize; 5] {
    [
        bench.entries::<Opening>("OPENING"),
        bench.entries::<Held>("HELD"),
        bench.entries::<Locked<Client>>("CLIENTS"),
        bench.entries::<Locked<Upstream>>("UPSTREAMS"),
        bench.entries::<Held>("AHEAD"),
    ]
}
