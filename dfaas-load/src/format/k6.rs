//! k6's CSV (`--out csv`): a row a metric. Times are of the answer's end, in seconds; durations in milliseconds.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};

use crate::{format::csv_row, sample::Sample};

pub(super) const HEAD: &str = "metric_name,timestamp,metric_value,check,error,error_code,expected_response,group,method,name,proto,scenario,service,status,subproto,tls_version,url,extra_tags,metadata";

const DURATION: &str = "http_req_duration";
/// What k6 says of requests whose connection failed, where it knows no more.
const ERROR_CODE: &str = "1000";
/// Tags of ours: what k6 has no columns for. Its own times are whole seconds.
const SERVED_BY: &str = "served_by";
const DUE: &str = "due";
const NUMBER: &str = "number";

/// The three rows of a request.
pub(super) fn rows(sample: &Sample) -> Result<String> {
    let milliseconds = sample.latency.as_secs_f64() * 1e3;
    let failed = u8::from(!sample.is_success());
    let mut text = String::new();
    for (metric, value) in [
        ("http_reqs", "1.000000".to_owned()),
        (DURATION, format!("{milliseconds:.6}")),
        ("http_req_failed", format!("{failed}.000000")),
    ] {
        text += &row(sample, metric, &value)?;
    }
    Ok(text)
}

fn row(sample: &Sample, metric: &str, value: &str) -> Result<String> {
    let end = sample.due + SignedDuration::try_from(sample.latency).unwrap_or(SignedDuration::ZERO);
    let mut tags = vec![
        format!("{NUMBER}={}", sample.number),
        format!("{DUE}={}", sample.due.as_nanosecond()),
    ];
    tags.extend(sample.served_by.iter().map(|name| format!("{SERVED_BY}={name}")));
    let error_code = if sample.code == 0 { ERROR_CODE } else { "" };
    csv_row([
        metric,
        &end.as_second().to_string(),
        value,
        "",
        &sample.error,
        error_code,
        if sample.is_success() { "true" } else { "false" },
        "",
        &sample.method,
        &sample.url,
        "HTTP/1.1",
        &sample.target,
        "",
        &sample.code.to_string(),
        "",
        "",
        &sample.url,
        &tags.join("&"),
        "",
    ])
}

/// Reads the durations of requests.
pub(super) fn read(text: &str) -> Result<Vec<Sample>> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(text.as_bytes());
    let columns = Columns::find(reader.headers()?)?;
    let mut samples = Vec::new();
    for record in reader.records() {
        let record = record?;
        if record.get(0) == Some(DURATION) {
            let line = record.position().map_or(0, csv::Position::line);
            let number = samples.len() as u64;
            samples.push(
                columns
                    .sample(&record, number)
                    .with_context(|| format!("line {line}"))?,
            );
        }
    }
    Ok(samples)
}

/// Where what stands; k6 lets its users choose the tags that become columns.
struct Columns {
    time: usize,
    value: usize,
    status: Option<usize>,
    error: Option<usize>,
    method: Option<usize>,
    url: Option<usize>,
    scenario: Option<usize>,
    tags: Option<usize>,
}

impl Columns {
    fn find(head: &csv::StringRecord) -> Result<Self> {
        let find = |name: &str| head.iter().position(|column| column == name);
        let need = |name: &str| find(name).with_context(|| format!("no column {name}"));
        Ok(Self {
            time: need("timestamp")?,
            value: need("metric_value")?,
            status: find("status"),
            error: find("error"),
            method: find("method"),
            url: find("url"),
            scenario: find("scenario"),
            tags: find("extra_tags"),
        })
    }

    fn sample(&self, record: &csv::StringRecord, number: u64) -> Result<Sample> {
        let text = |column: Option<usize>| column.and_then(|column| record.get(column)).unwrap_or_default();
        let needed = |column: usize, name: &str| -> Result<f64> {
            let text = record.get(column).unwrap_or_default();
            text.parse()
                .with_context(|| format!("{name} {text:?} is no number"))
        };
        let latency = Duration::try_from_secs_f64(needed(self.value, "metric_value")? / 1e3)
            .context("metric_value is no duration")?;
        let end = Timestamp::from_second(needed(self.time, "timestamp")? as i64)?;
        let tag = |name: &str| {
            let pairs = text(self.tags).split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .filter(|(key, _)| *key == name)
                .map(|(_, value)| value)
                .next()
        };
        let due = match tag(DUE).and_then(|due| due.parse().ok()) {
            Some(due) => Timestamp::from_nanosecond(due)?,
            None => end - SignedDuration::try_from(latency)?,
        };
        Ok(Sample {
            number: tag(NUMBER)
                .and_then(|number| number.parse().ok())
                .unwrap_or(number),
            target: text(self.scenario).to_owned(),
            method: text(self.method).to_owned(),
            url: text(self.url).to_owned(),
            due,
            latency,
            code: text(self.status).parse().unwrap_or(0),
            bytes_out: 0,
            bytes_in: 0,
            error: text(self.error).to_owned(),
            served_by: tag(SERVED_BY).map(ToOwned::to_owned),
        })
    }
}
