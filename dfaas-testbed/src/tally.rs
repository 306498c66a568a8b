//! What became of many requests.

use std::{collections::BTreeMap, time::Duration};

use crate::load::{Outcome, Sample};

/// What became of many requests.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How many were sent.
    pub sent: u64,
    /// How many were answered with each status code.
    pub status: BTreeMap<u16, u64>,
    /// How many were not answered, by reason.
    pub lost: BTreeMap<String, u64>,
    /// How many each node answered.
    pub served_by: BTreeMap<String, u64>,
    /// The same for each second since the load's start, by when the requests were sent.
    pub seconds: Vec<Second>,
    /// When the first answer of another node came, after the load's start.
    pub first_elsewhere: Option<Duration>,
    home: String,
    latencies: Vec<Duration>,
    failures: Vec<Duration>,
}

/// What became of the requests that were sent within a second.
#[derive(Clone, Debug, Default)]
pub struct Second {
    /// How many were sent.
    pub sent: u64,
    /// How many were answered with 200.
    pub ok: u64,
    /// How many each node answered with 200.
    pub served_by: BTreeMap<String, u64>,
}

impl Tally {
    /// Of requests to this node.
    pub fn new(home: &str) -> Self {
        Self {
            home: home.to_owned(),
            ..Self::default()
        }
    }

    /// Of these requests to this node.
    pub fn of(home: &str, samples: &[Sample]) -> Self {
        let mut tally = Self::new(home);
        tally.add(samples);
        tally
    }

    /// Adds requests.
    pub fn add(&mut self, samples: &[Sample]) {
        samples.iter().for_each(|sample| self.add_one(sample));
    }

    fn add_one(&mut self, sample: &Sample) {
        self.sent += 1;
        let second = usize::try_from(sample.sent.as_secs()).unwrap_or(usize::MAX);
        if self.seconds.len() <= second {
            self.seconds.resize_with(second + 1, Second::default);
        }
        self.seconds[second].sent += 1;
        match &sample.outcome {
            Outcome::Answered { status, served_by } => {
                self.add_answer(sample, second, *status, served_by.as_deref())
            }
            Outcome::Lost(reason) => {
                *self.lost.entry(reason.clone()).or_default() += 1;
                self.failures.push(sample.sent);
            }
        }
    }

    fn add_answer(&mut self, sample: &Sample, second: usize, status: u16, served_by: Option<&str>) {
        *self.status.entry(status).or_default() += 1;
        self.latencies.push(sample.latency);
        if status != 200 {
            self.failures.push(sample.sent);
            return;
        }
        self.seconds[second].ok += 1;
        let Some(node) = served_by else { return };
        *self.served_by.entry(node.to_owned()).or_default() += 1;
        *self.seconds[second].served_by.entry(node.to_owned()).or_default() += 1;
        if node != self.home {
            let at = sample.sent + sample.latency;
            self.first_elsewhere = Some(self.first_elsewhere.map_or(at, |first| first.min(at)));
        }
    }

    /// How many were answered with 200.
    pub fn ok(&self) -> u64 {
        self.status.get(&200).copied().unwrap_or(0)
    }

    /// How many were not answered.
    pub fn lost(&self) -> u64 {
        self.lost.values().sum()
    }

    /// How many that were sent later than this were not answered with 200.
    pub fn failed_after(&self, start: Duration) -> usize {
        self.failures.iter().filter(|sent| **sent >= start).count()
    }

    /// The latency that this share of the answers, in hundredths, did not exceed.
    pub fn percentile(&self, hundredths: usize) -> Option<Duration> {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * hundredths).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied()
    }

    /// How many requests a second a node answered with 200, from one second to before another.
    pub fn rate_of(&self, node: &str, seconds: std::ops::Range<usize>) -> f64 {
        let chosen = self.seconds.get(seconds).unwrap_or_default();
        let answers: u64 = chosen
            .iter()
            .filter_map(|second| second.served_by.get(node))
            .sum();
        #[expect(clippy::cast_precision_loss, reason = "counts of a test run are small")]
        let rate = answers as f64 / chosen.len().max(1) as f64;
        rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_second_and_node() {
        let tally = Tally::of(
            "node1",
            &[
                answered(0, 10, 200, "node1"),
                answered(900, 20, 200, "node2"),
                answered(1100, 30, 503, ""),
                Sample {
                    outcome: Outcome::Lost("reset".to_owned()),
                    ..answered(2500, 0, 0, "")
                },
            ],
        );
        assert_eq!((tally.sent, tally.ok(), tally.lost()), (4, 2, 1));
        assert_eq!(tally.first_elsewhere, Some(Duration::from_millis(920)));
        assert_eq!(tally.seconds.len(), 3);
        assert!((tally.rate_of("node1", 0..2) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn failures_count_from_the_moment_given() {
        let tally = Tally::of(
            "x",
            &[
                answered(1999, 1, 503, ""),
                answered(2000, 1, 503, ""),
                answered(3000, 1, 200, ""),
            ],
        );
        assert_eq!(tally.failed_after(Duration::from_secs(2)), 1);
        assert_eq!(tally.failed_after(Duration::ZERO), 2);
    }

    #[test]
    fn percentiles_are_of_what_was_seen() {
        let samples: Vec<Sample> = (1..=100).map(|ms| answered(0, ms, 200, "x")).collect();
        let tally = Tally::of("x", &samples);
        assert_eq!(tally.percentile(50), Some(Duration::from_millis(50)));
        assert_eq!(tally.percentile(99), Some(Duration::from_millis(99)));
        assert_eq!(Tally::new("x").percentile(50), None);
    }

    fn answered(sent_ms: u64, latency_ms: u64, status: u16, node: &str) -> Sample {
        let served_by = (!node.is_empty()).then(|| node.to_owned());
        Sample {
            sent: Duration::from_millis(sent_ms),
            latency: Duration::from_millis(latency_ms),
            outcome: Outcome::Answered { status, served_by },
        }
    }
}
