//! Results as lines: which values at which times.

use std::collections::BTreeMap;

use super::{Kind, Line, Seconds};
use crate::{
    sample::Sample,
    summary::{answered, percentile},
};

/// Percentiles over time, and what they are called.
const PERCENTILES: [(f64, &str); 3] = [(0.50, "p50"), (0.95, "p95"), (0.99, "p99")];
/// How many points a CDF has at most.
const CDF_POINTS: usize = 1_000;

/// The lines of a picture.
pub(super) fn lines(kind: Kind, seconds: Seconds, samples: &[Sample]) -> Vec<Line> {
    match kind {
        Kind::Codes => counts(seconds, samples, |sample| match sample.code {
            0 => Some("no answer".to_owned()),
            code => Some(code.to_string()),
        }),
        Kind::ServedBy => counts(seconds, samples, |sample| sample.served_by.clone()),
        Kind::Latency => percentiles(seconds, samples),
        Kind::Cdf => cdf(samples),
    }
}

/// How many of each key there are in each second; none is a zero, not a gap.
fn counts(seconds: Seconds, samples: &[Sample], key: impl Fn(&Sample) -> Option<String>) -> Vec<Line> {
    let mut by_key: BTreeMap<String, BTreeMap<u64, usize>> = BTreeMap::new();
    let mut last = 0;
    for (second, sample) in with_second(seconds, samples) {
        last = last.max(second);
        if let Some(key) = key(sample) {
            *by_key.entry(key).or_default().entry(second).or_default() += 1;
        }
    }
    let line = |(name, counts): (String, BTreeMap<u64, usize>)| {
        let at = |second: u64| (second as f64, counts.get(&second).copied().unwrap_or(0) as f64);
        (name, (0..=last).map(at).collect())
    };
    by_key.into_iter().map(line).collect()
}

fn percentiles(seconds: Seconds, samples: &[Sample]) -> Vec<Line> {
    let mut by_second: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (second, sample) in with_second(seconds, samples) {
        if sample.code != 0 {
            let milliseconds = sample.latency.as_secs_f64() * 1e3;
            by_second.entry(second).or_default().push(milliseconds);
        }
    }
    for times in by_second.values_mut() {
        times.sort_by(f64::total_cmp);
    }
    let line = |(share, name): (f64, &str)| {
        let at = |(&second, times): (&u64, &Vec<f64>)| (second as f64, percentile(times, share));
        (name.to_owned(), by_second.iter().map(at).collect())
    };
    PERCENTILES.into_iter().map(line).collect()
}

fn cdf(samples: &[Sample]) -> Vec<Line> {
    let mut by_target: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for sample in answered(samples) {
        let milliseconds = sample.latency.as_secs_f64() * 1e3;
        by_target.entry(&sample.target).or_default().push(milliseconds);
    }
    let line = |(name, mut times): (&str, Vec<f64>)| {
        times.sort_by(f64::total_cmp);
        let points = times.len().min(CDF_POINTS);
        let share = |point: usize| point as f64 / points as f64;
        let at = |point: usize| (percentile(&times, share(point)), share(point) * 100.0);
        (name.to_owned(), (1..=points).map(at).collect())
    };
    by_target.into_iter().map(line).collect()
}

/// Each sample with the second it belongs to, from zero.
fn with_second(seconds: Seconds, samples: &[Sample]) -> impl Iterator<Item = (u64, &Sample)> {
    let begin = samples.iter().map(|sample| sample.due).min();
    samples.iter().enumerate().map(move |(index, sample)| {
        let second = match (seconds, begin) {
            (Seconds::Blocks(block), _) => (index / block) as u64,
            (Seconds::Due, Some(begin)) => sample.due.duration_since(begin).as_secs().unsigned_abs(),
            (Seconds::Due, None) => 0,
        };
        (second, sample)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::samples;

    #[test]
    fn codes_are_counted_a_second_and_none_is_zero() {
        // Ten a second.
        let mut of = vec![(200, 1); 10];
        of.extend([(429, 1); 5]);
        let lines = lines(Kind::Codes, Seconds::Due, &samples(&of));
        let seen: Vec<_> = lines.iter().map(|line| (line.0.as_str(), &line.1[..])).collect();
        assert_eq!(
            seen,
            [
                ("200", &[(0.0, 10.0), (1.0, 0.0)][..]),
                ("429", &[(0.0, 0.0), (1.0, 5.0)][..])
            ]
        );
    }

    #[test]
    fn a_block_of_requests_can_be_a_second() {
        let lines = lines(Kind::ServedBy, Seconds::Blocks(2), &samples(&[(200, 1); 5]));
        assert_eq!(lines[0].1, [(0.0, 2.0), (1.0, 2.0), (2.0, 1.0)]);
    }

    #[test]
    fn percentiles_leave_out_who_had_no_answer() {
        let lines = lines(
            Kind::Latency,
            Seconds::Due,
            &samples(&[(200, 10), (0, 9_000), (200, 30)]),
        );
        let at: Vec<_> = lines.iter().map(|line| line.1[0].1).collect();
        assert_eq!(at, [10.0, 30.0, 30.0]);
    }

    #[test]
    fn a_cdf_ends_at_everything() {
        let lines = lines(Kind::Cdf, Seconds::Due, &samples(&[(200, 10), (200, 20)]));
        assert_eq!(lines[0].1, [(10.0, 50.0), (20.0, 100.0)]);
    }
}
