//! A response ends for us where it ends for hyper, whatever the segments.

use std::cell::Cell;

use dfaas_oracle::{
    answers::{self, Answer},
    responses::{End, check, follow},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

/// What follows a response must not be taken for a part of it.
const NEXT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n0\r\n\r\n";

proptest! {
    #[test]
    fn valid_responses_end_where_they_end_for_hyper(answer in answers::valid(), parts in answers::parts()) {
        let want = if answer.ends { End::At(answer.bytes.len()) } else { End::Nowhere };
        let stream = [&answer.bytes, NEXT].concat();
        prop_assert_eq!(check(&stream, answer.wants_no_body, &parts), want);
        prop_assert_eq!(check(&answer.bytes, answer.wants_no_body, &parts), want);
    }

    #[test]
    fn a_response_that_ends_is_awaited_until_then(answer in answers::valid(), parts in answers::parts()) {
        for cut in 0..answer.bytes.len() {
            let end = follow(&answer.bytes[..cut], answer.wants_no_body, &parts);
            prop_assert!(end == End::Awaited || (end == End::Nowhere && !answer.ends), "{:?} at {}", end, cut);
        }
    }
}

#[test]
fn damaged_responses_never_end_elsewhere() {
    run(answers::damaged(), 300);
}

#[test]
fn contradicting_responses_never_end_elsewhere() {
    run(answers::hostile(), 200);
}

/// Checks responses of which at least so many have an end.
fn run(answers: impl Strategy<Value = Answer>, ends_min: u32) {
    let ends = Cell::new(0);
    let mut runner = TestRunner::new(Config {
        cases: 2_000,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&(answers, answers::parts()), |(answer, parts)| {
        let stream = [&answer.bytes, NEXT].concat();
        if let End::At(_) = check(&stream, answer.wants_no_body, &parts) {
            ends.set(ends.get() + 1);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(ends.get() >= ends_min, "{} have an end", ends.get());
}
