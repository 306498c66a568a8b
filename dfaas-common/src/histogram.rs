//! Log-linear histograms of durations: four bins an octave, so a bin is at most 25 % wide.

/// How many bins a histogram has; the last one takes everything longer.
pub const BINS: usize = 128;

const FIRST_OCTAVE: u32 = 10;
const BINS_PER_OCTAVE: u32 = 4;

/// The bin of a duration. Bin 0 holds everything below 1.024 us.
#[inline(always)]
#[must_use]
pub const fn bin(duration_ns: u64) -> usize {
    if duration_ns < 1 << FIRST_OCTAVE {
        return 0;
    }
    let octave = log2(duration_ns);
    let quarter = (duration_ns >> (octave - 2)) & 3;
    let bin = ((octave - FIRST_OCTAVE) as u64) * BINS_PER_OCTAVE as u64 + quarter + 1;
    if bin >= BINS as u64 {
        BINS - 1
    } else {
        bin as usize
    }
}

/// The upper bound of a bin in nanoseconds; the last bin has none and returns [`u64::MAX`].
#[must_use]
pub const fn upper_bound_ns(bin: usize) -> u64 {
    if bin >= BINS - 1 {
        return u64::MAX;
    }
    if bin == 0 {
        return 1 << FIRST_OCTAVE;
    }
    let octave = FIRST_OCTAVE + (bin as u32 - 1) / BINS_PER_OCTAVE;
    let quarter = (bin as u64 - 1) % BINS_PER_OCTAVE as u64;
    (1 << octave) + ((quarter + 1) << (octave - 2))
}

/// The whole part of the binary logarithm, by halving: the BPF target has no instruction for it.
#[inline(always)]
const fn log2(value: u64) -> u32 {
    let mut rest = value;
    let mut log = 0;
    let mut step = 32;
    while step > 0 {
        if rest >> step != 0 {
            rest >>= step;
            log += step;
        }
        step /= 2;
    }
    log
}

/// The duration below which `share` (0 to 1) of what was counted lies, in nanoseconds, or `None` if nothing was.
#[must_use]
pub fn quantile_ns(bins: &[u64; BINS], share: f64) -> Option<u64> {
    let total: u64 = bins.iter().sum();
    if total == 0 {
        return None;
    }
    let rank = (share.clamp(0.0, 1.0) * total as f64).max(1.0);
    let mut seen = 0u64;
    for (index, count) in bins.iter().enumerate() {
        seen += count;
        if seen as f64 >= rank {
            return Some(upper_bound_ns(index));
        }
    }
    Some(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bins_meet_without_gap_or_overlap() {
        for index in 0..BINS - 2 {
            let bound_ns = upper_bound_ns(index);
            assert_eq!(bin(bound_ns - 1), index);
            assert_eq!(bin(bound_ns), index + 1);
        }
    }

    #[test]
    fn the_extremes_have_a_bin() {
        assert_eq!(bin(0), 0);
        assert_eq!(bin(u64::MAX), BINS - 1);
    }

    #[test]
    fn quantiles_of_a_known_set() {
        let mut bins = [0; BINS];
        assert_eq!(quantile_ns(&bins, 0.5), None);
        bins[bin(2_000_000)] = 99;
        bins[bin(900_000_000)] = 1;
        let median_ns = quantile_ns(&bins, 0.5).unwrap();
        assert!((2_000_000..2_500_000).contains(&median_ns), "{median_ns}");
        assert!(quantile_ns(&bins, 1.0).unwrap() > 900_000_000);
    }

    proptest! {
        #[test]
        fn a_duration_lies_below_its_bound_and_within_a_quarter(duration_ns in 1_024u64..60_000_000_000) {
            let bound_ns = upper_bound_ns(bin(duration_ns));
            prop_assert!(duration_ns < bound_ns);
            prop_assert!(bound_ns - duration_ns <= duration_ns / 4 + 1);
        }
    }
}
