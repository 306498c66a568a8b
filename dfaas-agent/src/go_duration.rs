//! Durations as the Go agents are told them: `1m30s`, `500ms`, or plain seconds.

use std::time::Duration;

/// A text that is no duration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration such as 1m30s, 500ms or 30 (seconds)")]
pub(crate) struct DurationError(String);

/// Reads a duration.
pub(crate) fn parse(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    let seconds = match is_number(text) {
        true => text.parse().ok(),
        false => sum_of_terms(text),
    };
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| DurationError(text.to_owned()))
}

/// Whether the text has only the characters of a plain decimal number.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

fn sum_of_terms(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut seconds = 0.0;
    loop {
        let (term_seconds, tail) = first_term(rest)?;
        seconds += term_seconds;
        if tail.is_empty() {
            return Some(seconds);
        }
        rest = tail;
    }
}

/// A number and its unit, and what follows them.
fn first_term(text: &str) -> Option<(f64, &str)> {
    let is_digit = |character: char| character.is_ascii_digit() || character == '.';
    let (number, rest) = text.split_at(text.find(|character| !is_digit(character))?);
    let (unit, tail) = rest.split_at(rest.find(is_digit).unwrap_or(rest.len()));
    Some((number.parse::<f64>().ok()? * seconds_of(unit)?, tail))
}

fn seconds_of(unit: &str) -> Option<f64> {
    match unit {
        "ns" => Some(1e-9),
        "us" | "µs" | "μs" => Some(1e-6),
        "ms" => Some(1e-3),
        "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_and_seconds_are_read() {
        check("1m30s", Some(90_000));
        check("500ms", Some(500));
        check("1.5h", Some(5_400_000));
        check("2", Some(2_000));
        check("0.25", Some(250));
        check(" 1s ", Some(1_000));
        check("0s", Some(0));
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            ".",
            "s",
            "1x",
            "-1s",
            "1s-",
            "1m 30s",
            "ten",
            "1e9",
            "inf",
            "NaN",
            "99999999999999999999h",
        ] {
            check(text, None);
        }
    }

    #[track_caller]
    fn check(text: &str, want_ms: Option<u64>) {
        assert_eq!(parse(text).ok(), want_ms.map(Duration::from_millis), "{text:?}");
    }
}
