//! How far nodes are from each other, as all of them see it.

use std::collections::BTreeMap;

use crate::message::NodeState;
use crate::names::NodeId;
use crate::rtt_band::RttBand;

/// The band of each pair of nodes. Nodes are numbered.
///
/// Nodes that are equally far from everybody are alike, and decisions look at them together: with a thousand nodes
/// there are a million pairs, but only as many kinds of nodes as there are sites.
#[derive(Debug, Default)]
pub(super) struct Distances {
    count: usize,
    /// By node, then node.
    bands: Vec<RttBand>,
    /// The first node that is like this one.
    like: Vec<usize>,
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
        Self::new(count, bands.collect())
    }

    pub(super) fn new(count: usize, mut bands: Vec<RttBand>) -> Self {
        for i in 0..count {
            // A node's distance to itself is of no use but to make neighbours alike.
            let others = bands[i * count..][..count].iter().enumerate();
            let nearest = others.filter(|&(j, _)| i != j).map(|(_, &band)| band).min();
            bands[i * count + i] = nearest.unwrap_or(RttBand::FARTHEST);
        }
        let mut first = BTreeMap::new();
        let like = (0..count).map(|i| *first.entry(&bands[i * count..][..count]).or_insert(i));
        Self {
            like: like.collect(),
            count,
            bands,
        }
    }

    /// The first node that is like this one.
    pub(super) fn like(&self, node: usize) -> usize {
        self.like[node]
    }

    /// Which of these nodes are in such a band of this one.
    pub(super) fn within(&self, node: usize, band: RttBand, of: &[usize]) -> Vec<usize> {
        let bands = &self.bands[node * self.count..][..self.count];
        of.iter().copied().filter(|&other| bands[other] == band).collect()
    }
}
