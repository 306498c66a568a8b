//! Durations as OpenFaaS writes them: plain seconds (`30`) or Go syntax (`1m30s`, `250ms`, `1.5h`).

use std::time::Duration;

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{0:?} is not a duration; write seconds (30) or a Go duration (1m30s, 250ms)")]
pub struct DurationError(String);

pub(crate) fn parse(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    let seconds = match text.parse::<u32>() {
        Ok(seconds) => Some(f64::from(seconds)),
        Err(_) => seconds_of_terms(text),
    };
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| DurationError(text.to_owned()))
}

fn seconds_of_terms(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        seconds += number.parse::<f64>().ok()? * unit_seconds(unit)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(seconds)
}

fn unit_seconds(unit: &str) -> Option<f64> {
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
    fn seconds_and_go_syntax_are_read() {
        check("0", Some(0));
        check("30", Some(30_000));
        check("1m30s", Some(90_000));
        check("250ms", Some(250));
        check("1.5h", Some(5_400_000));
        check(" 2s ", Some(2_000));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "s", "1x", "-1", "1s-", "1e400s", "ten", "1m 30s"] {
            check(text, None);
        }
    }

    #[track_caller]
    fn check(text: &str, want_ms: Option<u64>) {
        assert_eq!(parse(text).ok(), want_ms.map(Duration::from_millis), "{text:?}");
    }
}
