//! What rates and weights of a policy mean as limits and choices, for whoever carries it out: the kernel, HAProxy or the
//! simulator.

use crate::{
    maps::FALLBACKS,
    meter::Limit,
    pick::{self, HERE, SELF, SLOTS},
};

/// How much of a second's capacity may come at once. The reference admits a whole second's worth at any time; half
/// of it serves users who come at random nearly as well and lets a surge spill over sooner.
const LOCAL_BURST_S: f64 = 0.5;
/// What is sent comes evenly spaced by the weights, so little is enough.
const CAP_BURST_S: f64 = 0.25;
const CAP_BURST_MIN: f64 = 2.0;
/// A receiver's bucket is deeper than the sender's: delays on the way bunch requests.
const ADMISSION_BURST_S: f64 = 0.5;
const ADMISSION_BURST_MIN: f64 = 4.0;

/// What users may be served here, at a rate in requests per second.
#[must_use]
pub fn local(rate_rps: f64, bucket: u32) -> Limit {
    Limit::new(rate_rps, (rate_rps * LOCAL_BURST_S).max(1.0), bucket)
}

/// What may be sent to a peer, at a rate in requests per second.
#[must_use]
pub fn cap(rate_rps: f64, bucket: u32) -> Limit {
    Limit::new(rate_rps, (rate_rps * CAP_BURST_S).max(CAP_BURST_MIN), bucket)
}

/// What a peer may send, at a rate in requests per second.
#[must_use]
pub fn admission(rate_rps: f64, bucket: u32) -> Limit {
    let burst = (rate_rps * ADMISSION_BURST_S).max(ADMISSION_BURST_MIN);
    Limit::new(rate_rps, burst, bucket)
}

/// A peer to which excess may go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way {
    /// The peer's index.
    pub target: u16,
    /// Its share of the excess.
    pub weight: f64,
    /// How many requests per second at most.
    pub cap_rps: f64,
}

/// Where a function's excess goes, by the indices of the peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Peers in proportion to their weights.
    pub slots: [u16; SLOTS],
    /// Peers to try when those drawn are full.
    pub fallbacks: [u16; FALLBACKS],
}

impl Choice {
    /// A choice between this node, which has the share `here`, and peers.
    #[must_use]
    pub fn new(here: f64, ways: &[Way]) -> Self {
        let peers = ways.iter().map(|way| (way.target, way.weight));
        let fallbacks = largest(ways);
        let has_weight = here > 0.0 || ways.iter().any(|way| way.weight > 0.0);
        let slots = if has_weight || ways.is_empty() {
            pick::fill_from([(HERE, here)].into_iter().chain(peers))
        } else {
            // Routes without any weight are for emergencies; the row must still name one, or none is tried.
            [fallbacks[0]; SLOTS]
        };
        Self { slots, fallbacks }
    }
}

/// The peers with the largest caps, in their order.
fn largest(ways: &[Way]) -> [u16; FALLBACKS] {
    let mut best: [Option<&Way>; FALLBACKS] = [None; FALLBACKS];
    for way in ways {
        // Those behind it move on by a place, so that of equals the first stays first.
        let mut moving = None;
        for place in &mut best {
            let goes_here = |there: &Way| way.cap_rps.total_cmp(&there.cap_rps).is_gt();
            if moving.is_some() || place.is_none_or(goes_here) {
                let next = moving.take().unwrap_or(way);
                moving = place.replace(next);
                if moving.is_none() {
                    break;
                }
            }
        }
    }
    best.map(|way| way.map_or(SELF, |way| way.target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_chosen_by_weight_and_tried_by_cap() {
        let choice = Choice::new(0.0, &[way(1, 1.0, 5.0), way(2, 0.0, 20.0)]);
        assert_eq!(choice.slots, [1; SLOTS]);
        assert_eq!(choice.fallbacks, [2, 1, 0, 0]);
    }

    #[test]
    fn of_many_peers_the_largest_caps_are_tried_and_of_equals_the_first() {
        let caps = [5.0, 7.0, 7.0, 1.0, 9.0, 6.0];
        let mut ways = [way(0, 1.0, 0.0); 6];
        for ((place, target), cap_rps) in ways.iter_mut().zip(1..).zip(caps) {
            *place = way(target, 1.0, cap_rps);
        }
        assert_eq!(Choice::new(0.0, &ways).fallbacks, [5, 2, 3, 6]);
    }

    #[test]
    fn routes_without_any_weight_are_for_emergencies() {
        let choice = Choice::new(0.0, &[way(1, 0.0, 5.0), way(2, 0.0, 20.0)]);
        assert_eq!(choice.slots, [2; SLOTS]);
    }

    #[test]
    fn this_node_has_its_share_among_peers() {
        let choice = Choice::new(0.75, &[way(1, 0.25, f64::INFINITY)]);
        assert_eq!(choice.slots.iter().filter(|&&slot| slot == HERE).count(), 768);
        assert_eq!(choice.fallbacks, [1, 0, 0, 0]);
    }

    #[test]
    fn without_peers_nothing_is_drawn() {
        assert_eq!(Choice::new(0.0, &[]).slots, [SELF; SLOTS]);
    }

    fn way(target: u16, weight: f64, cap_rps: f64) -> Way {
        Way {
            target,
            weight,
            cap_rps,
        }
    }
}
