//! How far nodes are from each other, as all of them see it, and who sends to whom.

use std::collections::BTreeMap;

use crate::message::NodeState;
use crate::names::NodeId;
use crate::rtt_band::RttBand;

/// The band of each pair of nodes, and beyond all where nothing is sent. Nodes are numbered.
///
/// Nodes that are equally far from everybody are alike, and decisions look at them together: with a thousand nodes
/// there are a million pairs, but only as many kinds of nodes as there are sites.
#[derive(Debug, Default)]
pub(super) struct Distances {
    count: usize,
    /// By sender, then receiver.
    bands: Vec<RttBand>,
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
        let mut told: Vec<Option<RttBand>> = vec![None; count * count];
        for (a, (_, state)) in live.iter().enumerate() {
            // Both are in the order of ids.
            let mut bands = state.bands.iter().peekable();
            for (b, (id, _)) in live.iter().enumerate() {
                while bands.next_if(|(named, _)| named < id).is_some() {}
                let Some((_, &band)) = bands.next_if(|(named, _)| named == id) else {
                    continue;
                };
                for at in [a * count + b, b * count + a] {
                    told[at] = told[at].max(Some(band));
                }
            }
        }
        let bands = told.into_iter().map(|band| band.unwrap_or(RttBand::FARTHEST));
        let mut bands: Vec<RttBand> = bands.collect();
        for (row, (_, state)) in bands.chunks_mut(count.max(1)).zip(live) {
            if state.scope.is_everyone() {
                continue;
            }
            for (band, (id, _)) in row.iter_mut().zip(live) {
                if !state.scope.includes(id) {
                    *band = RttBand::BEYOND;
                }
            }
        }
        Self::new(count, bands)
    }

    pub(super) fn new(count: usize, mut bands: Vec<RttBand>) -> Self {
        for i in 0..count {
            // A node's distance to itself is of no use but to make neighbours alike.
            let others = bands[i * count..][..count].iter().enumerate();
            let nearest = others.filter(|&(j, _)| i != j).map(|(_, &band)| band).min();
            bands[i * count + i] = nearest.unwrap_or(RttBand::FARTHEST);
        }
        let mut senders = vec![0; count];
        for (i, row) in bands.chunks(count.max(1)).enumerate() {
            for (j, &band) in row.iter().enumerate() {
                senders[j] += usize::from(i != j && band != RttBand::BEYOND);
            }
        }
        let mut first = BTreeMap::new();
        let like = (0..count).map(|i| *first.entry(&bands[i * count..][..count]).or_insert(i));
        let like: Vec<usize> = like.collect();
        let is_whole = senders.iter().all(|&senders| senders + 1 == count);
        let firsts = first.into_values().filter(|_| !is_whole);
        let reach = firsts.map(|i| (i, reach_of(&bands[i * count..][..count])));
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
        sender != receiver && self.bands[sender * self.count + receiver] != RttBand::BEYOND
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
        let bands = &self.bands[node * self.count..][..self.count];
        let is_there = |&other: &usize| bands[other] == band;
        if self.is_whole {
            return of.iter().copied().filter(is_there).collect();
        }
        // Of thousands, a node reaches a few.
        let there = self.reach(node).iter().copied().filter(is_there);
        there.filter(|other| of.binary_search(other).is_ok()).collect()
    }
}

/// Among alike nodes, this one is another one's neighbour, so it is left in.
fn reach_of(bands: &[RttBand]) -> Vec<usize> {
    let open = (0..bands.len()).filter(|&other| bands[other] != RttBand::BEYOND);
    let mut reach: Vec<usize> = open.collect();
    reach.sort_by_key(|&other| (bands[other], other));
    reach
}
