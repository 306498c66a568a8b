//! Water-filling of all nodes at once, for whoever simulates many: what every node computes for itself from the same states
//! is computed once.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::meter::{Meter, to_milli};
use crate::water_filling::{Allocations, Distances, Load};

/// Nodes that have all heard each other's newest state, and of which one is as far from another as any.
#[derive(Debug)]
pub struct Federation {
    /// By function, then node.
    capacities_rps: Vec<Vec<f64>>,
    meters: Vec<Vec<Meter>>,
    distances: Distances,
    period: Duration,
}

/// What a node may send and admits for a function, in requests per second, over all its peers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Exchange {
    /// How much of its deficit is placed on others.
    pub placed_rps: f64,
    /// How much more it may send at once, without a word.
    pub stand_by_rps: f64,
    /// How much of others' deficits is placed on it.
    pub received_rps: f64,
}

impl Federation {
    /// Nodes with these capacities by function, then node, that send to all others.
    pub fn whole(capacities_rps: Vec<Vec<f64>>, period: Duration) -> Self {
        let nodes = capacities_rps.first().map_or(0, Vec::len);
        Self::new(capacities_rps, Distances::equal(nodes, |_, _| true), period)
    }

    /// Nodes that send to their neighbours only.
    pub fn partial(capacities_rps: Vec<Vec<f64>>, neighbours: &[BTreeSet<usize>], period: Duration) -> Self {
        let sends = |from: usize, to: usize| neighbours[from].contains(&to);
        Self::new(capacities_rps, Distances::equal(neighbours.len(), sends), period)
    }

    fn new(capacities_rps: Vec<Vec<f64>>, distances: Distances, period: Duration) -> Self {
        let meters = |capacities: &Vec<f64>| capacities.iter().map(|_| Meter::default()).collect();
        Self {
            meters: capacities_rps.iter().map(meters).collect(),
            capacities_rps,
            distances,
            period,
        }
    }

    /// Notes how many requests of its users came to each node within a period, by function, then node.
    pub fn close_period(&mut self, counts: &[Vec<u64>]) {
        for (meters, counts) in self.meters.iter_mut().zip(counts) {
            for (meter, &count) in meters.iter_mut().zip(counts) {
                meter.add(count);
                meter.close_sample(self.period, self.period);
                meter.close_period(self.period);
            }
        }
    }

    /// What all nodes decide about a function, by its number, from what all have told.
    pub fn decide(&self, function: usize) -> Vec<Exchange> {
        let told = self.capacities_rps[function].iter().zip(&self.meters[function]);
        let loads: Vec<Load> = told
            .map(|(&capacity_rps, meter)| Load {
                capacity_rps: to_milli(capacity_rps),
                demand_rps: meter.rate_rps(),
            })
            .collect();
        let allocations = Allocations::new(&loads, &self.distances);
        (0..loads.len())
            .map(|node| Exchange {
                placed_rps: allocations.placed_rps(node),
                stand_by_rps: allocations.stand_by_rps(node),
                received_rps: allocations.received_rps(node),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::water_filling::Allocation;

    const PERIOD: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_computed_once_is_what_each_node_computes() {
        let capacities: Vec<f64> = (0..12).map(|node| f64::from(node % 5) * 4.0).collect();
        let counts: Vec<u64> = (0..12).map(|node| (node * 7 + 3) % 19).collect();
        let ring: Vec<BTreeSet<usize>> = (0..12)
            .map(|node| [(node + 1) % 12, (node + 11) % 12].into())
            .collect();
        check(Federation::whole(vec![capacities.clone()], PERIOD), &counts);
        check(Federation::partial(vec![capacities], &ring, PERIOD), &counts);
    }

    #[track_caller]
    fn check(mut federation: Federation, counts: &[u64]) {
        for _ in 0..4 {
            federation.close_period(&[counts.to_vec()]);
        }
        let decided = federation.decide(0);
        let loads: Vec<Load> = federation.capacities_rps[0]
            .iter()
            .zip(counts)
            .map(|(&capacity_rps, &count)| Load {
                capacity_rps,
                demand_rps: count as f64,
            })
            .collect();
        let is_anything_placed = decided.iter().any(|exchange| exchange.placed_rps > 1.0);
        assert!(is_anything_placed, "{decided:?}");
        for (viewer, decided) in decided.iter().enumerate() {
            let allocation = Allocation::new(&loads, &federation.distances, viewer);
            let sum = |of: &dyn Fn(usize) -> f64| (0..loads.len()).map(of).sum::<f64>();
            let placed = sum(&|receiver| allocation.placed_rps(receiver));
            let capped = sum(&|receiver| allocation.cap_rps(receiver));
            let received = sum(&|sender| allocation.received_rps(sender));
            let pairs = [
                (decided.placed_rps, placed),
                (decided.placed_rps + decided.stand_by_rps, capped),
                (decided.received_rps, received),
            ];
            for (got, want) in pairs {
                assert!((got - want).abs() < 1e-6, "node {viewer}: {got}, not {want}");
            }
        }
    }
}
