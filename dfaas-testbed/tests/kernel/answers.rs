//! Requests that the programs answer themselves.

use dfaas_common::{decide::Answer, maps::DATA_IN_SYN_FROM_ALL, meter::Limit, pairing::PEER_TOKENLESS};

use crate::{
    bench::{Bench, PEER_ID, PEER_TOKENS, Seen, Verdict, dump},
    frame::{CLIENT_ISN, Segment, Sent},
    handshake::open,
};

#[test]
fn requests_get_the_answer_they_deserve() {
    let mut bench = Bench::new();
    bench.offer("known", Limit::NONE, Limit::NONE);
    let cases: &[(&str, Answer)] = &[
        ("GET / HTTP/1.1\r\nHost: n\r\n\r\n", Answer::Root),
        ("GET / HTTP/1.1\r\n\r\n", Answer::Root),
        ("hello\r\n\r\n", Answer::Malformed),
        ("GET /\r\n\r\n", Answer::Malformed),
        (
            "GET /system/functions HTTP/1.1\r\nHost: n\r\n\r\n",
            Answer::Forbidden,
        ),
        ("GET /function HTTP/1.1\r\nHost: n\r\n\r\n", Answer::Forbidden),
        (
            "GET /function/../system/functions HTTP/1.1\r\nHost: n\r\n\r\n",
            Answer::NotFound,
        ),
        (
            "POST /function/nosuch HTTP/1.1\r\nHost: n\r\n\r\n",
            Answer::NotFound,
        ),
        (
            "POST /function/known HTTP/1.1\r\nHost: n\r\n\r\n",
            Answer::Unavailable,
        ),
        (
            "GET /function/known HTTP/1.1\r\nDFaaS-Node-ID: malicious-id\r\n\r\n",
            Answer::Stranger,
        ),
        (
            "GET / HTTP/1.1\r\ndfaas-node-id: malicious-id\r\n\r\n",
            Answer::Stranger,
        ),
        (
            "GET /system/functions HTTP/1.1\r\nDFaaS-Node-ID: malicious-id\r\n\r\n",
            Answer::Stranger,
        ),
    ];
    for (port, (request, want)) in (40_200..).zip(cases) {
        check(&mut bench, port, request.as_bytes(), *want);
    }
    assert_eq!(bench.events().get("helper_failed"), None);
}

#[test]
fn a_peer_over_its_limit_is_told() {
    let mut bench = Bench::new();
    bench.offer("known", Limit::UNLIMITED, Limit::NONE);
    bench.admit(Limit::NONE);
    let request = from_peer(PEER_TOKENS[0]);
    check(&mut bench, 40_301, request.as_bytes(), Answer::OverLimit);
}

#[test]
fn a_peer_s_identity_without_its_token_is_forged() {
    let mut bench = Bench::new();
    bench.offer("known", Limit::UNLIMITED, Limit::NONE);
    bench.admit(Limit::UNLIMITED);
    let [token, _] = PEER_TOKENS;
    let zeros = "0".repeat(token.len());
    let shouted = token.to_uppercase();
    let longer = format!("{token}0");
    let wrong = ["", "x", &token[..31], &zeros, &shouted, &longer];
    for (port, token) in (40_310..).zip(wrong) {
        check(&mut bench, port, from_peer(token).as_bytes(), Answer::Forged);
    }
    let without = [
        format!("GET /function/known HTTP/1.1\r\nDFaaS-Node-ID: {PEER_ID}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nDFaaS-Node-ID: {PEER_ID}\r\n\r\n"),
        // A user's own token would reach a peer behind ours.
        format!("GET /function/known HTTP/1.1\r\nDFaaS-Node-Token: {token}\r\n\r\n"),
    ];
    for (port, request) in (40_320..).zip(without) {
        check(&mut bench, port, request.as_bytes(), Answer::Forged);
    }
    let events = bench.events();
    assert_eq!((events["forged"], events.get("stranger")), (9, None));
}

#[test]
fn a_token_is_accepted_until_it_was_changed_twice() {
    let mut bench = Bench::new();
    bench.offer("known", Limit::UNLIMITED, Limit::NONE);
    bench.admit(Limit::UNLIMITED);
    let [new, old] = PEER_TOKENS;
    for (port, token) in (40_330..).zip([new, old]) {
        assert_eq!(ask(&mut bench, port, &from_peer(token)).verdict, Verdict::Pass);
    }
    bench.pair(["0123456789abcdef0123456789abcdef", new], 0);
    assert_eq!(ask(&mut bench, 40_332, &from_peer(new)).verdict, Verdict::Pass);
    check(&mut bench, 40_333, from_peer(old).as_bytes(), Answer::Forged);
}

#[test]
fn a_peer_without_the_ability_needs_no_token() {
    let mut bench = Bench::new();
    bench.offer("known", Limit::UNLIMITED, Limit::NONE);
    bench.admit(Limit::UNLIMITED);
    bench.pair(["", ""], PEER_TOKENLESS);
    let request = format!("GET /function/known HTTP/1.1\r\nDFaaS-Node-ID: {PEER_ID}\r\n\r\n");
    assert_eq!(ask(&mut bench, 40_340, &request).verdict, Verdict::Pass);
}

#[test]
fn a_head_that_does_not_fit_is_told() {
    let mut bench = Bench::new();
    let our_isn = open(&mut bench, 40_302);
    let mut request = b"GET / HTTP/1.1\r\nX: ".to_vec();
    request.resize(1_333, b'x');
    let (first, second) = request.split_at(1_000);
    let part = Sent::data(40_302, our_isn.wrapping_add(1), first);
    assert_eq!(Segment::read(&bench.ingress(&part.bytes()).frame).text(), "");
    let part = Sent {
        sequence: CLIENT_ISN + 1 + 1_000,
        ..Sent::data(40_302, our_isn.wrapping_add(1), second)
    };
    let answer = Segment::read(&bench.ingress(&part.bytes()).frame);
    assert_eq!(answer.text(), Answer::HeadTooLong.response());
}

#[test]
fn an_answer_is_repeated_and_what_follows_is_drained() {
    let mut bench = Bench::new();
    let our_isn = open(&mut bench, 40_303);
    let sent = Sent::data(
        40_303,
        our_isn.wrapping_add(1),
        b"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n",
    );
    let first = Segment::read(&bench.ingress(&sent.bytes()).frame);
    let again = Segment::read(&bench.ingress(&sent.bytes()).frame);
    assert_eq!(first.payload, again.payload);
    assert_eq!(first.tcp.sequence_number, again.tcp.sequence_number);
    let more = Sent {
        sequence: again.tcp.acknowledgment_number,
        ..Sent::data(40_303, our_isn.wrapping_add(1), b"more")
    };
    // Once all of its bytes are acknowledged, a client that has not had the answer would send nothing again.
    let drained = Segment::read(&bench.ingress(&more.bytes()).frame);
    assert_eq!(
        (&drained.payload, drained.flags()),
        (&first.payload, first.flags())
    );
    assert_eq!(drained.tcp.sequence_number, first.tcp.sequence_number);
    assert_eq!(
        drained.tcp.acknowledgment_number,
        more.sequence.wrapping_add(4),
        "it is acknowledged"
    );
    let length = first.payload.len() as u32 + 1;
    let heard = Sent {
        sequence: more.sequence.wrapping_add(4),
        acknowledgment: first.tcp.sequence_number.wrapping_add(length),
        ..more
    };
    let drained = Segment::read(&bench.ingress(&heard.bytes()).frame);
    assert_eq!(
        (drained.text().as_str(), drained.flags().as_str()),
        ("", "A"),
        "it has had the answer"
    );
    assert_eq!(drained.tcp.acknowledgment_number, heard.sequence.wrapping_add(4));
    assert_eq!(bench.events()["drained"], 2);
}

#[test]
fn an_answer_leaves_the_connection_to_the_next_request() {
    let mut bench = Bench::new();
    bench.offer("known", Limit::UNLIMITED, Limit::NONE);
    let port = 40_305;
    let our_isn = open(&mut bench, port);
    let refused = b"GET /function/nosuch HTTP/1.1\r\nHost: n\r\n\r\n";
    let mut sent = Sent::data(port, our_isn.wrapping_add(1), refused);
    for round in 0..3 {
        let answer = Segment::read(&bench.ingress(&sent.bytes()).frame);
        assert_eq!(
            (answer.text(), answer.flags()),
            (Answer::NotFound.kept_response().concat(), "AP".to_owned()),
            "{round}"
        );
        let again = Segment::read(&bench.ingress(&sent.bytes()).frame);
        assert_eq!(
            answer.payload, again.payload,
            "{round}: a lost answer is repeated"
        );
        assert_eq!(answer.tcp.sequence_number, again.tcp.sequence_number, "{round}");
        let early = Sent {
            sequence: answer.tcp.acknowledgment_number,
            ..sent.clone()
        };
        assert_eq!(
            bench.ingress(&early.bytes()).verdict,
            Verdict::Drop,
            "{round}: a request of who has not seen the answer"
        );
        let behind = answer
            .tcp
            .sequence_number
            .wrapping_add(answer.payload.len() as u32);
        sent = Sent {
            sequence: answer.tcp.acknowledgment_number,
            ..Sent::data(port, behind, refused)
        };
    }
    let accepted = Sent {
        payload: b"GET /function/known HTTP/1.1\r\nHost: n\r\n\r\n".to_vec(),
        ..sent.clone()
    };
    let seen = bench.ingress(&accepted.bytes());
    assert_eq!(seen.verdict, Verdict::Pass, "the local stack gets its SYN");
    let syn = Segment::read(&seen.frame);
    assert_eq!(syn.flags(), "S");
    assert_eq!(syn.tcp.sequence_number, sent.sequence.wrapping_sub(1));
}

#[test]
fn an_answer_ends_the_connection_where_no_request_can_follow() {
    let mut bench = Bench::new();
    let cases = [
        "GET /x HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET /x HTTP/1.1\r\nContent-Length: 0\r\nconnection: Keep-Alive , CLOSE\r\n\r\n",
        "GET /x HTTP/1.0\r\n\r\n",
        "HEAD /x HTTP/1.1\r\n\r\n",
        "POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhell",
        "GET /x HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ];
    for (port, request) in (40_310..).zip(cases) {
        let our_isn = open(&mut bench, port);
        let sent = Sent::data(port, our_isn.wrapping_add(1), request.as_bytes());
        let answer = Segment::read(&bench.ingress(&sent.bytes()).frame);
        assert_eq!(
            (answer.text(), answer.flags()),
            (Answer::Forbidden.response().to_owned(), "APF".to_owned()),
            "{request}"
        );
    }
}

#[test]
fn data_in_a_syn_is_answered_where_all_may_send_it() {
    let mut bench = Bench::with_flags(DATA_IN_SYN_FROM_ALL);
    bench.offer("known", Limit::NONE, Limit::NONE);
    // It is no request that the local stack would get, so the client is asked to send it again behind a handshake.
    let sent = Sent {
        payload: b"GET /system/functions HTTP/1.1\r\nHost: n\r\n\r\n".to_vec(),
        ..Sent::syn(40_304)
    };
    let answer = Segment::read(&bench.ingress(&sent.bytes()).frame);
    assert_eq!(answer.flags(), "SA");
    assert_eq!(answer.tcp.acknowledgment_number, CLIENT_ISN + 1);
}

#[test]
fn maps_are_dumped_with_names() {
    let mut bench = Bench::new();
    bench.offer("dumped-by-name", Limit::UNLIMITED, Limit::NONE);
    let functions = dump("FUNCTIONS");
    let letters = b"dumped-by-name".map(|byte| byte.to_string());
    let name: String = functions.chars().filter(|char| !char.is_whitespace()).collect();
    assert!(
        name.contains(&letters.join(",")) || functions.contains("dumped-by-name"),
        "{functions}"
    );
    for field in ["hosted", "local", "slots", "interval_ns"] {
        assert!(
            functions.contains(&format!("\"{field}\"")),
            "{field}: {functions}"
        );
    }
    let config = dump("CONFIG");
    assert!(config.contains("\"segment_bytes\": 1280"), "{config}");
}

/// Sends a request on a connection of its own and looks at the answer.
#[track_caller]
fn check(bench: &mut Bench, port: u16, request: &[u8], want: Answer) {
    let our_isn = open(bench, port);
    let sent = Sent::data(port, our_isn.wrapping_add(1), request);
    let seen = bench.ingress(&sent.bytes());
    let said = String::from_utf8_lossy(request);
    assert_eq!(seen.verdict, Verdict::Redirect, "{said}");
    let answer = Segment::read(&seen.frame);
    let ends = want == Answer::Malformed;
    let (text, flags) = if ends {
        (want.response().to_owned(), "APF")
    } else {
        (want.kept_response().concat(), "AP")
    };
    assert_eq!((answer.text(), answer.flags().as_str()), (text, flags), "{said}");
    assert_eq!(answer.tcp.sequence_number, our_isn.wrapping_add(1), "{said}");
    let behind = CLIENT_ISN + 1 + u32::try_from(request.len()).unwrap();
    assert_eq!(answer.tcp.acknowledgment_number, behind, "{said}");
}

/// A request of the peer with a token.
fn from_peer(token: &str) -> String {
    format!("GET /function/known HTTP/1.1\r\nDFaaS-Node-ID: {PEER_ID}\r\nDFaaS-Node-Token: {token}\r\n\r\n")
}

/// Sends a request on a connection of its own.
fn ask(bench: &mut Bench, port: u16, request: &str) -> Seen {
    let our_isn = open(bench, port);
    let sent = Sent::data(port, our_isn.wrapping_add(1), request.as_bytes());
    bench.ingress(&sent.bytes())
}
