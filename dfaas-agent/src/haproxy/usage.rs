//! What HAProxy has used of the limits lately, so that the kernel gets what is left of them.
//!
//! Each of both has buckets of its own. HAProxy, which sees the exceptions, may use a limit up; the kernel's is lowered
//! by what it did use. So the sum keeps to the limit, but for the second in which HAProxy's share grows.

use std::{collections::BTreeMap, time::Duration};

use dfaas_control::{Counters, FunctionCounters, FunctionName, NodeId, Policy};

/// How long a request counts: rates are means over the past with weights that fall by e in so long.
const MEMORY: Duration = Duration::from_secs(1);
/// Less than this is forgotten.
const RATE_MIN_RPS: f64 = 0.05;

/// Rates in requests per second.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Usage {
    functions: BTreeMap<FunctionName, FunctionUsage>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct FunctionUsage {
    local: f64,
    forwarded: BTreeMap<NodeId, f64>,
    admitted: BTreeMap<NodeId, f64>,
}

impl Usage {
    /// Adds what was counted in a span of time; tells whether anything has changed.
    pub(super) fn note(&mut self, counted: &Counters, elapsed: Duration) -> bool {
        let before = self.clone();
        let fading = (-elapsed.as_secs_f64() / MEMORY.as_secs_f64()).exp();
        for name in counted.functions.keys() {
            self.functions.entry(name.clone()).or_default();
        }
        let nothing = FunctionCounters::default();
        for (name, usage) in &mut self.functions {
            let counted = counted.functions.get(name).unwrap_or(&nothing);
            usage.note(counted, elapsed.as_secs_f64(), fading);
        }
        self.functions
            .retain(|_, usage| *usage != FunctionUsage::default());
        *self != before
    }

    /// What of a policy is left for the kernel.
    pub(super) fn left_of(&self, policy: &Policy) -> Policy {
        let mut left = policy.clone();
        for (name, used) in &self.functions {
            let Some(function) = left.functions.get_mut(name) else {
                continue;
            };
            function.local_rps = (function.local_rps - used.local).max(0.0);
            for (peer, used_rps) in &used.admitted {
                if let Some(admit_rps) = function.admit.get_mut(peer) {
                    *admit_rps = (*admit_rps - used_rps).max(0.0);
                }
            }
            for (peer, used_rps) in &used.forwarded {
                if let Some(route) = function.routes.get_mut(peer) {
                    route.cap_rps = (route.cap_rps - used_rps).max(0.0);
                }
            }
        }
        left
    }
}

impl FunctionUsage {
    fn note(&mut self, counted: &FunctionCounters, elapsed_s: f64, fading: f64) {
        let mix = |rate_rps: f64, count: u64| {
            let counted_rps = if elapsed_s > 0.0 {
                count as f64 / elapsed_s
            } else {
                rate_rps
            };
            let mixed = rate_rps * fading + counted_rps * (1.0 - fading);
            if mixed < RATE_MIN_RPS { 0.0 } else { mixed }
        };
        self.local = mix(self.local, counted.local);
        for (rates, counts) in [
            (&mut self.forwarded, &counted.forwarded),
            (&mut self.admitted, &counted.admitted),
        ] {
            for peer in counts.keys() {
                rates.entry(peer.clone()).or_default();
            }
            for (peer, rate_rps) in rates.iter_mut() {
                *rate_rps = mix(*rate_rps, counts.get(peer).copied().unwrap_or_default());
            }
            rates.retain(|_, rate_rps| *rate_rps > 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use dfaas_control::{FunctionPolicy, Route};

    use super::*;

    #[test]
    fn the_kernel_gets_what_is_left() {
        let mut usage = Usage::default();
        for _ in 0..20 {
            assert!(usage.note(&counted(4, 2, 1), Duration::from_secs(1)));
        }
        let left = usage.left_of(&policy(10.0, 3.0, f64::INFINITY)).functions[&figlet()].clone();
        assert!((left.local_rps - 6.0).abs() < 0.01, "{left:?}");
        assert!((left.admit[&peer()] - 1.0).abs() < 0.01, "{left:?}");
        assert_eq!(left.routes[&peer()].cap_rps, f64::INFINITY);
        let left = usage.left_of(&policy(1.0, 1.0, 0.5)).functions[&figlet()].clone();
        assert_eq!(
            (left.local_rps, left.admit[&peer()], left.routes[&peer()].cap_rps),
            (0.0, 0.0, 0.0)
        );
    }

    #[test]
    fn what_was_used_long_ago_is_forgotten() {
        let mut usage = Usage::default();
        usage.note(&counted(4, 2, 1), Duration::from_secs(1));
        for _ in 0..10 {
            usage.note(&Counters::default(), Duration::from_secs(1));
        }
        assert_eq!(usage, Usage::default());
        assert!(!usage.note(&Counters::default(), Duration::from_secs(1)));
        let all = policy(10.0, 3.0, 5.0);
        assert_eq!(usage.left_of(&all), all);
    }

    #[test]
    fn no_time_is_no_rate() {
        let mut usage = Usage::default();
        assert!(!usage.note(&counted(4, 2, 1), Duration::ZERO));
    }

    fn counted(local: u64, admitted: u64, forwarded: u64) -> Counters {
        let function = FunctionCounters {
            local,
            admitted: [(peer(), admitted)].into(),
            forwarded: [(peer(), forwarded)].into(),
            ..FunctionCounters::default()
        };
        Counters {
            elapsed: Duration::ZERO,
            functions: [(figlet(), function)].into(),
        }
    }

    fn policy(local_rps: f64, admit_rps: f64, cap_rps: f64) -> Policy {
        let route = Route { weight: 1.0, cap_rps };
        let function = FunctionPolicy {
            here: 0.0,
            local_rps,
            hosted: true,
            routes: [(peer(), route)].into(),
            admit: [(peer(), admit_rps)].into(),
        };
        Policy {
            functions: [(figlet(), function)].into(),
            ..Policy::default()
        }
    }

    fn figlet() -> FunctionName {
        FunctionName::new("figlet").unwrap()
    }

    fn peer() -> NodeId {
        NodeId::new("n2").unwrap()
    }
}
