//! SYNs on connections that exist, and probes: answered as RFC 5961, section 4.2, and RFC 9293, section 3.10.7.4, say, with
//! the numbers and the window that the client has.

use crate::{
    bench::{Bench, SEGMENT_SIZE, Verdict},
    frame::{CLIENT_ISN, Segment, Sent},
    states::{
        bench, connecting, entries, idle, in_its_answer, in_its_head, pipelining, refused, refused_and_open,
        waiting,
    },
    talk::{REQUEST, RESPONSE, Talk},
};

/// A state of a connection, how it comes to it, and how many bytes the client has sent without an acknowledgment.
type State = (&'static str, Come, usize);
type Come = fn(&mut Bench, u16) -> Talk;

const STATES: [State; 8] = [
    ("in its head", in_its_head, 0),
    ("at a server that was not met", connecting, REQUEST.len()),
    ("waiting for an answer", waiting, 0),
    ("in its answer", in_its_answer, 0),
    ("between requests", idle, 0),
    ("pipelining", pipelining, REQUEST.len()),
    ("refused and open", refused_and_open, 0),
    ("left by its server", left, 0),
];

#[test]
fn a_syn_on_a_connection_is_challenged() {
    let mut bench = bench();
    for (port, (name, come, unacknowledged)) in (52_000..).zip(STATES) {
        let talk = come(&mut bench, port);
        let before = entries(&mut bench);
        for isn in [CLIENT_ISN, 77_000, u32::MAX] {
            let syn = Sent {
                sequence: isn,
                ..Sent::syn(port)
            };
            if name == "refused and open" {
                // The answer itself.
                continue;
            }
            let challenge = challenge(&mut bench, &syn);
            let acknowledged = talk.client_next - unacknowledged as u32;
            assert_eq!(challenge.tcp.acknowledgment_number, acknowledged, "{name}: {isn}");
            assert_eq!(challenge.tcp.sequence_number, talk.our_next, "{name}: {isn}");
            let window = u32::from(challenge.tcp.window_size) << 7;
            assert!(window >= u32::from(SEGMENT_SIZE) - 128, "{name}: {window}");
            assert_eq!(entries(&mut bench), before, "{name}: {isn}");
        }
        goes_on(&mut bench, talk, name);
    }
}

#[test]
fn a_late_double_of_the_first_syn_takes_no_answer_away() {
    let mut bench = bench();
    let states: [(&str, Come); 4] = [
        ("refused and open", refused_and_open),
        ("refused", refused),
        ("refused and open, behind another", |bench, port| {
            refused_behind_another(bench, port, "GET /system HTTP/1.1\r\n\r\n")
        }),
        ("refused, behind another", |bench, port| {
            refused_behind_another(bench, port, "GET /system HTTP/1.1\r\nConnection: close\r\n\r\n")
        }),
    ];
    for (port, (name, come)) in (52_400..).zip(states) {
        let talk = come(&mut bench, port);
        // The answer is lost: its client acknowledges nothing of it, and may send its request again.
        let answer = Segment::read(&bench.ingress(&talk.sent.bytes()).frame);
        let before = entries(&mut bench);
        let syn = Segment::read(&bench.ingress(&Sent::syn(port).bytes()).frame);
        assert_eq!(
            (
                syn.flags(),
                syn.text(),
                syn.tcp.sequence_number,
                syn.tcp.acknowledgment_number
            ),
            (
                answer.flags(),
                answer.text(),
                answer.tcp.sequence_number,
                answer.tcp.acknowledgment_number
            ),
            "{name}"
        );
        assert_eq!(entries(&mut bench), before, "{name}");
        let again = Segment::read(&bench.ingress(&talk.sent.bytes()).frame);
        assert_eq!(again.text(), answer.text(), "{name}");
        // Who has lost the connection says so where that stands.
        let reset = Sent {
            sequence: syn.tcp.acknowledgment_number,
            flags: "R",
            payload: Vec::new(),
            ..talk.sent.clone()
        };
        bench.ingress(&reset.bytes());
        assert_eq!(entries(&mut bench), [0; 5], "{name}");
    }
}

#[test]
fn a_late_double_of_the_first_syn_hides_no_end() {
    let mut bench = bench();
    let mut talk = Talk::open(&mut bench, 52_450);
    let end = Segment::read(&bench.ingress(&talk.client("FA", "").bytes()).frame);
    let syn = Segment::read(&bench.ingress(&Sent::syn(52_450).bytes()).frame);
    assert_eq!(
        (
            syn.flags(),
            syn.tcp.sequence_number,
            syn.tcp.acknowledgment_number
        ),
        (
            end.flags(),
            end.tcp.sequence_number,
            end.tcp.acknowledgment_number
        )
    );
    // A number that follows begins another connection.
    let next = Sent {
        sequence: end.tcp.acknowledgment_number,
        ..Sent::syn(52_450)
    };
    assert_eq!(Segment::read(&bench.ingress(&next.bytes()).frame).flags(), "SA");
}

#[test]
fn who_has_lost_a_connection_ends_it_where_the_challenge_says() {
    let mut bench = bench();
    for (port, (name, come, _)) in (52_100..).zip(STATES) {
        come(&mut bench, port);
        let syn = Sent {
            sequence: 77_000,
            ..Sent::syn(port)
        };
        let seen = bench.ingress(&syn.bytes());
        let challenge = Segment::read(&seen.frame);
        assert!(challenge.tcp.ack && !challenge.tcp.syn, "{name}");
        let reset = Sent {
            sequence: challenge.tcp.acknowledgment_number,
            flags: "R",
            options: Vec::new(),
            ..syn.clone()
        };
        bench.ingress(&reset.bytes());
        assert_eq!(entries(&mut bench), [0; 5], "{name}");
        let seen = bench.ingress(&syn.bytes());
        assert_eq!(Segment::read(&seen.frame).flags(), "SA", "{name}");
        let again = Sent {
            sequence: 77_001,
            ..reset
        };
        bench.ingress(&again.bytes());
    }
}

#[test]
fn a_reset_behind_bytes_that_never_came_is_challenged() {
    let mut bench = bench();
    for (port, (name, come, unacknowledged)) in (52_500..).zip([STATES[0], STATES[1]]) {
        let mut talk = come(&mut bench, port);
        let before = entries(&mut bench);
        let reset = Sent {
            sequence: talk.client_next + 200,
            ..talk.client("RA", "")
        };
        let challenge = challenge(&mut bench, &reset);
        let acknowledged = talk.client_next - unacknowledged as u32;
        assert_eq!(challenge.tcp.acknowledgment_number, acknowledged, "{name}");
        assert_eq!(entries(&mut bench), before, "{name}");
        let exact = Sent {
            sequence: acknowledged,
            ..reset
        };
        bench.ingress(&exact.bytes());
        assert_eq!(entries(&mut bench), [0; 5], "{name}");
    }
}

#[test]
fn probes_between_requests_are_answered() {
    let states: [State; 5] = [
        ("opened", Talk::open, 0),
        STATES[0],
        STATES[1],
        STATES[6],
        STATES[7],
    ];
    let mut bench = bench();
    for (port, (name, come, unacknowledged)) in (52_200..).zip(states) {
        let mut talk = come(&mut bench, port);
        let next = talk.client_next - unacknowledged as u32;
        // A keepalive of Linux, which is also its probe of a window, and one of Windows.
        for payload in ["", "x"] {
            let probe = Sent {
                sequence: next - 1,
                payload: payload.into(),
                ..talk.client("A", "")
            };
            if name == "at a server that was not met" && !payload.is_empty() {
                continue;
            }
            if name == "refused and open" && !payload.is_empty() {
                // It may be the end of the request that we have answered, and gets the answer again.
                let answer = Segment::read(&bench.ingress(&probe.bytes()).frame);
                assert_eq!(answer.tcp.acknowledgment_number, next);
                continue;
            }
            let answer = challenge(&mut bench, &probe);
            assert_eq!(answer.tcp.acknowledgment_number, next, "{name}");
            assert_eq!(answer.tcp.sequence_number, talk.our_next, "{name}");
            assert!(answer.tcp.window_size > 0, "{name}");
        }
        if name != "opened" {
            goes_on(&mut bench, talk, name);
        }
    }
}

#[test]
fn a_handshake_may_begin_anew_before_anything_came() {
    let mut bench = bench();
    let talk = Talk::open(&mut bench, 52_300);
    let syn = Segment::read(&bench.ingress(&Sent::syn(52_300).bytes()).frame);
    assert_eq!(
        syn.tcp.sequence_number.wrapping_add(1),
        talk.our_next,
        "sent again"
    );
    let other = Sent {
        sequence: 77_000,
        ..Sent::syn(52_300)
    };
    let answer = Segment::read(&bench.ingress(&other.bytes()).frame);
    assert_eq!(
        (answer.flags().as_str(), answer.tcp.acknowledgment_number),
        ("SA", 77_001)
    );
}

#[track_caller]
fn challenge(bench: &mut Bench, sent: &Sent) -> Segment {
    let seen = bench.ingress(&sent.bytes());
    assert_eq!(seen.verdict, Verdict::Redirect);
    let challenge = Segment::read(&seen.frame);
    assert_eq!((challenge.flags().as_str(), challenge.payload.len()), ("A", 0));
    assert_eq!(challenge.tcp.destination_port, sent.source_port);
    challenge
}

/// The connection is as it was: what its client sends next is served.
fn goes_on(bench: &mut Bench, mut talk: Talk, name: &str) {
    match name {
        "in its head" => {
            let seen = talk.client_says(bench, &REQUEST[10..]);
            assert_eq!(Segment::read(&seen.frame).flags(), "S");
        }
        "refused and open" | "left by its server" => {
            let seen = talk.client_says(bench, REQUEST);
            assert_eq!(Segment::read(&seen.frame).flags(), "S", "{name}");
        }
        "between requests" => {
            let seen = talk.client_says(bench, REQUEST);
            assert_eq!(Segment::read(&seen.frame).text(), REQUEST);
        }
        "waiting for an answer" => {
            let seen = talk.server_says(bench, RESPONSE);
            assert_eq!(Segment::read(&seen.frame).text(), RESPONSE);
        }
        _ => {}
    }
}

fn refused_behind_another(bench: &mut Bench, port: u16, request: &str) -> Talk {
    let mut talk = idle(bench, port);
    talk.client_says(bench, request);
    talk
}

/// A client whose server has closed, of which it does not know.
fn left(bench: &mut Bench, port: u16) -> Talk {
    let talk = idle(bench, port);
    bench.egress(&talk.server("FA", ""));
    talk
}
