//! Responses in large segments, which the stack gives whole: followed to the end of each.

use dfaas_common::http::Stage;

use crate::{
    bench::{Bench, Verdict},
    frame::{Segment, Sent},
    talk::{REQUEST, Talk},
};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const END: &str = "0\r\n\r\n";

#[test]
fn sixty_chunks_in_one_segment_are_followed() {
    let chunk = format!("28\r\n{}\r\n", "x".repeat(40));
    check(48_001, &format!("{CHUNKED}{}{END}", chunk.repeat(60)));
}

#[test]
fn hundreds_of_small_chunks_in_one_segment_are_followed() {
    check(48_002, &format!("{CHUNKED}{}{END}", "1\r\nx\r\n".repeat(500)));
}

#[test]
fn a_long_head_in_one_segment_is_followed() {
    let fields = format!("X-Policy: {}\r\n", "x".repeat(60)).repeat(45);
    assert!(fields.len() > 3_200);
    check(
        48_003,
        &format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok"),
    );
}

#[test]
fn interim_answers_in_the_segment_of_the_last_are_followed() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    check(
        48_004,
        &format!("HTTP/1.1 100 Continue\r\n\r\n{early}{early}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    );
}

#[test]
fn who_asks_with_all_of_an_answer_that_was_not_followed_is_served_there() {
    let (mut bench, mut talk) = Talk::asked(48_005, REQUEST);
    talk.server_says(&mut bench, &format!("{CHUNKED}5\r\nhello\r\n"));
    // What is lost here has the line of a chunk in it, so nobody knows where the response ends.
    let lost = "6\r\n world\r\n";
    let behind = Sent {
        sequence: talk.server_sent("AP", "").sequence + lost.len() as u32,
        ..talk.server_sent("AP", END)
    };
    let seen = bench.egress(&behind.bytes_to(talk.sent.source));
    assert_eq!(seen.verdict, Verdict::Pass);
    assert_eq!(stage(&mut bench, &talk), Stage::Unknown);
    talk.server_says(&mut bench, lost);
    talk.server_says(&mut bench, END);
    be_passed(&mut bench, &mut talk);
}

/// A client gets a whole response in one segment, and asks for more.
#[track_caller]
fn check(port: u16, response: &str) {
    assert!(response.len() < 3_400, "as much as the kernel runs programs on");
    let (mut bench, mut talk) = Talk::asked(port, REQUEST);
    let seen = talk.server_says(&mut bench, response);
    assert_eq!(seen.verdict, Verdict::Pass);
    assert_eq!(stage(&mut bench, &talk), Stage::Idle);
    be_passed(&mut bench, &mut talk);
    assert_eq!(bench.events().get("response_unknown"), None);
}

#[track_caller]
fn be_passed(bench: &mut Bench, talk: &mut Talk) {
    let seen = bench.ingress(&talk.client("AP", REQUEST).bytes());
    assert_eq!(seen.verdict, Verdict::Pass);
    let request = Segment::read(&seen.frame);
    assert_eq!(
        (request.flags().as_str(), request.text().as_str()),
        ("AP", REQUEST)
    );
    assert_eq!(bench.events().get("upstream_dropped"), None);
}

fn stage(bench: &mut Bench, talk: &Talk) -> Stage {
    bench.upstream(&talk.sent.key()).unwrap().response.stage()
}
