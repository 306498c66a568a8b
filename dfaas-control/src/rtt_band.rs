//! Coarse round-trip times, so that small changes do not move traffic.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Upper bounds of the bands but the last. Each is four times the one before: a rack, a site, a region, a
/// continent, the rest. Inside a band, a difference in latency is not worth an uneven load.
const UPPER_BOUNDS_MS: [f64; 4] = [2.0, 8.0, 32.0, 128.0];
/// How far beyond its band a round-trip time must be to leave it, so that jitter at a bound does not move traffic.
const HYSTERESIS: f64 = 1.25;

/// A class of round-trip times; smaller is nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "u64", into = "u8")]
pub(crate) struct RttBand(u8);

impl RttBand {
    /// The band of everything far away and of everything not measured: who wants to be near must show it.
    pub(crate) const FARTHEST: Self = Self(UPPER_BOUNDS_MS.len() as u8);

    /// The band, beyond all, of whom nothing is sent to, however near it is.
    pub(crate) const BEYOND: Self = Self(Self::FARTHEST.0 + 1);

    /// The band of a round-trip time, given the band it was in before.
    pub(crate) fn of(rtt: Duration, previous: Option<Self>) -> Self {
        let rtt_ms = rtt.as_secs_f64() * 1e3;
        match previous {
            Some(band) if band.nearly_holds(rtt_ms) => band,
            _ => Self::at(rtt_ms),
        }
    }

    /// All bands within which something is sent, nearest first.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..=Self::FARTHEST.0).map(Self)
    }

    /// What two nodes say of the distance between them: the farther, but nothing said is nothing.
    pub(crate) fn agreed(self, other: Self) -> Self {
        if self == Self::FARTHEST {
            other
        } else if other == Self::FARTHEST {
            self
        } else {
            self.max(other)
        }
    }

    /// The number that stands for it in messages.
    pub(crate) const fn number(self) -> u8 {
        self.0
    }

    fn at(rtt_ms: f64) -> Self {
        Self(
            UPPER_BOUNDS_MS
                .iter()
                .take_while(|&&bound| rtt_ms >= bound)
                .count() as u8,
        )
    }

    fn nearly_holds(self, rtt_ms: f64) -> bool {
        Self::at(rtt_ms * HYSTERESIS) >= self && Self::at(rtt_ms / HYSTERESIS) <= self
    }
}

impl From<u64> for RttBand {
    /// Whoever knows more bands than this node has them beyond the last.
    fn from(number: u64) -> Self {
        u8::try_from(number).map_or(Self::FARTHEST, |number| Self(number.min(Self::FARTHEST.0)))
    }
}

impl From<RttBand> for u8 {
    fn from(band: RttBand) -> u8 {
        band.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_grow_with_the_round_trip_time() {
        check(0.1, None, 0);
        check(1.99, None, 0);
        check(2.0, None, 1);
        check(31.9, None, 2);
        check(128.0, None, 4);
        check(9000.0, None, 4);
    }

    #[test]
    fn jitter_at_a_bound_does_not_change_the_band() {
        check(2.4, Some(0), 0);
        check(2.6, Some(0), 1);
        check(1.7, Some(1), 1);
        check(1.5, Some(1), 0);
        check(90.0, Some(0), 3);
    }

    #[track_caller]
    fn check(rtt_ms: f64, previous: Option<u8>, want: u8) {
        assert_eq!(
            RttBand::of(Duration::from_secs_f64(rtt_ms / 1e3), previous.map(RttBand)),
            RttBand(want)
        );
    }
}
