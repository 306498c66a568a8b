//! Medians and their spread.

/// The median of several rounds, and the least and greatest of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Median {
    pub(crate) value: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

impl Median {
    /// Nothing if there are no values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, greatest) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let value = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self {
            value,
            least,
            greatest,
        })
    }

    /// The median of the ratios of each round, which is less noisy than the ratio of the medians.
    pub(crate) fn of_ratios(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        Self::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
    }

    /// The median of the differences of each round.
    pub(crate) fn of_differences(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        Self::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours - theirs))
    }
}

/// The value below which so many thousandths of sorted values lie, by nearest rank.
pub(crate) fn quantile(sorted: &[u64], permille: usize) -> u64 {
    let rank = (sorted.len() * permille).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_have_a_spread() {
        check(&[], None);
        check(&[3.0], Some((3.0, 3.0, 3.0)));
        check(&[9.0, 1.0, 5.0], Some((5.0, 1.0, 9.0)));
        check(&[4.0, 1.0, 3.0, 2.0], Some((2.5, 1.0, 4.0)));
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        // The machine was half as fast in the second round: the ratio was the same.
        let ratio = Median::of_ratios(&[8.0, 4.0, 9.0], &[10.0, 5.0, 10.0]).unwrap();
        assert_eq!((ratio.value, ratio.least, ratio.greatest), (0.8, 0.8, 0.9));
        let difference = Median::of_differences(&[8.0, 4.0], &[5.0, 5.0]).unwrap();
        assert_eq!((difference.least, difference.greatest), (-1.0, 3.0));
    }

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let values: Vec<u64> = (1..=1000).collect();
        assert_eq!(quantile(&values, 500), 500);
        assert_eq!(quantile(&values, 990), 990);
        assert_eq!(quantile(&values, 999), 999);
        assert_eq!(quantile(&values[..10], 990), 10);
        assert_eq!(quantile(&[7], 0), 7);
        assert_eq!(quantile(&[], 500), 0);
    }

    #[track_caller]
    fn check(values: &[f64], want: Option<(f64, f64, f64)>) {
        let median = Median::of(values.iter().copied());
        assert_eq!(
            median.map(|median| (median.value, median.least, median.greatest)),
            want
        );
    }
}
