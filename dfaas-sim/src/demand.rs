//! When users come: rates over time, and arrivals that follow them.

use std::sync::Arc;

use crate::random::Random;

/// How far ahead an arrival is looked for where there is none, in seconds. Beyond, the search goes on later.
const LOOK_AHEAD_S: f64 = 60.0;

/// A rate over time, in requests per second.
#[derive(Debug, Clone)]
pub enum Rate {
    /// Evenly spaced requests.
    Even(f64),
    /// Always the same.
    Constant(f64),
    /// Another one from a time on.
    Step {
        /// Before.
        from_rps: f64,
        /// Afterwards.
        to_rps: f64,
        /// When it changes.
        at_s: f64,
    },
    /// Up to a peak and down again; low before and after.
    Triangle {
        /// Before, after.
        low_rps: f64,
        /// At the peak.
        high_rps: f64,
        /// When it begins to rise.
        start_s: f64,
        /// When it is highest.
        peak_s: f64,
        /// When it is low again.
        end_s: f64,
    },
    /// A sine over a day, lowest at its beginning.
    Diurnal {
        /// The mean.
        mean_rps: f64,
        /// How far it strays from the mean, as a share of it.
        amplitude: f64,
        /// The length of the day.
        day_s: f64,
    },
    /// High and low in turn, each for an exponentially distributed time.
    Bursty {
        /// Between bursts.
        low_rps: f64,
        /// Within a burst.
        high_rps: f64,
        /// The mean time between bursts.
        low_s: f64,
        /// The mean length of a burst.
        high_s: f64,
    },
    /// A recorded rate for each step of time, zero behind the last.
    Trace {
        /// Requests per second.
        rates_rps: Arc<[f64]>,
        /// How long each holds.
        step_s: f64,
    },
}

/// The arrivals of one demand.
#[derive(Debug, Clone)]
pub struct Arrivals {
    rate: Rate,
    until_s: f64,
    begin_s: f64,
    now_s: f64,
    count: u64,
    /// For bursty demand: whether it is high, and until when it stays as it is.
    phase: (bool, f64),
    random: Random,
}

impl Rate {
    /// The rate at a time since the demand began; for bursty demand its mean.
    pub fn at(&self, time_s: f64) -> f64 {
        match *self {
            Self::Even(rps) | Self::Constant(rps) => rps,
            Self::Step {
                from_rps,
                to_rps,
                at_s,
            } => {
                if time_s < at_s {
                    from_rps
                } else {
                    to_rps
                }
            }
            Self::Triangle {
                low_rps,
                high_rps,
                start_s,
                peak_s,
                end_s,
            } => {
                let height = if time_s < start_s || time_s >= end_s {
                    0.0
                } else if time_s < peak_s {
                    (time_s - start_s) / (peak_s - start_s)
                } else {
                    (end_s - time_s) / (end_s - peak_s)
                };
                low_rps + (high_rps - low_rps) * height
            }
            Self::Diurnal {
                mean_rps,
                amplitude,
                day_s,
            } => mean_rps * (1.0 - amplitude * libm::cos(std::f64::consts::TAU * time_s / day_s)),
            Self::Bursty {
                low_rps,
                high_rps,
                low_s,
                high_s,
            } => (low_rps * low_s + high_rps * high_s) / (low_s + high_s),
            Self::Trace {
                ref rates_rps,
                step_s,
            } => rates_rps.get((time_s / step_s) as usize).copied().unwrap_or(0.0),
        }
    }

    /// The highest it ever is.
    fn most(&self) -> f64 {
        match *self {
            Self::Even(rps) | Self::Constant(rps) => rps,
            Self::Step { from_rps, to_rps, .. } => from_rps.max(to_rps),
            Self::Triangle {
                low_rps, high_rps, ..
            }
            | Self::Bursty {
                low_rps, high_rps, ..
            } => low_rps.max(high_rps),
            Self::Diurnal {
                mean_rps, amplitude, ..
            } => mean_rps * (1.0 + amplitude),
            Self::Trace { ref rates_rps, .. } => rates_rps.iter().copied().fold(0.0, f64::max),
        }
    }
}

impl Arrivals {
    /// Arrivals between two times.
    pub fn new(rate: Rate, begin_s: f64, until_s: f64, random: Random) -> Self {
        Self {
            rate,
            until_s,
            begin_s,
            now_s: begin_s,
            count: 0,
            phase: (true, begin_s),
            random,
        }
    }

    /// The time of the next one, or nothing if there is none any more.
    pub fn next_s(&mut self) -> Option<f64> {
        let next = match self.rate {
            Rate::Even(rps) => self.next_even(rps),
            Rate::Constant(_)
            | Rate::Step { .. }
            | Rate::Triangle { .. }
            | Rate::Diurnal { .. }
            | Rate::Bursty { .. }
            | Rate::Trace { .. } => self.next_random(),
        };
        next.filter(|&at| at < self.until_s)
    }

    /// Multiplied, not summed up, so that no rounding adds up.
    fn next_even(&mut self, rps: f64) -> Option<f64> {
        let at = self.begin_s + self.count as f64 / rps;
        self.count += 1;
        (rps > 0.0).then_some(at)
    }

    /// By thinning (Lewis and Shedler 1979): of arrivals at the highest rate, each counts by its chance.
    fn next_random(&mut self) -> Option<f64> {
        let most = self.rate.most();
        if most <= 0.0 {
            return None;
        }
        while self.now_s < self.until_s {
            let gap_s = (self.random.exponential() / most).min(LOOK_AHEAD_S);
            let is_arrival = gap_s < LOOK_AHEAD_S;
            self.now_s += gap_s;
            let rate = self.rate_now();
            if self.random.chance(rate / most) && is_arrival {
                return Some(self.now_s);
            }
        }
        None
    }

    fn rate_now(&mut self) -> f64 {
        let Rate::Bursty {
            low_rps,
            high_rps,
            low_s,
            high_s,
        } = self.rate
        else {
            return self.rate.at(self.now_s - self.begin_s);
        };
        while self.phase.1 <= self.now_s {
            self.phase.0 = !self.phase.0;
            let mean_s = if self.phase.0 { high_s } else { low_s };
            self.phase.1 += mean_s * self.random.exponential();
        }
        if self.phase.0 { high_rps } else { low_rps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    #[test]
    fn even_arrivals_are_evenly_spaced() {
        let mut arrivals = arrivals(Rate::Even(10.0));
        let first: Vec<f64> = (0..3).filter_map(|_| arrivals.next_s()).collect();
        assert_eq!(first, [0.0, 0.1, 0.2]);
    }

    #[test]
    fn counts_follow_the_rate() {
        check(Rate::Even(20.0), 0.0, 100.0, 2_000);
        check(Rate::Constant(20.0), 0.0, 100.0, 2_000);
        let step = Rate::Step {
            from_rps: 0.0,
            to_rps: 40.0,
            at_s: 50.0,
        };
        check(step.clone(), 0.0, 50.0, 0);
        check(step, 50.0, 100.0, 2_000);
        let triangle = Rate::Triangle {
            low_rps: 0.0,
            high_rps: 40.0,
            start_s: 0.0,
            peak_s: 50.0,
            end_s: 100.0,
        };
        check(triangle.clone(), 0.0, 50.0, 1_000);
        check(triangle, 0.0, 100.0, 2_000);
        let day = Rate::Diurnal {
            mean_rps: 20.0,
            amplitude: 1.0,
            day_s: 100.0,
        };
        check(day, 0.0, 100.0, 2_000);
        let trace = Rate::Trace {
            rates_rps: [10.0, 30.0].into(),
            step_s: 25.0,
        };
        check(trace.clone(), 0.0, 25.0, 250);
        check(trace.clone(), 25.0, 50.0, 750);
        check(trace, 50.0, 100.0, 0);
    }

    #[test]
    fn bursty_demand_has_its_mean_and_more_than_its_variance() {
        let rate = Rate::Bursty {
            low_rps: 0.0,
            high_rps: 40.0,
            low_s: 1.0,
            high_s: 1.0,
        };
        assert_eq!(rate.at(0.0), 20.0);
        let mut arrivals = Arrivals::new(rate, 0.0, 2_000.0, Random::new(1, Purpose::Demand(0)));
        let mut seconds = vec![0.0; 2_000];
        while let Some(at) = arrivals.next_s() {
            seconds[at as usize] += 1.0;
        }
        let mean = seconds.iter().sum::<f64>() / 2_000.0;
        let variance = seconds.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 2_000.0;
        assert!((mean - 20.0).abs() < 2.0, "{mean}");
        assert!(variance > 3.0 * mean, "{variance}");
    }

    #[test]
    fn no_rate_brings_nobody() {
        assert_eq!(arrivals(Rate::Even(0.0)).next_s(), None);
        assert_eq!(arrivals(Rate::Constant(0.0)).next_s(), None);
    }

    /// Counts arrivals within a time; the want is met within four standard deviations.
    #[track_caller]
    fn check(rate: Rate, from_s: f64, to_s: f64, want: usize) {
        let mut arrivals = arrivals(rate);
        let times: Vec<f64> = std::iter::from_fn(|| arrivals.next_s()).collect();
        assert!(times.is_sorted());
        let got = times.iter().filter(|&&at| (from_s..to_s).contains(&at)).count();
        let tolerance = 4.0 * (want as f64).sqrt();
        assert!(got.abs_diff(want) as f64 <= tolerance, "{got}, not {want}");
    }

    fn arrivals(rate: Rate) -> Arrivals {
        Arrivals::new(rate, 0.0, 100.0, Random::new(1, Purpose::Demand(0)))
    }
}
