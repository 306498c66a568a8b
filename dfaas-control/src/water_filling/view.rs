//! The states of all live nodes as one node sees them, and what follows for it.

use std::collections::BTreeMap;

use crate::message::NodeState;
use crate::names::{FunctionName, NodeId};
use crate::policy::{FunctionPolicy, Peer, Route, Trust};
use crate::rtt_band::RttBand;
use crate::water_filling::allocation::{Allocation, Load, RATE_RPS_MIN};

/// The states of all live nodes in the order of their ids, the viewer's published one among them.
#[derive(Debug)]
pub(super) struct View<'a> {
    live: Vec<(&'a NodeId, &'a NodeState)>,
    /// The position of the viewer; absent until it has published.
    me: Option<usize>,
    /// By node, then node.
    bands: Vec<RttBand>,
}

impl<'a> View<'a> {
    pub(super) fn new(
        peers: impl Iterator<Item = (&'a NodeId, &'a NodeState)>,
        own: Option<(&'a NodeId, &'a NodeState)>,
    ) -> Self {
        let live: Vec<_> = peers.chain(own).collect::<BTreeMap<_, _>>().into_iter().collect();
        let me = own.and_then(|(own, _)| live.iter().position(|&(id, _)| id == own));
        let bands = live
            .iter()
            .flat_map(|&a| live.iter().map(move |&b| band_between(a, b)));
        Self {
            me,
            bands: bands.collect(),
            live,
        }
    }

    pub(super) fn peers(&self) -> BTreeMap<NodeId, Peer> {
        let peers = self
            .live
            .iter()
            .enumerate()
            .filter(|&(index, _)| Some(index) != self.me);
        peers
            .map(|(_, &(id, state))| {
                (
                    id.clone(),
                    Peer {
                        service: state.service,
                        trust: Trust::default(),
                    },
                )
            })
            .collect()
    }

    /// What the viewer sends to others and admits from them for a function.
    pub(super) fn exchange(&self, name: &FunctionName) -> FunctionPolicy {
        let Some(me) = self.me else {
            return FunctionPolicy::default();
        };
        let loads: Vec<Load> = self.live.iter().map(|(_, state)| load(state, name)).collect();
        let allocation = Allocation::new(&loads, |i, j| self.bands[i * loads.len() + j]);
        FunctionPolicy {
            routes: self.routes(&allocation, me),
            admit: self.admissions(&allocation, me),
            ..FunctionPolicy::default()
        }
    }

    /// Where the viewer sends its excess: by what is placed; if nothing is, by its stand-by credit.
    fn routes(&self, allocation: &Allocation, me: usize) -> BTreeMap<NodeId, Route> {
        let placed = |j: usize| allocation.placed_rps(me, j);
        let cap = |j: usize| allocation.cap_rps(me, j);
        let usable: Vec<usize> = (0..self.live.len()).filter(|&j| cap(j) >= RATE_RPS_MIN).collect();
        let placed_total: f64 = usable.iter().map(|&j| placed(j)).sum();
        let cap_total: f64 = usable.iter().map(|&j| cap(j)).sum();
        let weight = |j| {
            if placed_total > 0.0 {
                placed(j) / placed_total
            } else {
                cap(j) / cap_total
            }
        };
        let route = |j| Route {
            weight: weight(j),
            cap_rps: cap(j),
        };
        usable
            .into_iter()
            .map(|j| (self.live[j].0.clone(), route(j)))
            .collect()
    }

    /// What the viewer admits: exactly what the others compute as their caps.
    fn admissions(&self, allocation: &Allocation, me: usize) -> BTreeMap<NodeId, f64> {
        let caps = self
            .live
            .iter()
            .enumerate()
            .map(|(i, &(id, _))| (id, allocation.cap_rps(i, me)));
        caps.filter(|&(_, cap)| cap >= RATE_RPS_MIN)
            .map(|(id, cap)| (id.clone(), cap))
            .collect()
    }
}

/// The band of two nodes: what both say, or one; if they differ, the farther.
fn band_between(a: (&NodeId, &NodeState), b: (&NodeId, &NodeState)) -> RttBand {
    let told = [a.1.bands.get(b.0), b.1.bands.get(a.0)];
    told.into_iter()
        .flatten()
        .max()
        .copied()
        .unwrap_or(RttBand::FARTHEST)
}

fn load(state: &NodeState, name: &FunctionName) -> Load {
    let function = state.functions.get(name).copied().unwrap_or_default();
    Load {
        capacity_rps: function.capacity_rps,
        demand_rps: function.demand_rps,
    }
}
