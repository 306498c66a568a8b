//! How far nodes are from each other, as all of them see it, and who sends to whom.

use std::collections::{BTreeMap, HashMap};

use crate::message::NodeState;
use crate::names::NodeId;
use crate::neighbourhood::Scope;
use crate::rtt_band::RttBand;

/// The band of each pair of nodes, and beyond all where nothing is sent. Nodes are numbered.
///
/// Nodes that are equally far from everybody are alike, and decisions look at them together: with a thousand nodes
/// there are a million pairs, but only as many kinds of nodes as there are sites.
#[derive(Debug, Default)]
pub(crate) struct Distances {
    count: usize,
    /// By sender, then receiver: as bytes, which are compared many at a time.
    bands: Vec<u8>,
    /// The first node that is like this one.
    like: Vec<usize>,
    /// How many other nodes send to each.
    senders: Vec<usize>,
    /// Whether everybody sends to everybody.
    is_whole: bool,
    /// Where this is not so: the receivers of each first node, nearest first.
    reach: BTreeMap<usize, Vec<usize>>,
}

impl Distances {
    /// What these nodes, in the order of their ids, have told: what both of two say, or one; if they differ, the
    /// farther.
    pub(super) fn told(live: &[(&NodeId, &NodeState)]) -> Self {
        let count = live.len();
        let numbers: HashMap<&NodeId, usize> = live.iter().map(|&(id, _)| id).zip(0..).collect();
        let usual: Vec<RttBand> = live.iter().map(|(_, state)| state.band).collect();
        let named = |state: &NodeState| -> Vec<(usize, RttBand)> {
            let named = state.bands.iter();
            named
                .filter_map(|(id, &band)| Some((*numbers.get(id)?, band)))
                .collect()
        };
        let named: Vec<Vec<(usize, RttBand)>> = live.iter().map(|(_, state)| named(state)).collect();
        let said = |by: usize, of: usize| {
            let at = named[by].binary_search_by_key(&of, |&(other, _)| other);
            at.map_or(usual[by], |at| named[by][at].1)
        };
        // Most pairs are as far as neither has named; a million look-ups would take longer than all else.
        let mut told: Vec<RttBand> = Vec::with_capacity(count * count);
        for (a, &band) in usual.iter().enumerate() {
            if a > 0 && band == usual[a - 1] {
                told.extend_from_within((a - 1) * count..);
            } else {
                told.extend(usual.iter().map(|&other| band.agreed(other)));
            }
        }
        for (a, named) in named.iter().enumerate() {
            for &(b, band) in named {
                let agreed = band.agreed(said(b, a));
                told[a * count + b] = agreed;
                told[b * count + a] = agreed;
            }
        }
        for (a, (_, state)) in live.iter().enumerate() {
            for b in outside(&state.scope, live) {
                told[a * count + b] = RttBand::BEYOND;
            }
            for &b in state.unreachable.iter().filter_map(|id| numbers.get(id)) {
                told[a * count + b] = RttBand::BEYOND;
            }
            for b in outside(&state.admitted, live) {
                told[a * count + b] = RttBand::BEYOND;
                told[b * count + a] = RttBand::BEYOND;
            }
        }
        Self::new(count, told.into_iter().map(u8::from).collect())
    }

    /// So many nodes, of which one is as far from another as any, where it sends there at all.
    pub(crate) fn equal(count: usize, sends: impl Fn(usize, usize) -> bool) -> Self {
        let band = |sender: usize, receiver: usize| {
            if sender == receiver || sends(sender, receiver) {
                RttBand::FARTHEST.number()
            } else {
                BEYOND
            }
        };
        let pairs = (0..count).flat_map(|sender| (0..count).map(move |receiver| (sender, receiver)));
        Self::new(
            count,
            pairs.map(|(sender, receiver)| band(sender, receiver)).collect(),
        )
    }

    fn new(count: usize, mut bands: Vec<u8>) -> Self {
        let is_whole = !bands.contains(&BEYOND);
        let mut senders = vec![if is_whole { count.saturating_sub(1) } else { 0 }; count];
        for (i, row) in bands.chunks_mut(count.max(1)).enumerate() {
            let (before, behind) = row.split_at_mut(i);
            let (own, behind) = behind.split_first_mut().expect("a row has a place for its node");
            // A node's distance to itself is of no use but to make neighbours alike.
            let nearest = before.iter().chain(behind.iter()).min();
            *own = nearest.copied().unwrap_or_else(|| RttBand::FARTHEST.into());
            if !is_whole {
                for (j, &band) in row.iter().enumerate() {
                    senders[j] += usize::from(i != j && band != BEYOND);
                }
            }
        }
        let mut first = BTreeMap::new();
        let rows = bands.chunks(count.max(1)).enumerate();
        let like: Vec<usize> = rows.map(|(i, row)| *first.entry(row).or_insert(i)).collect();
        let firsts = first.into_iter().filter(|_| !is_whole);
        let reach = firsts.map(|(row, i)| (i, reach_of(row)));
        Self {
            like,
            is_whole,
            reach: reach.collect(),
            count,
            bands,
            senders,
        }
    }

    /// Whether everybody sends to everybody.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether one of two nodes sends to the other.
    pub(super) fn is_open(&self, sender: usize, receiver: usize) -> bool {
        sender != receiver && (self.is_whole || self.row(sender)[receiver] != BEYOND)
    }

    /// To whom such a node sends, nearest first, and maybe itself.
    pub(super) fn reach(&self, sender: usize) -> &[usize] {
        self.reach.get(&self.like[sender]).map_or(&[], Vec::as_slice)
    }

    /// How many nodes send to this one.
    pub(super) fn senders(&self, node: usize) -> usize {
        self.senders[node]
    }

    /// The first node that is like this one.
    pub(super) fn like(&self, node: usize) -> usize {
        self.like[node]
    }

    /// Which of these nodes, given in order, are in such a band of this one.
    pub(super) fn within(&self, node: usize, band: RttBand, of: &[usize]) -> Vec<usize> {
        let (row, band) = (self.row(node), u8::from(band));
        let is_there = |&other: &usize| row[other] == band;
        if self.is_whole {
            return of.iter().copied().filter(is_there).collect();
        }
        // Of thousands, a node reaches a few.
        let there = self.reach(node).iter().copied().filter(is_there);
        there.filter(|other| of.binary_search(other).is_ok()).collect()
    }

    fn row(&self, node: usize) -> &[u8] {
        &self.bands[node * self.count..][..self.count]
    }
}

/// The numbers of those that are not in a scope.
fn outside(scope: &Scope, live: &[(&NodeId, &NodeState)]) -> impl Iterator<Item = usize> {
    let live = if scope.is_everyone() { &[] } else { live };
    let outside = live.iter().enumerate().filter(|(_, (id, _))| !scope.includes(id));
    outside.map(|(number, _)| number)
}

const BEYOND: u8 = RttBand::BEYOND.number();

/// Among alike nodes, this one is another one's neighbour, so it is left in.
fn reach_of(row: &[u8]) -> Vec<usize> {
    let mut reach: Vec<usize> = (0..row.len()).filter(|&other| row[other] != BEYOND).collect();
    reach.sort_by_key(|&other| (row[other], other));
    reach
}

#[cfg(test)]
impl Distances {
    /// Bands by sender, then receiver.
    pub(super) fn of(count: usize, bands: Vec<RttBand>) -> Self {
        Self::new(count, bands.into_iter().map(u8::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_farther_counts_where_two_disagree_and_a_word_more_than_none() {
        let (far, unsaid) = (band(2), RttBand::FARTHEST);
        for (a_says, b_says, want) in [
            (band(1), far, far),
            (band(1), unsaid, band(1)),
            (unsaid, unsaid, unsaid),
        ] {
            let a = state(unsaid, &[("b", a_says)]);
            let b = state(b_says, &[]);
            check(&[("a", &a), ("b", &b)], want);
        }
    }

    #[test]
    fn who_is_not_named_is_as_far_as_the_others() {
        let a = state(band(0), &[("c", band(3))]);
        check(&[("a", &a), ("b", &state(band(0), &[]))], band(0));
        // Whom the sender has not measured it names as unsaid, and the other's word counts.
        let a = state(band(0), &[("b", RttBand::FARTHEST)]);
        check(&[("a", &a), ("b", &state(band(1), &[]))], band(1));
    }

    #[test]
    fn nodes_of_a_site_are_alike() {
        let states: Vec<NodeState> = (0..4)
            .map(|i| {
                let others = (0..4).filter(|&j| j / 2 == i / 2 && j != i);
                let names: Vec<String> = others.map(|j| format!("n{j}")).collect();
                let near: Vec<(&str, RttBand)> = names.iter().map(|name| (name.as_str(), band(0))).collect();
                state(band(3), &near)
            })
            .collect();
        let names: Vec<NodeId> = (0..4).map(|i| id(&format!("n{i}"))).collect();
        let distances = Distances::told(&names.iter().zip(&states).collect::<Vec<_>>());
        let like: Vec<usize> = (0..4).map(|node| distances.like(node)).collect();
        assert_eq!(like, [0, 0, 2, 2]);
        assert_eq!(distances.within(0, band(3), &[1, 2, 3]), [2, 3]);
    }

    #[track_caller]
    fn check(nodes: &[(&str, &NodeState)], want: RttBand) {
        let ids: Vec<NodeId> = nodes.iter().map(|(name, _)| id(name)).collect();
        let live: Vec<_> = ids.iter().zip(nodes.iter().map(|&(_, state)| state)).collect();
        let distances = Distances::told(&live);
        for (a, b) in [(0, 1), (1, 0)] {
            assert_eq!(distances.within(a, want, &[b]), [b]);
        }
    }

    fn state(band: RttBand, bands: &[(&str, RttBand)]) -> NodeState {
        NodeState {
            version: (1, 1),
            service: "10.0.0.1:80".parse().unwrap(),
            period: Duration::from_secs(1),
            functions: BTreeMap::new(),
            band,
            bands: bands.iter().map(|&(name, band)| (id(name), band)).collect(),
            scope: Scope::default(),
            admitted: Scope::default(),
            unreachable: BTreeSet::new(),
        }
    }

    fn band(number: u64) -> RttBand {
        RttBand::from(number)
    }

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }
}
