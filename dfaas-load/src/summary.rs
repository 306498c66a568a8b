//! Results in numbers.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

use crate::sample::Sample;

/// What a number of requests came to. Times are in milliseconds, from when a request was due to the end of its answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) requests: usize,
    /// By status code; "0" is no answer.
    pub(crate) codes: BTreeMap<u16, usize>,
    /// Share of answers with a code of 200 to 399.
    pub(crate) success: f64,
    /// From the first request's due time to the last one's.
    pub(crate) seconds: f64,
    /// Requests a second that were due.
    pub(crate) rate_rps: f64,
    /// Answers with success a second.
    pub(crate) throughput_rps: f64,
    pub(crate) latency_ms: Option<Latency>,
    /// Answers by who said to have served them.
    pub(crate) served_by: BTreeMap<String, usize>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Why there was no answer, and how often.
    pub(crate) errors: BTreeMap<String, usize>,
    pub(crate) targets: BTreeMap<String, TargetSummary>,
}

/// One target's share of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct TargetSummary {
    pub(crate) requests: usize,
    pub(crate) success: usize,
    pub(crate) codes: BTreeMap<u16, usize>,
}

/// Latencies of answered requests, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Summary {
    /// Sums up.
    pub(crate) fn of(samples: &[Sample]) -> Self {
        let mut targets: BTreeMap<String, TargetSummary> = BTreeMap::new();
        for sample in samples {
            let target = targets.entry(sample.target.clone()).or_default();
            target.requests += 1;
            target.success += usize::from(sample.is_success());
            *target.codes.entry(sample.code).or_default() += 1;
        }
        let success = samples.iter().filter(|sample| sample.is_success()).count();
        let seconds = span(samples).as_secs_f64();
        let a_second = |count: usize| {
            if seconds > 0.0 {
                count as f64 / seconds
            } else {
                0.0
            }
        };
        Self {
            requests: samples.len(),
            codes: tally(samples, |sample| Some(sample.code)),
            success: success as f64 / samples.len().max(1) as f64,
            seconds,
            // The first request is due at the begin of its second, so the last one does not count here.
            rate_rps: a_second(samples.len().saturating_sub(1)),
            throughput_rps: a_second(success),
            latency_ms: Latency::of(samples),
            served_by: tally(samples, |sample| sample.served_by.clone()),
            bytes_in: samples.iter().map(|sample| sample.bytes_in).sum(),
            bytes_out: samples.iter().map(|sample| sample.bytes_out).sum(),
            errors: tally(samples, |sample| {
                (!sample.error.is_empty()).then(|| sample.error.clone())
            }),
            targets,
        }
    }
}

impl Latency {
    fn of(samples: &[Sample]) -> Option<Self> {
        let mut times: Vec<f64> = answered(samples)
            .map(|sample| sample.latency.as_secs_f64() * 1e3)
            .collect();
        times.sort_by(f64::total_cmp);
        let max = *times.last()?;
        Some(Self {
            mean: times.iter().sum::<f64>() / times.len() as f64,
            p50: percentile(&times, 0.50),
            p90: percentile(&times, 0.90),
            p95: percentile(&times, 0.95),
            p99: percentile(&times, 0.99),
            max,
        })
    }
}

/// Requests with an answer.
pub(crate) fn answered(samples: &[Sample]) -> impl Iterator<Item = &Sample> {
    samples.iter().filter(|sample| sample.code != 0)
}

/// The smallest value that at least this share of all are not above (nearest rank). `sorted` must not be empty.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

fn tally<K: Ord>(samples: &[Sample], key: impl Fn(&Sample) -> Option<K>) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    for key in samples.iter().filter_map(key) {
        *counts.entry(key).or_default() += 1;
    }
    counts
}

fn span(samples: &[Sample]) -> Duration {
    let first = samples.iter().map(|sample| sample.due).min();
    let last = samples.iter().map(|sample| sample.due).max();
    match (first, last) {
        (Some(first), Some(last)) => last.duration_since(first).unsigned_abs(),
        _ => Duration::ZERO,
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "requests    {} in {:.1} s ({:.1} a second); {:.2} % with success ({:.1} a second)",
            self.requests,
            self.seconds,
            self.rate_rps,
            self.success * 100.0,
            self.throughput_rps
        )?;
        writeln!(
            f,
            "codes       {}",
            counts(&self.codes, |code| match code {
                0 => "no answer".to_owned(),
                code => code.to_string(),
            })
        )?;
        if let Some(time) = self.latency_ms {
            writeln!(
                f,
                "latency     mean {:.2}, p50 {:.2}, p90 {:.2}, p95 {:.2}, p99 {:.2}, max {:.2} ms, from when a request was due",
                time.mean, time.p50, time.p90, time.p95, time.p99, time.max
            )?;
        }
        if !self.served_by.is_empty() {
            writeln!(f, "served by   {}", counts(&self.served_by, Clone::clone))?;
        }
        writeln!(f, "bytes       {} out, {} in", self.bytes_out, self.bytes_in)?;
        for (name, target) in &self.targets {
            writeln!(
                f,
                "target      {name}: {} requests, {} with success; {}",
                target.requests,
                target.success,
                counts(&target.codes, u16::to_string)
            )?;
        }
        for (error, count) in &self.errors {
            writeln!(f, "no answer   {count} times: {error}")?;
        }
        Ok(())
    }
}

fn counts<K>(counts: &BTreeMap<K, usize>, name: impl Fn(&K) -> String) -> String {
    let each: Vec<_> = counts
        .iter()
        .map(|(key, count)| format!("{}: {count}", name(key)))
        .collect();
    each.join(", ")
}

#[cfg(test)]
pub(crate) mod tests {
    use jiff::Timestamp;

    use super::*;

    /// Requests that are due a tenth of a second apart; a code and a latency in milliseconds each.
    pub(crate) fn samples(of: &[(u16, u64)]) -> Vec<Sample> {
        let each = of.iter().enumerate();
        each.map(|(number, &(code, latency_ms))| Sample {
            number: number as u64,
            target: "node 1".to_owned(),
            method: "GET".to_owned(),
            url: "http://localhost:8081/function/figlet".to_owned(),
            due: Timestamp::from_millisecond(1_700_000_000_000 + 100 * number as i64).unwrap(),
            latency: Duration::from_millis(latency_ms),
            code,
            bytes_out: 2,
            bytes_in: 3,
            error: if code == 0 {
                "connection refused".to_owned()
            } else {
                String::new()
            },
            served_by: (code == 200).then(|| "n1".to_owned()),
        })
        .collect()
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(
            [0.0, 0.5, 0.99, 1.0].map(|share| percentile(&sorted, share)),
            [1.0, 50.0, 99.0, 100.0]
        );
        assert_eq!(percentile(&[7.0], 0.5), 7.0);
    }

    #[test]
    fn requests_without_an_answer_count_but_have_no_latency() {
        let summary = Summary::of(&samples(&[(200, 10), (429, 20), (0, 5000), (200, 30)]));
        assert_eq!((summary.requests, summary.success), (4, 0.5));
        assert_eq!(summary.codes, BTreeMap::from([(0, 1), (200, 2), (429, 1)]));
        assert_eq!(summary.latency_ms.unwrap().max, 30.0);
        assert_eq!(summary.served_by, BTreeMap::from([("n1".to_owned(), 2)]));
        assert!((summary.rate_rps - 10.0).abs() < 1e-9);
        let text = summary.to_string();
        assert!(
            text.contains("no answer: 1, 200: 2, 429: 1") && text.contains("1 times: connection refused"),
            "{text}"
        );
    }

    #[test]
    fn nothing_sums_up_to_nothing() {
        let summary = Summary::of(&[]);
        assert_eq!(
            (summary.requests, summary.latency_ms, summary.rate_rps),
            (0, None, 0.0)
        );
    }
}
