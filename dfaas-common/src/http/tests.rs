mod targets;

use proptest::prelude::*;
use std::{format, string::String};

use super::*;

#[test]
fn a_function_is_named_by_its_path() {
    check_function(b"GET /function/figlet HTTP/1.1\r\nHost: a\r\n\r\n", "figlet");
    check_function(
        b"POST /function/figlet/a/b?c=d HTTP/1.1\r\nHost: a\r\n\r\nbody",
        "figlet",
    );
    check_function(b"POST /function/figlet?c=/x HTTP/1.0\r\n\r\n", "figlet");
    check_function(
        b"GET /function/figlet.openfaas-fn HTTP/1.1\r\n\r\n",
        "figlet.openfaas-fn",
    );
    check_function(b"GET /function/a HTTP/1.1\r\n\r\n", "a");
    check_function(b"GET /function/a/../../system/functions HTTP/1.1\r\n\r\n", "a");
}

#[test]
fn what_is_no_request_is_malformed() {
    for bytes in [
        &b"\r\nGET / HTTP/1.1\r\n\r\n"[..],
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET /\tHTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.2\r\n\r\n",
        b"GET / HTTP/1.1\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\n folded: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\rX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\n: empty\r\n\r\n",
        b"GET /function/figlet\r\n\r\n",
    ] {
        let (progress, _) = run(bytes);
        assert_eq!(
            progress,
            Progress::Malformed,
            "{}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn other_protocols_are_told() {
    for bytes in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
    ] {
        assert_eq!(run(bytes).0, Progress::OtherProtocol);
    }
}

#[test]
fn a_preface_of_http_2_is_waited_for() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for length in 1..preface.len() {
        assert_eq!(run(&preface[..length]).0, Progress::Incomplete, "{length}");
    }
}

#[test]
fn what_cannot_become_a_preface_is_not_waited_for() {
    for bytes in [
        &b"PRI / HTTP/2.0\r\n\r\n"[..],
        b"PRI * HTTP/3",
        b"PRI * HTTP/2.0\r\nHost:",
        b"PRI * HTTP/2.0\r\n\r\nSN",
        b"PR * HTTP/2.0\r\n\r\n",
        b"PROPFIND / HTTP/2.0\r\n",
    ] {
        assert_eq!(
            run(bytes).0,
            Progress::OtherProtocol,
            "{}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn a_length_frames_a_request() {
    check_body("Content-Length: 0", Unframed::No, 0);
    check_body("content-LENGTH:5", Unframed::No, 5);
    check_body(
        "Content-Length: \t 1234567890123 ",
        Unframed::No,
        1_234_567_890_123,
    );
    check_body("X: 1\r\nContent-Length: 17\r\nDFaaS-Node-ID: a", Unframed::No, 17);
    check_body("Content-Lengths: 5", Unframed::No, 0);
    for bad in [
        "Content-Length:",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 5, 5",
        "Content-Length: 5 5",
        "Content-Length: 0x5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nX: y\r\ncontent-length: 6",
        "Content-Length: 1234567890123456",
    ] {
        check_unframed(bad, Unframed::Length);
    }
}

#[test]
fn codings_and_upgrades_are_not_framed() {
    check_unframed("Transfer-Encoding: chunked", Unframed::Coding);
    check_unframed("Content-Length: 5\r\ntransfer-encoding: x", Unframed::Coding);
    check_unframed("Transfer-Encoding:\r\nContent-Length: 5", Unframed::Coding);
    check_unframed("Upgrade: websocket", Unframed::Upgrade);
    check_unframed("Content-Length: 5\r\nUPGRADE: h2c", Unframed::Upgrade);
    check_unframed("Upgrade-Insecure-Requests: 1", Unframed::No);
}

#[test]
fn identities_are_found_behind_a_length() {
    check_node(
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nDFaaS-Node-ID: 12D3\r\n\r\n",
        Some("12D3"),
    );
    let request = b"GET / HTTP/1.1\r\nDFaaS-Node-Token: abc\r\nDFaaS-Node-ID: 12D3\r\n\r\n";
    check(request, |head| {
        assert_eq!(head.token.map(|span| text(request, span)), Some("abc"));
        assert_eq!(head.node_id.map(|span| text(request, span)), Some("12D3"));
    });
}

#[test]
fn who_wants_the_connection_to_end_says_so() {
    for (field, want) in [
        ("Connection: close", true),
        ("connection:close", true),
        ("CONNECTION: keep-alive, Close", true),
        ("Connection: ,close ,x", true),
        ("Content-Length: 0\r\nConnection: close", true),
        ("Connection: keep-alive", false),
        ("Connection: clos", false),
        ("Connection: x close", false),
        ("Connections: close", false),
        ("X-Connection: close", false),
        ("Content-Type: close", false),
    ] {
        let request = format!("GET /function/a HTTP/1.1\r\nHost: x\r\n{field}\r\nX: y\r\n\r\n");
        check(request.as_bytes(), |head| {
            assert_eq!(head.closes, want, "{field}")
        });
    }
    let old = b"GET /function/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    check(old, |head| assert!(head.closes));
}

#[test]
fn only_head_wants_no_body() {
    for (method, want) in [
        ("HEAD", true),
        ("GET", false),
        ("HEA", false),
        ("HEADS", false),
        ("head", false),
    ] {
        let request = format!("{method} /function/a HTTP/1.1\r\n\r\n");
        check(request.as_bytes(), |head| {
            assert_eq!(head.wants_no_body, want, "{method}");
            assert!(matches!(head.target, Target::Function(_)), "{method}");
        });
    }
}

#[test]
fn responses_end_where_their_heads_say() {
    let body = |head: &str, more: &str| format!("HTTP/1.1 {head}\r\n\r\n{more}");
    check_response(&body("200 OK\r\nContent-Length: 5", "hello"), false, Stage::Idle);
    check_response(&body("200 OK\r\nContent-Length: 5", "hell"), false, Stage::Length);
    check_response(&body("200 OK\r\nContent-Length: 0", ""), false, Stage::Idle);
    check_response(&body("200 OK\r\nContent-Length: 5", ""), true, Stage::Idle);
    check_response(&body("204 No Content", ""), false, Stage::Idle);
    check_response(
        &body("304 Not Modified\r\nContent-Length: 5", ""),
        false,
        Stage::Idle,
    );
    check_response(&body("200 OK", "abc"), false, Stage::Endless);
    check_response(&body("100 Continue", ""), false, Stage::Head);
    check_response(
        &body("100 Continue", &body("200\r\nContent-Length: 1", "x")),
        false,
        Stage::Idle,
    );
    check_response(&body("101 Switching Protocols", ""), false, Stage::Endless);
    check_response(
        &body("200 OK\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        false,
        Stage::Idle,
    );
    check_response(
        &body(
            "200 OK\r\nTransfer-Encoding: Chunked \r\nContent-Length: 1",
            "a;x=y\r\n0123456789\r\n00\r\nA: b\r\n\r\n",
        ),
        false,
        Stage::Idle,
    );
    check_response(
        &body("200 OK\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n"),
        false,
        Stage::ChunkLine,
    );
    check_response(
        &body("200 OK\r\nTransfer-Encoding: gzip", "x"),
        false,
        Stage::Endless,
    );
    check_response(
        &body("200 OK\r\nContent-Length: 1\r\nContent-Length: 2", "x"),
        false,
        Stage::Endless,
    );
    check_response("ICY 200 OK\r\n\r\n", false, Stage::Endless);
}

#[test]
fn a_response_has_no_end_where_its_readers_differ() {
    for fields in [
        // What is told of the length is none, or more than a number holds.
        "Content-Length:",
        "Content-Length: 5, 5",
        "Content-Length: 18446744073709551617",
        "Content-Length: 100000000000000000000000000000000000000005",
        // A coding that is none, or not the one that we know.
        "Transfer-Encoding:\r\nContent-Length: 5",
        "Transfer-Encoding: chunke\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: \t",
        "Content-Length: 5\r\nTransfer-Encoding: xchunked",
        "Transfer-Encoding: gzip, chunked",
    ] {
        let response = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nhello");
        check_response(&response, false, Stage::Endless);
    }
    let chunked = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for start in ["HTTP/1.0 200", "HTTP/1.2 200", "HTTP/1.1 099"] {
        check_response(&format!("{start} X\r\n{chunked}"), false, Stage::Endless);
    }
}

#[test]
fn a_length_goes_on_in_the_next_segment() {
    for digits in ["5", "0000000005", "9876543210"] {
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {digits}\r\n\r\n");
        for part in 1..=response.len() {
            let left = follow(&response, false, part).left;
            assert_eq!(left, digits.parse().unwrap(), "{digits} in parts of {part}");
        }
    }
    let of_length = |digits: &str| {
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {digits}\r\n\r\n");
        follow(&response, false, usize::MAX)
    };
    assert_eq!(of_length("123456789012345").left, 123_456_789_012_345);
    assert_eq!(of_length("0000000000000005").stage(), Stage::Endless, "16 digits");
}

#[test]
fn what_is_not_the_chunked_coding_has_no_end() {
    for chunks in [
        "ffffffffffffffff\r\nx",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "0\r\nno field\r\n\r\n",
        "0\r\n: no name\r\n\r\n",
        "0\r\nA: b\r\n folded\r\n\r\n",
        "0\n\n",
    ] {
        let response = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        check_response(&response, false, Stage::Endless);
    }
}

#[test]
fn a_refusal_of_ours_is_told_from_a_functions() {
    for answer in crate::decide::Answer::ALL {
        let response = follow(answer.response(), false, usize::MAX);
        let moves = answer.response().contains("DFaaS-Refused");
        assert_eq!(response.is_refusal(), moves, "{answer:?}");
        assert_eq!(response.stage(), Stage::Idle, "{answer:?}");
    }
    assert!(!follow("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", false, usize::MAX).is_refusal());
    // A function may send the field, too; its answer counts.
    for (status, refuses) in [
        (200, false),
        (400, false),
        (401, false),
        (403, true),
        (404, false),
        (413, false),
        (422, false),
        (429, true),
        (500, false),
        (502, false),
        (503, true),
    ] {
        let text = format!("HTTP/1.1 {status} X\r\nDFaaS-Refused: full\r\nContent-Length: 0\r\n\r\n");
        for part in [1, 11, usize::MAX] {
            let seen = follow(&text, false, part);
            assert_eq!(
                (seen.is_refusal(), seen.stage()),
                (refuses, Stage::Idle),
                "{text}"
            );
        }
    }
    let early = "HTTP/1.1 100 X\r\nDFaaS-Refused: full\r\n\r\nHTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n";
    assert!(!follow(early, false, usize::MAX).is_refusal());
}

#[test]
fn a_server_says_that_it_closes() {
    let response = |version: &str, fields: &str| {
        format!("HTTP/1.{version} 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok")
    };
    let cases = [
        ("1", "", false),
        ("1", "Connection: keep-alive\r\n", false),
        ("1", "X-Connection: close\r\n", false),
        ("1", "Connection: close\r\n", true),
        ("1", "connection:  Keep-Alive , CLOSE\r\n", true),
        ("0", "", true),
    ];
    for (version, fields, closes) in cases {
        let text = response(version, fields);
        for part in [1, 7, usize::MAX] {
            let seen = follow(&text, false, part);
            assert_eq!(
                (seen.is_last(), seen.stage()),
                (closes, Stage::Idle),
                "{text} by {part}"
            );
        }
    }
}

#[test]
fn nothing_follows_an_answer_that_says_close() {
    let cases = [
        ("1", "", false),
        ("1", "Connection: close\r\n", true),
        ("1", "Connection: keep-alive, close\r\n", true),
        ("0", "", true),
        ("0", "Connection: Keep-Alive\r\n", false),
        ("0", "Connection: x, keep-alive\r\n", false),
        ("0", "Connection: keep-alive-not\r\nX: keep-alive\r\n", false),
        ("0", "Connection: keep\r\nX: keep-alive\r\n", true),
    ];
    for (version, fields, is_final) in cases {
        for (before, behind) in [(fields, ""), ("", fields)] {
            let text = format!("HTTP/1.{version} 200 OK\r\n{before}Content-Length: 2\r\n{behind}\r\nok");
            for part in [1, 7, usize::MAX] {
                assert_eq!(
                    follow(&text, false, part).is_final(),
                    is_final,
                    "{text} by {part}"
                );
            }
        }
    }
}

/// Follows a response in parts of one size, whatever it is: they must all lead to the same end.
#[track_caller]
fn check_response(text: &str, wants_no_body: bool, want: Stage) {
    for part in 1..=text.len() {
        assert_eq!(
            follow(text, wants_no_body, part).stage(),
            want,
            "{text:?} in parts of {part}"
        );
    }
}

fn follow(text: &str, wants_no_body: bool, part: usize) -> Response {
    let mut response = Response::default();
    response.begin(wants_no_body);
    for mut rest in text.as_bytes().chunks(part.min(HELD_BYTES)) {
        while !rest.is_empty() {
            if !matches!(
                response.stage(),
                Stage::Head | Stage::Length | Stage::ChunkData | Stage::ChunkLine
            ) {
                break;
            }
            let used = step(&mut response, rest);
            rest = &rest[used as usize..];
        }
    }
    response
}

fn step(response: &mut Response, rest: &[u8]) -> u32 {
    match response.stage() {
        Stage::Head => response.follow_head(&buffer(rest), rest.len(), &mut Marks([7; STATES])),
        Stage::Length | Stage::ChunkData => response.follow_body(rest.len() as u32),
        Stage::ChunkLine => {
            let length = rest.len().min(CHUNK_LINE_BYTES);
            let mut line = ChunkLine::default();
            line.0[..length].copy_from_slice(&rest[..length]);
            response.follow_chunk_line(&line, length)
        }
        Stage::Idle | Stage::Endless | Stage::Unknown => rest.len() as u32,
    }
}

#[track_caller]
fn check_body(fields: &str, unframed: Unframed, body: u64) {
    let request = format!("POST /function/a HTTP/1.1\r\n{fields}\r\n\r\n");
    check(request.as_bytes(), |head| {
        assert_eq!((head.unframed, head.body), (unframed, body), "{fields}");
    });
}

#[track_caller]
fn check_unframed(fields: &str, unframed: Unframed) {
    let request = format!("POST /function/a HTTP/1.1\r\n{fields}\r\n\r\n");
    check(request.as_bytes(), |head| {
        assert_eq!(head.unframed, unframed, "{fields}")
    });
}

#[test]
fn every_true_prefix_of_a_request_is_incomplete() {
    let request = b"POST /function/figlet/x?y HTTP/1.1\r\nHost: a\r\nDFaaS-Node-ID: 12D3Koo\r\nA: b\r\n\r\n";
    for length in 0..request.len() {
        assert_eq!(run(&request[..length]).0, Progress::Incomplete, "{length}");
    }
    assert_eq!(run(request).0, Progress::Complete);
}

#[test]
fn a_node_names_itself_in_any_case() {
    for name in ["DFaaS-Node-ID", "dfaas-node-id", "DFAAS-NODE-ID", "Dfaas-Node-Id"] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: \t 12D3KooW \t\r\nX: y\r\n\r\n");
        check_node(request.as_bytes(), Some("12D3KooW"));
    }
    check_node(b"GET / HTTP/1.1\r\nDFaaS-Node-ID:x\r\n\r\n", Some("x"));
    check_node(b"GET / HTTP/1.1\r\nDFaaS-Node-ID: a b\r\n\r\n", Some("a b"));
}

#[test]
fn an_empty_identity_still_marks_a_node() {
    check(b"GET / HTTP/1.1\r\nDFaaS-Node-ID: \r\n\r\n", |head| {
        assert!(head.from_node);
        assert_eq!(head.node_id, None);
    });
}

#[test]
fn names_that_only_begin_alike_are_other_fields() {
    for name in [
        "DFaaS-Node-IDs",
        "DFaaS-Node",
        "d",
        "XDFaaS-Node-ID",
        "DFaaS-Node-ID-",
    ] {
        let request = format!("GET / HTTP/1.1\r\n{name}: x\r\n\r\n");
        check(request.as_bytes(), |head| assert!(!head.from_node, "{name}"));
    }
}

#[test]
fn the_last_of_two_identities_counts_with_its_own_length() {
    check_node(
        b"GET / HTTP/1.1\r\nDFaaS-Node-ID: abcdef\r\nDFaaS-Node-ID: x\r\n\r\n",
        Some("x"),
    );
}

#[test]
fn a_stamp_goes_behind_the_request_line() {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody";
    check(request, |head| {
        assert_eq!(&request[..head.fields_start as usize], b"GET / HTTP/1.1\r\n");
        assert_eq!(&request[head.length as usize..], b"body");
    });
}

#[test]
fn a_full_buffer_is_scanned_to_its_end() {
    let mut request = b"GET / HTTP/1.1\r\nX: ".to_vec();
    request.resize(HELD_BYTES - 4, b'y');
    request.extend_from_slice(b"\r\n\r\n");
    assert_eq!(run(&request).0, Progress::Complete);
    assert_eq!(run(&request[..HELD_BYTES - 1]).0, Progress::Incomplete);
}

proptest! {
    #[test]
    fn no_input_makes_the_automaton_leave_its_table(bytes in proptest::collection::vec(any::<u8>(), 0..HELD_BYTES)) {
        let (progress, marks) = run(&bytes);
        if progress == Progress::Complete {
            let head = Head::from_marks(&buffer(&bytes), &marks);
            prop_assert!(usize::from(head.length) <= bytes.len());
            prop_assert!(head.fields_start < head.length);
        }
    }
}

fn buffer(bytes: &[u8]) -> [u8; HELD_BYTES] {
    let mut buffer = [0xaa; HELD_BYTES];
    buffer[..bytes.len()].copy_from_slice(bytes);
    buffer
}

fn run(bytes: &[u8]) -> (Progress, Marks) {
    let mut marks = Marks([7; STATES]);
    (read(&buffer(bytes), bytes.len(), &mut marks), marks)
}

fn text(bytes: &[u8], span: Span) -> &str {
    core::str::from_utf8(&bytes[span.start as usize..][..span.length as usize]).unwrap()
}

#[track_caller]
fn check(request: &[u8], assert: impl Fn(Head)) {
    let (progress, marks) = run(request);
    assert_eq!(
        progress,
        Progress::Complete,
        "{}",
        String::from_utf8_lossy(request)
    );
    assert(Head::from_marks(&buffer(request), &marks));
}

#[track_caller]
fn check_function(request: &[u8], want: &str) {
    check(request, |head| match head.target {
        Target::Function(span) => assert_eq!(text(request, span), want),
        Target::Root | Target::Other => panic!("{:?}", head.target),
    });
}

#[track_caller]
fn check_node(request: &[u8], want: Option<&str>) {
    check(request, |head| {
        assert!(head.from_node);
        assert_eq!(head.node_id.map(|span| text(request, span)), want);
    });
}
