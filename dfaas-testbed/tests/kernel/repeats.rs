//! Requests that may run once only (RFC 9110, section 9.2.2): where nobody knows whether one has run, it is not sent again.

use dfaas_common::{decide::Answer, maps::TARGET_DATA_IN_SYN, meter::Limit};

use crate::{
    bench::{Bench, Verdict},
    frame::{Segment, Sent},
    onward::answer_of_peer,
    talk::Talk,
};

const RETRANSMISSION_MS: u32 = 200;

#[test]
fn what_may_run_once_only_is_in_no_syn_to_a_peer() {
    for (port, method, is_in_syn) in [
        (51_201, "GET", true),
        (51_202, "DELETE", true),
        (51_203, "POST", false),
        (51_204, "PATCH", false),
        (51_205, "BREW", false),
    ] {
        let mut bench = bench();
        let mut talk = Talk::open(&mut bench, port);
        let syn = Segment::read(&talk.client_says(&mut bench, &request(method)).frame);
        assert_eq!(syn.flags().replace('P', ""), "S");
        assert_eq!(!syn.payload.is_empty(), is_in_syn, "{method}");
    }
}

#[test]
fn a_peer_that_keeps_silent_may_have_run_it() {
    for (port, method) in [(51_211, "GET"), (51_212, "POST")] {
        let mut bench = bench();
        let mut talk = Talk::open(&mut bench, port);
        let syn = Segment::read(&talk.client_says(&mut bench, &request(method)).frame);
        bench.ingress(&answer_of_peer(&syn).bytes());
        for _ in 0..3 {
            bench.wait(&talk.sent.key(), RETRANSMISSION_MS);
            bench.ingress(&talk.sent.bytes());
        }
        assert_eq!(bench.events()["upstream_silent"], 1, "{method}");
        bench.wait(&talk.sent.key(), RETRANSMISSION_MS);
        let seen = Segment::read(&bench.ingress(&talk.sent.bytes()).frame);
        if method == "GET" {
            assert_eq!(seen.flags().replace('P', ""), "S", "it is sent to another server");
        } else {
            assert_eq!(seen.text(), Answer::Unavailable.kept_response().concat());
        }
    }
}

#[test]
fn a_reset_that_acknowledges_nothing_may_answer_its_second_copy() {
    for (port, method, again, want) in [
        (51_221, "POST", false, Verdict::Drop),
        (51_222, "POST", true, Verdict::Redirect),
        (51_223, "GET", true, Verdict::Drop),
    ] {
        let mut bench = bench();
        let mut talk = Talk::open(&mut bench, port);
        let syn = Segment::read(&talk.client_says(&mut bench, &request(method)).frame);
        let greeting = answer_of_peer(&syn);
        bench.ingress(&greeting.bytes());
        if again {
            bench.wait(&talk.sent.key(), RETRANSMISSION_MS);
            bench.ingress(&talk.sent.bytes());
        }
        let reset = Sent {
            sequence: greeting.sequence + 1,
            acknowledgment: 0,
            flags: "R",
            options: Vec::new(),
            ..greeting
        };
        let seen = bench.ingress(&reset.bytes());
        assert_eq!(
            seen.verdict, want,
            "{method} {again}: dropped where it is decided again"
        );
        if want == Verdict::Redirect {
            assert_eq!(Segment::read(&seen.frame).text(), Answer::NotAnswered.response());
        }
    }
}

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.offer("known", Limit::NONE, Limit::UNLIMITED);
    bench.target_flags(TARGET_DATA_IN_SYN);
    bench
}

fn request(method: &str) -> String {
    format!("{method} /function/known HTTP/1.1\r\nHost: n\r\nContent-Length: 0\r\n\r\n")
}
