//! vegeta's results (`lib/results.go`): `attack` has our target's name.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{format::csv_row, sample::Sample};

/// Columns of a row: time, code, latency, bytes out, bytes in, error, body, attack, number; then method, URL and headers in
/// versions from 12.8 on.
pub(super) const COLUMNS_MIN: usize = 9;

const SERVED_BY: &str = "X-Served-By";

#[derive(Deserialize, Serialize)]
struct Line {
    attack: String,
    seq: u64,
    code: u16,
    timestamp: Timestamp,
    /// In nanoseconds.
    latency: u64,
    bytes_out: u64,
    bytes_in: u64,
    error: String,
    /// In base64; we never write one.
    #[serde(skip_deserializing)]
    body: Option<String>,
    #[serde(default)]
    method: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    headers: Option<BTreeMap<String, Vec<String>>>,
}

/// A result as a line of JSON.
pub(super) fn json(sample: &Sample) -> Result<String> {
    let headers = sample
        .served_by
        .iter()
        .map(|name| (SERVED_BY.to_owned(), vec![name.clone()]))
        .collect();
    let line = Line {
        attack: sample.target.clone(),
        seq: sample.number,
        code: sample.code,
        timestamp: sample.due,
        latency: sample.latency.as_nanos() as u64,
        bytes_out: sample.bytes_out,
        bytes_in: sample.bytes_in,
        error: sample.error.clone(),
        body: None,
        method: sample.method.clone(),
        url: sample.url.clone(),
        headers: Some(headers),
    };
    Ok(serde_json::to_string(&line)? + "\n")
}

pub(super) fn read_json(text: &str) -> Result<Vec<Sample>> {
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            let line: Line = serde_json::from_str(line).with_context(|| format!("line {}", index + 1))?;
            Ok(line.into_sample())
        })
        .collect()
}

impl Line {
    fn into_sample(self) -> Sample {
        let headers = self.headers.unwrap_or_default();
        let served_by = headers
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(SERVED_BY))
            .and_then(|(_, values)| values.into_iter().next());
        Sample {
            number: self.seq,
            target: self.attack,
            method: self.method,
            url: self.url,
            due: self.timestamp,
            latency: Duration::from_nanos(self.latency),
            code: self.code,
            bytes_out: self.bytes_out,
            bytes_in: self.bytes_in,
            error: self.error,
            served_by,
        }
    }
}

/// A result as a row; headers are lines of a MIME head in base64.
pub(super) fn csv(sample: &Sample) -> Result<String> {
    let headers = sample
        .served_by
        .as_ref()
        .map_or_else(String::new, |name| format!("{SERVED_BY}: {name}\r\n"));
    csv_row([
        sample.due.as_nanosecond().to_string(),
        sample.code.to_string(),
        sample.latency.as_nanos().to_string(),
        sample.bytes_out.to_string(),
        sample.bytes_in.to_string(),
        sample.error.clone(),
        String::new(),
        sample.target.clone(),
        sample.number.to_string(),
        sample.method.clone(),
        sample.url.clone(),
        BASE64_STANDARD.encode(headers),
    ])
}

pub(super) fn read_csv(text: &str) -> Result<Vec<Sample>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut samples = Vec::new();
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        samples.push(row(&record).with_context(|| format!("line {line}"))?);
    }
    Ok(samples)
}

fn row(record: &csv::StringRecord) -> Result<Sample> {
    ensure!(
        record.len() >= COLUMNS_MIN,
        "{} columns instead of {COLUMNS_MIN} or more",
        record.len()
    );
    let text = |index: usize| record.get(index).unwrap_or_default();
    let number = |index: usize, name: &str| -> Result<u64> {
        text(index)
            .parse()
            .with_context(|| format!("{name} {:?} is no number", text(index)))
    };
    let due = i128::from(number(0, "time")?);
    let headers = BASE64_STANDARD.decode(text(11)).unwrap_or_default();
    let headers = String::from_utf8_lossy(&headers);
    let served_by = headers.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(SERVED_BY)
            .then(|| value.trim().to_owned())
    });
    Ok(Sample {
        number: number(8, "number")?,
        target: text(7).to_owned(),
        method: text(9).to_owned(),
        url: text(10).to_owned(),
        due: Timestamp::from_nanosecond(due)?,
        latency: Duration::from_nanos(number(2, "latency")?),
        code: number(1, "code")?.try_into().context("code is above 65535")?,
        bytes_out: number(3, "bytes out")?,
        bytes_in: number(4, "bytes in")?,
        error: text(5).to_owned(),
        served_by,
    })
}
