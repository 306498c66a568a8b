//! What no front end may let through, however it is written.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::{
    attempt::{Attempt, MARKER, Seen, make_all},
    cases,
    front_ends::{FrontEnd, trio},
    kit::turn,
};

/// Longer ones would need too many splits.
const SPLIT_BYTES_MAX: usize = 150;
/// How much of what came is told.
const BYTES_TOLD: usize = 120;
/// What a platform says of paths outside of its functions, or to who administers it.
const NOT_FOR_USERS: [&str; 4] = [
    "there is no /",
    "invocationCount",
    "gateway_function",
    "\"provider\"",
];

/// What a front end is there for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Duty {
    /// It lets nothing pass but what a user may ask for.
    Guard,
    /// It answers what reaches it.
    Serve,
}

// Another front end is held to the same list by a line as these.

#[test]
fn the_platform_answers_each_with_its_own() {
    check(&FrontEnd::platform(), Duty::Serve, cases::all());
}

#[test]
fn the_data_plane_lets_only_calls_of_functions_through() {
    check(&FrontEnd::data_plane(), Duty::Guard, cases::all());
}

#[test]
fn the_data_plane_sends_only_calls_of_functions_to_peers() {
    let forwarded = cases::all().into_iter().map(|attempt| attempt.of("far"));
    check(&FrontEnd::data_plane(), Duty::Guard, forwarded.collect());
}

#[test]
fn the_data_plane_is_not_fooled_by_two_parts() {
    check(&FrontEnd::data_plane(), Duty::Guard, in_two_parts());
}

/// Each of the small ones, split at each of its bytes.
fn in_two_parts() -> Vec<Attempt> {
    let all = cases::all().into_iter();
    let small = all.filter(|attempt| attempt.bytes.len() <= SPLIT_BYTES_MAX);
    small
        .flat_map(|attempt| attempt.splits().collect::<Vec<_>>())
        .collect()
}

/// Makes all attempts at a front end, and judges what came of each and what reached functions.
#[track_caller]
fn check(front_end: &FrontEnd, duty: Duty, attempts: Vec<Attempt>) {
    let _turn = turn();
    let before = forbidden_calls(duty);
    let count = attempts.len();
    let mut faults = BTreeMap::<&str, Vec<String>>::new();
    for seen in make_all(front_end, attempts) {
        let name = seen.attempt.name;
        faults.entry(name).or_default().extend(fault(&seen, duty));
    }
    faults.retain(|_, faults| !faults.is_empty());
    let calls = forbidden_calls(duty);
    let told = faults.iter().map(|(name, faults)| {
        let times = faults.len();
        format!("\n  {name}: {times} times, as {}", faults[0])
    });
    assert!(
        faults.is_empty() && calls == before,
        "{}: of {count}, {} went wrong; {calls:?} calls after {before:?} of what may not be called{}",
        front_end.name,
        faults.values().map(Vec::len).sum::<usize>(),
        told.collect::<String>()
    );
}

/// How often each node was called for what nobody may call.
fn forbidden_calls(duty: Duty) -> Vec<u64> {
    let functions: &[&str] = match duty {
        Duty::Guard => &["buried", "guarded"],
        Duty::Serve => &["buried"],
    };
    let nodes = trio().nodes.iter();
    nodes
        .flat_map(|node| functions.iter().map(|function| node.calls(function).unwrap()))
        .collect()
}

fn fault(seen: &Seen, duty: Duty) -> Option<String> {
    let judged = match duty {
        Duty::Guard => seen
            .check_outcome()
            .and_then(|()| check_own(seen))
            .and_then(|()| check_guarded(seen)),
        Duty::Serve => seen.answers().and_then(|_| check_own(seen)),
    };
    let error = judged.err()?;
    let start = &seen.received[..seen.received.len().min(BYTES_TOLD)];
    let split = seen.attempt.split;
    Some(format!("split at {split}: {error:#}: {}", start.escape_ascii()))
}

/// No answer is for somebody else.
fn check_own(seen: &Seen) -> Result<()> {
    for window in seen.received.windows(MARKER.len()) {
        let is_marker = window[0] == b'm' && window[1..].iter().all(u8::is_ascii_digit);
        ensure!(
            !is_marker || window == seen.marker.as_bytes(),
            "an answer with {}, not {}",
            window.escape_ascii(),
            seen.marker
        );
    }
    Ok(())
}

/// What reached a platform was the call of a function.
fn check_guarded(seen: &Seen) -> Result<()> {
    let text = String::from_utf8_lossy(&seen.received);
    for phrase in NOT_FOR_USERS {
        ensure!(!text.contains(phrase), "it says {phrase:?}");
    }
    // What is no answer was allowed.
    let answers = seen.answers().map_or_else(|_| Vec::new(), |(answers, _)| answers);
    for answer in answers {
        ensure!(
            answer.status >= 300 || answer.served_by().is_some(),
            "{} by nobody",
            answer.status
        );
    }
    Ok(())
}
