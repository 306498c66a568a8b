use proptest::prelude::*;

use super::*;
use crate::rtt_band::RttBand;

/// Sums of rates up to 1e4 are exact to better than this.
const TOLERANCE_RPS: f64 = 1e-4;

#[test]
fn deficits_that_fit_are_placed_whole_in_proportion_to_surplus() {
    // The reference's first scenario: 50/0/0 on capacities of 10/20/30.
    let allocation = same_band(&[(10.0, 50.0), (20.0, 0.0), (30.0, 0.0)]);
    near(allocation.placed_rps(0, 1), 16.0);
    near(allocation.placed_rps(0, 2), 24.0);
    near(allocation.stand_by_rps(0, 1), 2.0);
    near(allocation.stand_by_rps(2, 1), 2.0);
    near(allocation.cap_rps(0, 2), 27.0);
}

#[test]
fn deficits_that_do_not_fit_share_max_min_fairly() {
    let allocation = same_band(&[(0.0, 5.0), (0.0, 100.0), (0.0, 200.0), (65.0, 0.0)]);
    near(allocation.cap_rps(0, 3), 5.0);
    near(allocation.cap_rps(1, 3), 30.0);
    near(allocation.cap_rps(2, 3), 30.0);
}

#[test]
fn without_deficits_the_surplus_is_stand_by_credit() {
    let allocation = same_band(&[(10.0, 0.0), (20.0, 0.0), (30.0, 0.0)]);
    near(allocation.cap_rps(0, 1), 10.0);
    near(allocation.cap_rps(0, 2), 15.0);
    near(allocation.cap_rps(1, 0), 5.0);
    near(allocation.cap_rps(1, 1), 0.0);
}

#[test]
fn nearest_surplus_is_used_first() {
    let loads = loads(&[(0.0, 30.0), (20.0, 0.0), (20.0, 0.0)]);
    let allocation = Whole::new(&loads, |i, j| band(if i + j == 2 { 0 } else { 3 }));
    near(allocation.placed_rps(0, 2), 20.0);
    near(allocation.placed_rps(0, 1), 10.0);
}

#[test]
fn a_contested_near_receiver_is_divided_and_the_rest_goes_far() {
    // Both senders are near to the first receiver only.
    let loads = loads(&[(0.0, 10.0), (0.0, 30.0), (20.0, 0.0), (100.0, 0.0)]);
    let allocation = Whole::new(&loads, |i, j| band(if i.max(j) == 2 { 0 } else { 4 }));
    // Asked for 10 and 20, the near receiver gives two thirds of each.
    near(allocation.placed_rps(0, 2), 20.0 / 3.0);
    near(allocation.placed_rps(1, 2), 40.0 / 3.0);
    near(allocation.placed_rps(0, 3), 10.0 / 3.0);
    near(allocation.placed_rps(1, 3), 50.0 / 3.0);
}

#[test]
fn a_node_alone_has_nobody_to_send_to() {
    near(same_band(&[(10.0, 50.0)]).cap_rps(0, 0), 0.0);
    near(same_band(&[(10.0, 5.0)]).cap_rps(0, 0), 0.0);
}

proptest! {
    #[test]
    fn nobody_is_sent_more_than_its_surplus(case in case()) {
        let allocation = case.allocate();
        for (j, load) in case.loads.iter().enumerate() {
            let sum: f64 = (0..case.loads.len()).map(|i| allocation.cap_rps(i, j)).sum();
            prop_assert!(sum <= load.surplus_rps() + TOLERANCE_RPS, "{sum} to {j}");
        }
    }

    #[test]
    fn all_is_placed_that_can_be(case in case()) {
        let deficits: f64 = case.loads.iter().map(|load| load.deficit_rps()).sum();
        let surplus: f64 = case.loads.iter().map(|load| load.surplus_rps()).sum();
        let placed: f64 = case.placed().iter().sum();
        prop_assert!((placed - deficits.min(surplus)).abs() < TOLERANCE_RPS, "{placed} placed");
    }

    #[test]
    fn shares_of_what_is_scarce_are_max_min_fair(case in case()) {
        let placed = case.placed();
        for (load, &got) in case.loads.iter().zip(&placed) {
            prop_assert!(got <= load.deficit_rps() + TOLERANCE_RPS);
            let short = got < load.deficit_rps() - TOLERANCE_RPS;
            let best = placed.iter().copied().fold(0.0, f64::max);
            prop_assert!(!short || got >= best - TOLERANCE_RPS, "{placed:?}");
        }
    }

    #[test]
    fn what_one_may_send_the_other_admits_to_the_last_bit(case in case()) {
        let allocation = case.allocate();
        let nodes = 0..case.loads.len();
        for (i, j) in nodes.clone().flat_map(|i| nodes.clone().map(move |j| (i, j))) {
            prop_assert_eq!(allocation.caps[i][j], allocation.admitted[j][i]);
        }
    }

    #[test]
    fn nothing_goes_far_while_something_near_is_left(case in case()) {
        let allocation = case.allocate();
        let nodes = 0..case.loads.len();
        for (i, j, near) in nodes.clone().flat_map(|i| nodes.clone().map(move |j| (i, j))).flat_map(|(i, j)| nodes.clone().map(move |k| (i, j, k))) {
            let used = allocation.placed_rps(i, j) > TOLERANCE_RPS && case.band(i, near) < case.band(i, j);
            prop_assert!(!used || allocation.left(near) < TOLERANCE_RPS, "{i} uses {j} though {near} has room");
        }
    }

    #[test]
    fn numbering_does_not_matter(case in case(), turn in 0usize..8) {
        let count = case.loads.len();
        let renumbered = |i: usize| (i + turn) % count;
        let turned = Case {
            loads: (0..count).map(|i| case.loads[renumbered(i)]).collect(),
            bands: (0..count).map(|i| (0..count).map(|j| case.bands[renumbered(i)][renumbered(j)]).collect()).collect(),
            open: case.open.clone(),
        };
        let (one, other) = (case.allocate(), turned.allocate());
        for (i, j) in (0..count).flat_map(|i| (0..count).map(move |j| (i, j))) {
            let difference = one.cap_rps(renumbered(i), renumbered(j)) - other.cap_rps(i, j);
            prop_assert!(difference.abs() < TOLERANCE_RPS, "{i} to {j} differs by {difference}");
        }
    }
}

#[test]
fn in_a_chain_the_excess_goes_to_the_next_only() {
    let chain = |i: usize, j: usize| {
        if i.abs_diff(j) <= 1 {
            RttBand::FARTHEST
        } else {
            RttBand::BEYOND
        }
    };
    let allocation = Whole::new(&loads(&[(10.0, 50.0), (20.0, 0.0), (30.0, 0.0)]), chain);
    near(allocation.placed_rps(0, 1), 20.0);
    near(allocation.cap_rps(0, 2), 0.0);
    // The last one's surplus is stand-by credit for whom it is a neighbour of.
    near(allocation.cap_rps(1, 2), 30.0);
}

#[test]
fn neighbours_may_be_so_in_one_direction() {
    let one_way = |i: usize, _: usize| {
        if i == 0 {
            RttBand::FARTHEST
        } else {
            RttBand::BEYOND
        }
    };
    let there = Whole::new(&loads(&[(0.0, 5.0), (20.0, 0.0)]), one_way);
    near(there.cap_rps(0, 1), 20.0);
    let back = Whole::new(&loads(&[(20.0, 0.0), (0.0, 5.0)]), one_way);
    near(back.cap_rps(1, 0), 0.0);
}

#[test]
fn who_has_another_neighbour_makes_room_for_who_has_none() {
    // The first sender reaches only the first receiver, the second one reaches both, and prefers the first.
    let to = |i: usize, j: usize| match (i, j) {
        (0, 2) | (1, 2) => band(0),
        (1, 3) => band(1),
        _ => RttBand::BEYOND,
    };
    let allocation = Whole::new(&loads(&[(0.0, 20.0), (0.0, 20.0), (20.0, 0.0), (20.0, 0.0)]), to);
    near(allocation.placed_rps(0, 2), 20.0);
    near(allocation.placed_rps(1, 2), 0.0);
    near(allocation.placed_rps(1, 3), 20.0);
}

#[test]
fn nodes_that_see_all_others_alike_may_be_each_others_neighbours() {
    let to = |_: usize, j: usize| if j == 0 { RttBand::BEYOND } else { band(0) };
    let allocation = Whole::new(&loads(&[(0.0, 0.0), (30.0, 0.0), (0.0, 1.0)]), to);
    near(allocation.placed_rps(2, 1), 1.0);
}

#[test]
fn what_is_out_of_reach_of_one_is_shared_by_the_others() {
    // The first one reaches nobody, and must not count where the others share.
    let to = |i: usize, j: usize| {
        if i == 0 || j == 0 {
            RttBand::BEYOND
        } else {
            band(0)
        }
    };
    let allocation = Whole::new(&loads(&[(0.0, 10.0), (0.0, 100.0), (20.0, 0.0)]), to);
    near(allocation.placed_rps(1, 2), 20.0);
    near(allocation.placed_rps(0, 2), 0.0);
}

proptest! {
    #[test]
    fn with_neighbours_nobody_is_sent_more_than_its_surplus(case in partial()) {
        let allocation = case.allocate();
        for (j, load) in case.loads.iter().enumerate() {
            let sum: f64 = (0..case.loads.len()).map(|i| allocation.cap_rps(i, j)).sum();
            prop_assert!(sum <= load.surplus_rps() + TOLERANCE_RPS, "{sum} to {j}");
        }
        for (load, got) in case.loads.iter().zip(case.placed()) {
            prop_assert!(got <= load.deficit_rps() + TOLERANCE_RPS);
        }
    }

    #[test]
    fn with_neighbours_all_is_placed_that_can_be(case in partial()) {
        let placed: f64 = case.placed().iter().sum();
        let want = case.placeable_rps();
        prop_assert!((placed - want).abs() < TOLERANCE_RPS, "{placed} of {want}");
    }

    #[test]
    fn with_neighbours_caps_are_admissions_to_the_last_bit(case in partial()) {
        let allocation = case.allocate();
        let nodes = 0..case.loads.len();
        for (i, j) in nodes.clone().flat_map(|i| nodes.clone().map(move |j| (i, j))) {
            prop_assert_eq!(allocation.caps[i][j], allocation.admitted[j][i]);
            prop_assert!(allocation.caps[i][j] >= 0.0);
            prop_assert!(case.open[i][j] || allocation.caps[i][j] == 0.0, "{} to {}", i, j);
        }
    }

    #[test]
    fn with_neighbours_nothing_goes_far_while_something_near_is_left(case in partial()) {
        let allocation = case.allocate();
        let nodes = 0..case.loads.len();
        for (i, j, near) in nodes.clone().flat_map(|i| nodes.clone().map(move |j| (i, j))).flat_map(|(i, j)| nodes.clone().map(move |k| (i, j, k))) {
            let used = allocation.placed_rps(i, j) > TOLERANCE_RPS && case.band(i, near) < case.band(i, j);
            prop_assert!(!used || allocation.left(near) < TOLERANCE_RPS, "{i} uses {j} though {near} has room");
        }
    }
}

/// The same allocation as each node sees it, by node.
#[derive(Debug)]
struct Whole {
    placed: Vec<Vec<f64>>,
    caps: Vec<Vec<f64>>,
    admitted: Vec<Vec<f64>>,
    left: Vec<f64>,
}

impl Whole {
    fn new(loads: &[Load], band: impl Fn(usize, usize) -> RttBand) -> Self {
        let nodes = 0..loads.len();
        let bands = nodes.clone().flat_map(|i| nodes.clone().map(move |j| (i, j)));
        let distances = Distances::of(loads.len(), bands.map(|(i, j)| band(i, j)).collect());
        let views: Vec<Allocation<'_>> = nodes
            .clone()
            .map(|viewer| Allocation::new(loads, &distances, viewer))
            .collect();
        let all = |rate: fn(&Allocation<'_>, usize) -> f64| -> Vec<Vec<f64>> {
            let row = |view| nodes.clone().map(|other| rate(view, other)).collect();
            views.iter().map(row).collect()
        };
        Self {
            placed: all(|view, other| view.placed_rps(other)),
            caps: all(|view, other| view.cap_rps(other)),
            admitted: all(|view, other| view.admitted_rps(other)),
            left: views.first().map(|view| view.left.clone()).unwrap_or_default(),
        }
    }

    fn placed_rps(&self, sender: usize, receiver: usize) -> f64 {
        self.placed[sender][receiver]
    }

    fn stand_by_rps(&self, sender: usize, receiver: usize) -> f64 {
        self.cap_rps(sender, receiver) - self.placed_rps(sender, receiver)
    }

    fn cap_rps(&self, sender: usize, receiver: usize) -> f64 {
        self.caps[sender][receiver]
    }

    fn left(&self, node: usize) -> f64 {
        self.left[node]
    }
}

#[derive(Debug)]
struct Case {
    loads: Vec<Load>,
    bands: Vec<Vec<u8>>,
    /// By sender, then receiver: whether the receiver is a neighbour.
    open: Vec<Vec<bool>>,
}

impl Case {
    fn band(&self, i: usize, j: usize) -> RttBand {
        if self.open[i][j] {
            band(self.bands[i.min(j)][i.max(j)])
        } else {
            RttBand::BEYOND
        }
    }

    /// By the min-cut: for each set of senders that are served whole, the rest is cut at its deficits and they at the
    /// surplus that they reach. A different way to the same number.
    fn placeable_rps(&self) -> f64 {
        let count = self.loads.len();
        let cut = |set: usize| -> f64 {
            let is_in = |i: usize| set >> i & 1 == 1;
            let reached = |j: usize| (0..count).any(|i| is_in(i) && i != j && self.open[i][j]);
            let given_up = (0..count)
                .filter(|&i| !is_in(i))
                .map(|i| self.loads[i].deficit_rps());
            let used_up = (0..count)
                .filter(|&j| reached(j))
                .map(|j| self.loads[j].surplus_rps());
            given_up.sum::<f64>() + used_up.sum::<f64>()
        };
        (0..1 << count).map(cut).fold(f64::MAX, f64::min)
    }

    fn allocate(&self) -> Whole {
        Whole::new(&self.loads, |i, j| self.band(i, j))
    }

    fn placed(&self) -> Vec<f64> {
        let allocation = self.allocate();
        let nodes = 0..self.loads.len();
        nodes
            .clone()
            .map(|i| nodes.clone().map(|j| allocation.placed_rps(i, j)).sum())
            .collect()
    }
}

/// Everybody sends to everybody.
fn case() -> impl Strategy<Value = Case> {
    any_case(Just(true))
}

/// Who sends to whom is left to chance.
fn partial() -> impl Strategy<Value = Case> {
    any_case(any::<bool>())
}

fn any_case(is_open: impl Strategy<Value = bool> + Clone) -> impl Strategy<Value = Case> {
    (1usize..8).prop_flat_map(move |count| {
        let rate = prop_oneof![
            Just(0.0),
            (0u32..10_000_000).prop_map(|milli| f64::from(milli) / 1e3)
        ];
        let loads = proptest::collection::vec((rate.clone(), rate), count);
        let bands = proptest::collection::vec(proptest::collection::vec(0u8..5, count), count);
        let open = proptest::collection::vec(proptest::collection::vec(is_open.clone(), count), count);
        (loads, bands, open).prop_map(|(pairs, raw, open)| Case {
            loads: self::loads(&pairs),
            bands: symmetric(&raw),
            open,
        })
    })
}

fn symmetric(raw: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let nodes = 0..raw.len();
    nodes
        .clone()
        .map(|i| nodes.clone().map(|j| raw[i.min(j)][i.max(j)]).collect())
        .collect()
}

fn loads(pairs: &[(f64, f64)]) -> Vec<Load> {
    pairs
        .iter()
        .map(|&(capacity_rps, demand_rps)| Load {
            capacity_rps,
            demand_rps,
        })
        .collect()
}

fn same_band(pairs: &[(f64, f64)]) -> Whole {
    Whole::new(&loads(pairs), |_, _| RttBand::FARTHEST)
}

fn band(value: u8) -> RttBand {
    RttBand::from(u64::from(value))
}

#[track_caller]
fn near(got: f64, want: f64) {
    assert!((got - want).abs() < TOLERANCE_RPS, "got {got}, want {want}");
}
