//! What users ask for, estimated from counts.
//!
//! The estimate is the mean over the last three periods, so that the 49, 50, 51 of a steady load do not move
//! traffic. A count that chance does not explain makes it forget the past: at the end of a period either way, and
//! between (a surge) only upwards, because an overload costs refused requests while a lull costs nothing.

use std::collections::VecDeque;
use std::time::Duration;

/// How many periods the mean covers; with it, any change is fully seen after so many periods.
const WINDOW_PERIODS: u32 = 3;
/// A count of random arrivals strays by three standard deviations once in 370 periods.
const CHANGE_SIGMAS: f64 = 3.0;
/// For two samples between, of which there are many.
const SURGE_SIGMAS: f64 = 4.0;
/// For each of the two: a batch of requests sent at once fills only one, and is not a higher rate.
const SURGE_EACH_SIGMAS: f64 = 2.0;

/// Estimates the rate of one function's user requests.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    samples: VecDeque<Sample>,
    pending: u64,
    /// Time since the last surge. After one, none is looked for within the window, so that a load that comes in
    /// batches cannot make the estimate jump all the time.
    since_surge: Option<Duration>,
    /// Whether the rate changed somewhere within the last period, which then tells neither the old nor the new one.
    changed_within: bool,
    /// The newest service time seen.
    pub(crate) service_time_p95: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    count: u64,
    elapsed: Duration,
}

impl Meter {
    /// Adds requests that arrived since the last sample was closed.
    pub(crate) fn add(&mut self, count: u64) {
        self.pending = self.pending.saturating_add(count);
    }

    /// Ends a sample that lasted `elapsed` and tells whether it shows a surge.
    pub(crate) fn close_sample(&mut self, elapsed: Duration, period: Duration) -> bool {
        let window = period * WINDOW_PERIODS;
        self.samples.push_back(Sample {
            count: std::mem::take(&mut self.pending),
            elapsed,
        });
        self.since_surge = self
            .since_surge
            .map(|time| time + elapsed)
            .filter(|&time| time < window);
        let mut span = total(self.samples.iter()).elapsed;
        // Reads come late by a little; a twentieth keeps a raster of equal samples from growing by one.
        while let Some(oldest) = self.samples.front()
            && span > oldest.elapsed
            && span - oldest.elapsed >= window - period / 20
        {
            span -= oldest.elapsed;
            self.samples.pop_front();
        }
        self.since_surge.is_none() && self.forget_before_surge()
    }

    /// Ends a period: forgets what was before it if the rate has changed.
    pub(crate) fn close_period(&mut self, period: Duration) {
        let mut span = Duration::ZERO;
        let newest = self.samples.iter().rev().take_while(|sample| {
            let inside = span < period - period / 20;
            span += sample.elapsed;
            inside
        });
        let split = self.samples.len() - newest.count();
        let old = total(self.samples.range(..split));
        let new = total(self.samples.range(split..));
        let changed = split > 0 && strays(old, new, CHANGE_SIGMAS);
        if changed || self.changed_within {
            self.samples.drain(..split);
        }
        self.changed_within = changed;
    }

    /// The rate in requests per second, to three digits, so that it looks the same to all after any detour by text.
    pub(crate) fn rate_rps(&self) -> f64 {
        let all = total(self.samples.iter());
        if all.elapsed.is_zero() {
            0.0
        } else {
            to_milli(all.count as f64 / all.elapsed.as_secs_f64())
        }
    }

    fn forget_before_surge(&mut self) -> bool {
        let Some(split) = self.samples.len().checked_sub(2) else {
            return false;
        };
        let old = total(self.samples.range(..split));
        let (first, second) = (self.samples[split], self.samples[split + 1]);
        let rises =
            |sample: Sample| strays(old, sample, SURGE_EACH_SIGMAS) && sample.rate_rps() > old.rate_rps();
        let both = total(self.samples.range(split..));
        if !(rises(first) && rises(second) && strays(old, both, SURGE_SIGMAS)) {
            return false;
        }
        // The surge may have begun in the middle of the first sample.
        let keep_from = if strays(first, second, CHANGE_SIGMAS) {
            split + 1
        } else {
            split
        };
        self.samples.drain(..keep_from);
        self.since_surge = Some(Duration::ZERO);
        self.changed_within = false;
        true
    }
}

impl Sample {
    fn rate_rps(self) -> f64 {
        if self.elapsed.is_zero() {
            0.0
        } else {
            self.count as f64 / self.elapsed.as_secs_f64()
        }
    }
}

/// Rounds a rate to thousandths, which any JSON library reads back as the same number.
pub(crate) fn to_milli(rate_rps: f64) -> f64 {
    (rate_rps * 1e3).round() / 1e3
}

fn total<'a>(samples: impl Iterator<Item = &'a Sample>) -> Sample {
    samples.fold(Sample::default(), |sum, sample| Sample {
        count: sum.count.saturating_add(sample.count),
        elapsed: sum.elapsed + sample.elapsed,
    })
}

/// Tells whether chance does not explain the difference between two counts of Poisson arrivals.
fn strays(old: Sample, new: Sample, sigmas: f64) -> bool {
    let ratio = if old.elapsed.is_zero() {
        0.0
    } else {
        new.elapsed.as_secs_f64() / old.elapsed.as_secs_f64()
    };
    let expected = old.count as f64 * ratio;
    let variance = (expected * (1.0 + ratio)).max(1.0);
    (new.count as f64 - expected).powi(2) > sigmas * sigmas * variance
}

#[cfg(test)]
mod tests;
