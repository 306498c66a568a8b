//! hey's CSV (`-o csv`): answered requests, times in seconds with four digits.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};

use crate::sample::Sample;

pub(super) const HEAD: &str =
    "response-time,DNS+dialup,DNS,Request-write,Response-delay,Response-read,status-code,offset";

/// A row, or nothing for a request without an answer. Of the parts of the time, which we do not measure, the delay of the
/// response has all.
pub(super) fn row(sample: &Sample, since_begin_ns: i128) -> String {
    if sample.code == 0 {
        return String::new();
    }
    let seconds = sample.latency.as_secs_f64();
    let offset = since_begin_ns as f64 / 1e9;
    format!(
        "{seconds:.4},0.0000,0.0000,0.0000,{seconds:.4},0.0000,{},{offset:.4}\n",
        sample.code
    )
}

/// Reads answers. hey says no date: times count from 1970.
pub(super) fn read(text: &str) -> Result<Vec<Sample>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let head = reader.headers()?.clone();
    let find = |name: &str| {
        let place = head.iter().position(|column| column == name);
        place.with_context(|| format!("no column {name}"))
    };
    let columns = (find("response-time")?, find("status-code")?, find("offset")?);
    let mut samples = Vec::new();
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let number = samples.len() as u64;
        samples.push(sample(&record, columns, number).with_context(|| format!("line {line}"))?);
    }
    Ok(samples)
}

fn sample(record: &csv::StringRecord, columns: (usize, usize, usize), number: u64) -> Result<Sample> {
    let (time, code, offset) = columns;
    let seconds = |column: usize, name: &str| -> Result<Duration> {
        let text = record.get(column).unwrap_or_default();
        let seconds: f64 = text
            .parse()
            .with_context(|| format!("{name} {text:?} is no number"))?;
        Duration::try_from_secs_f64(seconds).with_context(|| format!("{name} {text}"))
    };
    let since_begin = SignedDuration::try_from(seconds(offset, "offset")?)?;
    let code = record.get(code).unwrap_or_default();
    Ok(Sample {
        number,
        target: "hey".to_owned(),
        method: String::new(),
        url: String::new(),
        due: Timestamp::UNIX_EPOCH + since_begin,
        latency: seconds(time, "response-time")?,
        code: code
            .parse()
            .with_context(|| format!("status-code {code:?} is no number"))?,
        bytes_out: 0,
        bytes_in: 0,
        error: String::new(),
        served_by: None,
    })
}
