//! When requests are due: pieces of time with rates that are constant or change evenly.

use std::time::Duration;

use rand_core::Rng as _;
use rand_pcg::Pcg64Mcg;

/// A piece of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Phase {
    /// How long it is, in seconds; more than zero.
    pub(crate) seconds: f64,
    /// Requests a second at its begin.
    pub(crate) from_rps: f64,
    /// Requests a second at its end.
    pub(crate) to_rps: f64,
}

/// How requests lie within a rate.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Arrivals {
    /// At equal distances.
    #[default]
    Constant,
    /// Independent of each other: exponential distances (a Poisson process).
    Poisson,
}

/// The times at which requests of a target are due, in order.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    phases: Vec<Phase>,
    /// Where the present phase begins.
    begin_seconds: f64,
    /// How many requests of the present phase lie before the next one; a fraction too.
    count: f64,
    at: usize,
    random: Option<Pcg64Mcg>,
}

impl Phase {
    /// A piece of time with one rate.
    pub(crate) fn constant(seconds: f64, rate_rps: f64) -> Self {
        Self {
            seconds,
            from_rps: rate_rps,
            to_rps: rate_rps,
        }
    }

    /// How many requests it has, a fraction too.
    fn count(&self) -> f64 {
        self.seconds * (self.from_rps + self.to_rps) / 2.0
    }

    /// When `count` requests of it have been due, in seconds after its begin.
    fn time_of(&self, count: f64) -> f64 {
        if count <= 0.0 {
            return 0.0;
        }
        let slope = (self.to_rps - self.from_rps) / self.seconds;
        if slope.abs() < 1e-9 {
            return count / self.from_rps;
        }
        // The count at time t is from·t + slope·t²/2.
        let root = (self.from_rps * self.from_rps + 2.0 * slope * count)
            .max(0.0)
            .sqrt();
        2.0 * count / (self.from_rps + root)
    }
}

impl Schedule {
    /// Requests by phases; `seed` is for what is random.
    pub(crate) fn new(phases: Vec<Phase>, arrivals: Arrivals, seed: u64) -> Self {
        let random = match arrivals {
            Arrivals::Constant => None,
            Arrivals::Poisson => Some(Pcg64Mcg::new(u128::from(seed) << 64 | 0xd1b5_4a32_d192_ed03)),
        };
        let mut schedule = Self {
            phases,
            begin_seconds: 0.0,
            count: 0.0,
            at: 0,
            random,
        };
        if schedule.random.is_some() {
            schedule.count = schedule.distance();
        }
        schedule
    }

    /// How long all phases take.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.phases.iter().map(|phase| phase.seconds).sum())
    }

    /// How many requests are expected in all.
    pub(crate) fn expected(&self) -> f64 {
        self.phases.iter().map(Phase::count).sum()
    }

    /// How far the next request is, counted in requests of the rate that is then.
    fn distance(&mut self) -> f64 {
        match &mut self.random {
            None => 1.0,
            Some(random) => {
                // A number of (0, 1], of 53 bits.
                let uniform = ((random.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
                -uniform.ln()
            }
        }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        loop {
            let phase = *self.phases.get(self.at)?;
            // What lies less than a millionth of a request before the end belongs to the next phase: 0.1 · 10 is no whole number.
            if self.count < phase.count() - 1e-6 {
                let due = self.begin_seconds + phase.time_of(self.count);
                self.count += self.distance();
                return Some(Duration::from_secs_f64(due));
            }
            self.count = (self.count - phase.count()).max(0.0);
            self.begin_seconds += phase.seconds;
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_constant_rate_is_due_at_equal_distances() {
        let due: Vec<_> = constant(&[Phase::constant(0.4, 10.0)]);
        assert_eq!(due, [0, 100, 200, 300]);
    }

    #[test]
    fn phases_follow_each_other() {
        let due = constant(&[
            Phase::constant(1.0, 2.0),
            Phase::constant(1.0, 0.0),
            Phase::constant(0.5, 4.0),
        ]);
        assert_eq!(due, [0, 500, 2000, 2250]);
    }

    #[test]
    fn a_ramp_has_the_mean_of_its_rates() {
        let ramp = Phase {
            seconds: 10.0,
            from_rps: 0.0,
            to_rps: 20.0,
        };
        let due = constant(&[ramp]);
        assert_eq!(due.len(), 100);
        // The count at half of the time is a quarter.
        assert_eq!(due.iter().filter(|&&at| at < 5_000).count(), 25);
    }

    #[test]
    fn a_falling_ramp_ends_at_its_end() {
        let ramp = Phase {
            seconds: 10.0,
            from_rps: 20.0,
            to_rps: 0.0,
        };
        let due = constant(&[ramp]);
        assert_eq!((due.len(), due[0]), (100, 0));
        assert!(due[99] < 10_000, "{}", due[99]);
    }

    #[test]
    fn random_arrivals_have_the_rate_and_follow_the_seed() {
        let of = |seed| -> Vec<_> {
            Schedule::new(vec![Phase::constant(100.0, 100.0)], Arrivals::Poisson, seed).collect()
        };
        // Ten thousand are expected; five standard deviations are 500.
        assert!((9_500..10_500).contains(&of(1).len()), "{}", of(1).len());
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    proptest! {
        #[test]
        fn requests_are_in_order_and_within_their_phases(
            phases in proptest::collection::vec((0.1_f64..5.0, 0.0_f64..50.0, 0.0_f64..50.0), 1..6),
            is_random in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let phases: Vec<_> = phases.into_iter().map(|(seconds, from_rps, to_rps)| Phase { seconds, from_rps, to_rps }).collect();
            let arrivals = if is_random { Arrivals::Poisson } else { Arrivals::Constant };
            let schedule = Schedule::new(phases, arrivals, seed);
            let (end, expected) = (schedule.duration(), schedule.expected());
            let due: Vec<_> = schedule.collect();
            prop_assert!(due.is_sorted());
            prop_assert!(due.iter().all(|&at| at <= end));
            if !is_random {
                prop_assert!((due.len() as f64 - expected).abs() <= 1.0 + 1e-3, "{} of {expected}", due.len());
            }
        }
    }

    fn constant(phases: &[Phase]) -> Vec<u128> {
        Schedule::new(phases.to_vec(), Arrivals::Constant, 0)
            .map(|due| due.as_millis())
            .collect()
    }
}
