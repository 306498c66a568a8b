//! The states of all live nodes as one node sees them, and what follows for it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::message::NodeState;
use crate::names::{FunctionName, NodeId};
use crate::policy::{FunctionPolicy, Peer, Route, Trust};
use crate::water_filling::allocation::{Allocation, Load, RATE_RPS_MIN};
use crate::water_filling::distances::Distances;

/// The states of all live nodes in the order of their ids, the viewer's published one among them.
#[derive(Debug)]
pub(super) struct View<'a> {
    live: Vec<(&'a NodeId, &'a NodeState)>,
    /// The position of the viewer; absent until it has published.
    me: Option<usize>,
    distances: &'a Distances,
}

impl<'a> View<'a> {
    /// Takes all states in the order of their ids, and the distances of these nodes.
    pub(super) fn new(
        live: Vec<(&'a NodeId, &'a NodeState)>,
        viewer: &NodeId,
        distances: &'a Distances,
    ) -> Self {
        Self {
            me: live.iter().position(|&(id, _)| id == viewer),
            live,
            distances,
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

    /// What all nodes told about functions: by function, then node.
    pub(super) fn loads(&self, names: &BTreeSet<FunctionName>) -> Vec<Vec<Load>> {
        let mut loads = vec![vec![Load::default(); self.live.len()]; names.len()];
        for (node, (_, state)) in self.live.iter().enumerate() {
            // Both are in the order of names.
            let mut told = state.functions.iter().peekable();
            for (name, loads) in names.iter().zip(&mut loads) {
                while let Some(&(other, function)) = told.peek() {
                    let order = other.cmp(name);
                    if order == Ordering::Equal {
                        loads[node] = Load {
                            capacity_rps: function.capacity_rps,
                            demand_rps: function.demand_rps,
                        };
                    }
                    if order != Ordering::Less {
                        break;
                    }
                    told.next();
                }
            }
        }
        loads
    }

    /// What the viewer sends to others and admits from them for a function, given what all told about it.
    pub(super) fn exchange(&self, loads: &[Load]) -> FunctionPolicy {
        let Some(me) = self.me else {
            return FunctionPolicy::default();
        };
        let allocation = Allocation::new(loads, self.distances, me);
        FunctionPolicy {
            routes: self.routes(&allocation),
            admit: self.admissions(&allocation),
            ..FunctionPolicy::default()
        }
    }

    /// Where the viewer sends its excess: by what is placed; if nothing is, by its stand-by credit.
    fn routes(&self, allocation: &Allocation) -> BTreeMap<NodeId, Route> {
        let placed = |j: usize| allocation.placed_rps(j);
        let cap = |j: usize| allocation.cap_rps(j);
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
    fn admissions(&self, allocation: &Allocation) -> BTreeMap<NodeId, f64> {
        let caps = self
            .live
            .iter()
            .enumerate()
            .map(|(i, &(id, _))| (id, allocation.admitted_rps(i)));
        caps.filter(|&(_, cap)| cap >= RATE_RPS_MIN)
            .map(|(id, cap)| (id.clone(), cap))
            .collect()
    }
}
