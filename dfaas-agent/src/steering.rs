//! What a policy means in numbers, for whoever carries it out: the kernel or HAProxy.

use dfaas_common::{
    maps::FALLBACKS,
    meter::Limit,
    pick::{self, HERE, SLOTS},
};
use dfaas_control::{FunctionName, FunctionPolicy, Policy, Route};

/// How much of a second's capacity may come at once. The reference admits a whole second's worth at any time; half
/// of it serves users who come at random nearly as well and lets a surge spill over sooner.
const LOCAL_BURST_S: f64 = 0.5;
/// What is sent comes evenly spaced by the weights, so little is enough.
const CAP_BURST_S: f64 = 0.25;
const CAP_BURST_MIN: f64 = 2.0;
/// A receiver's bucket is deeper than the sender's: delays on the way bunch requests.
const ADMISSION_BURST_S: f64 = 0.5;
const ADMISSION_BURST_MIN: f64 = 4.0;
/// How many peers a line of the log names in each direction. Others are in `dfaas-agent explain`.
const PEERS_TOLD: usize = 8;
/// The namespace that a function has without saying so (OpenFaaS).
const DEFAULT_NAMESPACE: &str = ".openfaas-fn";

/// What users may be served here.
pub(crate) fn local(rate_rps: f64, bucket: u32) -> Limit {
    Limit::new(rate_rps, (rate_rps * LOCAL_BURST_S).max(1.0), bucket)
}

/// What may be sent to a peer.
pub(crate) fn cap(rate_rps: f64, bucket: u32) -> Limit {
    Limit::new(rate_rps, (rate_rps * CAP_BURST_S).max(CAP_BURST_MIN), bucket)
}

/// What a peer may send.
pub(crate) fn admission(rate_rps: f64, bucket: u32) -> Limit {
    let burst = (rate_rps * ADMISSION_BURST_S).max(ADMISSION_BURST_MIN);
    Limit::new(rate_rps, burst, bucket)
}

/// The share that this node draws for itself: what is not hosted cannot be served here, whatever the weights.
pub(crate) fn own_share(function: &FunctionPolicy) -> f64 {
    if function.hosted { function.here } else { 0.0 }
}

/// A line for each function about which something else is decided than before.
pub(crate) fn changes(before: &Policy, after: &Policy) -> Vec<String> {
    let changed = after
        .functions
        .iter()
        .filter(|(name, decided)| before.functions.get(*name) != Some(decided));
    let gone = before
        .functions
        .keys()
        .filter(|name| !after.functions.contains_key(*name));
    changed
        .map(|(name, decided)| format!("{name}  {}", in_a_line(decided)))
        .chain(gone.map(|name| format!("{name}  nobody runs it any more")))
        .collect()
}

fn in_a_line(function: &FunctionPolicy) -> String {
    let mut line = format!(
        "local {:.1}/s here {:.1}%",
        function.local_rps,
        function.here * 100.0
    );
    for (id, route) in function.routes.iter().take(PEERS_TOLD) {
        line += &format!(" to {id}={:.1}%<={:.1}/s", route.weight * 100.0, route.cap_rps);
    }
    line += &and_more("to", function.routes.len());
    for (id, rate_rps) in function.admit.iter().take(PEERS_TOLD) {
        line += &format!(" from {id}<={rate_rps:.1}/s");
    }
    line + &and_more("from", function.admit.len())
}

fn and_more(direction: &str, peers: usize) -> String {
    match peers.saturating_sub(PEERS_TOLD) {
        0 => String::new(),
        more => format!(" {direction} {more} more"),
    }
}

/// A function is known by its name, and by its name with the default namespace if it says none.
pub(crate) fn names_of(function: &FunctionName) -> Vec<String> {
    let name = function.as_str();
    let dotted = (!name.contains('.')).then(|| format!("{name}{DEFAULT_NAMESPACE}"));
    [Some(name.to_owned()), dotted].into_iter().flatten().collect()
}

/// Where a function's excess goes, by the numbers of the peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Peers in proportion to their weights.
    pub(crate) slots: [u16; SLOTS],
    /// Peers to try when those drawn are full.
    pub(crate) fallbacks: [u16; FALLBACKS],
}

impl Choice {
    /// A choice between this node, which has the share `here`, and peers.
    pub(crate) fn new(here: f64, routes: &[(u16, Route)]) -> Self {
        let peers = routes.iter().map(|(peer, route)| (*peer, route.weight));
        let weights: Vec<(u16, f64)> = [(HERE, here)].into_iter().chain(peers).collect();
        let mut by_cap: Vec<(u16, f64)> = routes
            .iter()
            .map(|(peer, route)| (*peer, route.cap_rps))
            .collect();
        by_cap.sort_by(|left, right| right.1.total_cmp(&left.1));
        let mut slots = pick::fill(&weights);
        if let (true, Some(&(first, _))) = (weights.iter().all(|&(_, weight)| weight <= 0.0), by_cap.first())
        {
            // Routes without any weight are for emergencies; the row must still name one, or none is tried.
            slots = [first; SLOTS];
        }
        Self {
            slots,
            fallbacks: pick::fallbacks(&by_cap),
        }
    }
}

#[cfg(test)]
mod tests {
    use dfaas_control::NodeId;

    use super::*;

    #[test]
    fn a_plain_name_is_known_with_the_default_namespace_too() {
        let names = |name: &str| names_of(&FunctionName::new(name).unwrap());
        assert_eq!(names("figlet"), ["figlet", "figlet.openfaas-fn"]);
        assert_eq!(names("figlet.team"), ["figlet.team"]);
    }

    #[test]
    fn a_line_of_the_log_names_some_of_many_peers() {
        let routes = (0..10).map(|number| (NodeId::new(format!("n{number}")).unwrap(), route(0.1, 1.0)));
        let function = FunctionPolicy {
            routes: routes.collect(),
            ..FunctionPolicy::default()
        };
        let line = in_a_line(&function);
        assert!(
            line.contains(" to n7=10.0%<=1.0/s to 2 more") && !line.contains("n8"),
            "{line}"
        );
    }

    #[test]
    fn peers_are_chosen_by_weight_and_tried_by_cap() {
        let choice = Choice::new(0.0, &[(1, route(1.0, 5.0)), (2, route(0.0, 20.0))]);
        assert_eq!(choice.slots, [1; SLOTS]);
        assert_eq!(choice.fallbacks, [2, 1, 0, 0]);
    }

    #[test]
    fn routes_without_any_weight_are_for_emergencies() {
        let choice = Choice::new(0.0, &[(1, route(0.0, 5.0)), (2, route(0.0, 20.0))]);
        assert_eq!(choice.slots, [2; SLOTS]);
    }

    #[test]
    fn this_node_has_its_share_among_peers() {
        let choice = Choice::new(0.75, &[(1, route(0.25, f64::INFINITY))]);
        assert_eq!(choice.slots.iter().filter(|&&slot| slot == HERE).count(), 768);
        assert_eq!(choice.fallbacks, [1, 0, 0, 0]);
    }

    fn route(weight: f64, cap_rps: f64) -> Route {
        Route { weight, cap_rps }
    }
}
