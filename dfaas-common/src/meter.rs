//! The token bucket as a virtual scheduling algorithm: one time stamp is all its state.
//!
//! ITU-T I.371, annex A (generic cell rate algorithm): a request conforms unless it comes earlier than its
//! theoretical arrival time less the tolerance.

/// A rate limit. It is policy, written by the agent; the state it meters against is a time in [`crate::maps::Locked`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Limit {
    /// Nanoseconds between two requests at the limit's rate. 0 admits nothing, [`u64::MAX`] everything.
    pub interval_ns: u64,
    /// How far ahead of its schedule a request may come, in nanoseconds.
    pub tolerance_ns: u64,
    /// Index of the bucket in the map `BUCKETS`.
    pub bucket: u32,
    /// Keeps the layout free of padding.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Limit>() == 24);

impl Limit {
    /// Admits nothing.
    pub const NONE: Self = Self {
        interval_ns: 0,
        tolerance_ns: 0,
        bucket: 0,
        reserved: 0,
    };
    /// Admits everything.
    pub const UNLIMITED: Self = Self {
        interval_ns: u64::MAX,
        tolerance_ns: 0,
        bucket: 0,
        reserved: 0,
    };

    /// Whether it admits everything.
    #[inline(always)]
    #[must_use]
    pub const fn is_unlimited(&self) -> bool {
        self.interval_ns == u64::MAX
    }

    /// A limit of `rate_rps` requests per second that lets `burst` requests come at once (at least one).
    ///
    /// A rate that is not a positive number admits nothing; an infinite one admits everything.
    #[must_use]
    pub fn new(rate_rps: f64, burst: f64, bucket: u32) -> Self {
        if rate_rps.is_nan() || rate_rps <= 0.0 {
            return Self { bucket, ..Self::NONE };
        }
        if rate_rps.is_infinite() {
            return Self {
                bucket,
                ..Self::UNLIMITED
            };
        }
        let interval_ns = (1e9 / rate_rps).clamp(1.0, 1e18);
        let tolerance_ns = (interval_ns * (burst - 1.0).max(0.0)).min(1e18);
        // Both are between 0 and 1e18, so the conversions are exact but for the fraction.
        Self {
            interval_ns: interval_ns as u64,
            tolerance_ns: tolerance_ns as u64,
            bucket,
            reserved: 0,
        }
    }
}

/// Admits a request at `now_ns` against a bucket whose theoretical arrival time is `arrival_ns`.
///
/// Returns the bucket's new state if the request conforms.
#[inline(always)]
#[must_use]
pub const fn admit(arrival_ns: u64, now_ns: u64, limit: &Limit) -> Option<u64> {
    if limit.interval_ns == 0 {
        return None;
    }
    if limit.is_unlimited() {
        return Some(arrival_ns);
    }
    let start_ns = if arrival_ns > now_ns { arrival_ns } else { now_ns };
    if start_ns - now_ns > limit.tolerance_ns {
        return None;
    }
    Some(start_ns + limit.interval_ns)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_passes_a_limit_of_nothing() {
        for rate_rps in [0.0, -1.0, f64::NAN] {
            assert_eq!(admit(0, 5, &Limit::new(rate_rps, 10.0, 0)), None);
        }
    }

    #[test]
    fn everything_passes_an_infinite_limit() {
        let limit = Limit::new(f64::INFINITY, 1.0, 3);
        assert_eq!(admit(7, 5, &limit), Some(7));
        assert_eq!(limit.bucket, 3);
    }

    #[test]
    fn a_full_bucket_gives_its_burst_at_once() {
        check(10.0, 3.0, &[0, 0, 0, 0], &[true, true, true, false]);
    }

    #[test]
    fn a_token_returns_after_one_interval() {
        check(10.0, 1.0, &[0, 99_999_999, 100_000_000], &[true, false, true]);
    }

    #[test]
    fn a_refused_request_takes_no_token() {
        check(
            10.0,
            1.0,
            &[0, 1, 2, 3, 100_000_000],
            &[true, false, false, false, true],
        );
    }

    proptest! {
        #[test]
        fn no_window_sees_more_than_rate_and_burst(
            rate_rps in 0.5f64..5_000.0,
            burst in 1.0f64..50.0,
            gaps_ns in proptest::collection::vec(0u64..50_000_000, 1..400),
        ) {
            let limit = Limit::new(rate_rps, burst, 0);
            let (mut now_ns, mut arrival_ns, mut admitted) = (1_000_000_000u64, 0u64, 0u64);
            let start_ns = now_ns;
            for gap_ns in gaps_ns {
                now_ns += gap_ns;
                if let Some(next_ns) = admit(arrival_ns, now_ns, &limit) {
                    arrival_ns = next_ns;
                    admitted += 1;
                }
            }
            let most = (now_ns - start_ns) / limit.interval_ns + limit.tolerance_ns / limit.interval_ns + 2;
            prop_assert!(admitted <= most, "{admitted} > {most}");
        }
    }

    #[track_caller]
    fn check(rate_rps: f64, burst: f64, times_ns: &[u64], want: &[bool]) {
        let limit = Limit::new(rate_rps, burst, 0);
        let mut arrival_ns = 0;
        for (index, (&now_ns, &want)) in times_ns.iter().zip(want).enumerate() {
            let got = admit(arrival_ns, now_ns, &limit);
            assert_eq!(got.is_some(), want, "request {index} at {now_ns} ns");
            arrival_ns = got.unwrap_or(arrival_ns);
        }
    }
}
