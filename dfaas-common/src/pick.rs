//! The weighted choice of a target: a table of slots, filled in proportion to the weights, read in O(1).

use crate::maps::FALLBACKS;

/// How many slots a function's row has: a power of two, so that a draw is a mask, and enough that each of a thousand
/// peers has one.
pub const SLOTS: usize = 1_024;

/// The target index that stands for this node itself.
pub const SELF: u16 = 0;

/// The target index of a draw that this node serves itself, whatever its local limit: beyond all peers' indices.
pub const HERE: u16 = u16::MAX;

/// The slot of the `draw`-th request.
///
/// Neighbouring draws lie far apart (the stride is odd, so every slot is met once in [`SLOTS`] draws): a run of
/// requests is spread as evenly as the weights allow, with less variance than a random draw.
#[inline(always)]
#[must_use]
pub const fn slot(draw: u32) -> usize {
    const STRIDE: u32 = 633;
    (draw.wrapping_mul(STRIDE) as usize) & (SLOTS - 1)
}

/// Fills a row with target indices in proportion to their weights, by largest remainder (Hamilton's method).
///
/// Targets without a positive weight get no slot. A row without any weight holds [`SELF`] only.
#[must_use]
pub fn fill(weights: &[(u16, f64)]) -> [u16; SLOTS] {
    fill_from(weights.iter().copied())
}

/// As [`fill`], from weights that do not lie side by side.
#[must_use]
pub fn fill_from(weights: impl Iterator<Item = (u16, f64)> + Clone) -> [u16; SLOTS] {
    let mut row = [SELF; SLOTS];
    let total: f64 = weights.clone().map(|(_, weight)| positive(weight)).sum();
    if total <= 0.0 {
        return row;
    }
    let mut next = 0;
    let mut owed = 0.0;
    for (target, weight) in weights {
        owed += positive(weight) / total * SLOTS as f64;
        // Rounding the running sum hands out each slot once and errs by less than one slot a target.
        let end = ((owed + 0.5) as usize).min(SLOTS);
        while next < end {
            row[next] = target;
            next += 1;
        }
    }
    row
}

/// The targets to try when those drawn are full, from routes in the order of preference.
#[must_use]
pub fn fallbacks(routes: &[(u16, f64)]) -> [u16; FALLBACKS] {
    let mut targets = [SELF; FALLBACKS];
    for (place, &(target, _)) in targets.iter_mut().zip(routes) {
        *place = target;
    }
    targets
}

fn positive(weight: f64) -> f64 {
    if weight.is_finite() && weight > 0.0 {
        weight
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn no_weight_means_no_target() {
        assert_eq!(fill(&[]), [SELF; SLOTS]);
        assert_eq!(fill(&[(3, 0.0), (4, f64::NAN), (5, -1.0)]), [SELF; SLOTS]);
    }

    #[test]
    fn a_single_target_has_every_slot() {
        assert_eq!(fill(&[(7, 0.1)]), [7; SLOTS]);
    }

    #[test]
    fn every_slot_is_drawn_once_a_round() {
        let mut drawn = [0; SLOTS];
        for draw in 0..SLOTS as u32 {
            drawn[slot(draw)] += 1;
        }
        assert_eq!(drawn, [1; SLOTS]);
    }

    #[test]
    fn a_short_run_keeps_the_proportion() {
        let row = fill(&[(1, 0.4), (2, 0.6)]);
        for start in 0..SLOTS as u32 {
            let ones = (start..start + 40).filter(|&draw| row[slot(draw)] == 1).count();
            assert!((14..=18).contains(&ones), "{ones} of 40 from {start}");
        }
    }

    proptest! {
        #[test]
        fn shares_are_kept_to_within_one_slot(weights in proptest::collection::vec(0.0f64..1.0, 1..20)) {
            let weights: Vec<(u16, f64)> = (1..).zip(weights).collect();
            let total: f64 = weights.iter().map(|&(_, weight)| weight).sum();
            prop_assume!(total > 0.001);
            let row = fill(&weights);
            for (target, weight) in weights {
                let got = row.iter().filter(|&&slot| slot == target).count() as f64;
                let want = weight / total * SLOTS as f64;
                prop_assert!((got - want).abs() <= 1.0 + 1e-6, "{target}: {got}, not {want}");
            }
        }
    }
}
