//! What a policy means in numbers, for whoever carries it out: the kernel or HAProxy.

use dfaas_common::steering::{Choice, Way};
pub(crate) use dfaas_common::steering::{admission, cap, local};
use dfaas_control::{FunctionName, FunctionPolicy, Policy, Route};

/// How many peers a line of the log names in each direction. Others are in `dfaas-agent explain`.
const PEERS_TOLD: usize = 8;
/// The namespace that a function has without saying so (OpenFaaS).
const DEFAULT_NAMESPACE: &str = ".openfaas-fn";

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

/// Where the excess goes: this node has the share `here`, its peers have numbers.
pub(crate) fn choice(here: f64, routes: &[(u16, Route)]) -> Choice {
    let ways: Vec<Way> = routes
        .iter()
        .map(|&(target, route)| Way {
            target,
            weight: route.weight,
            cap_rps: route.cap_rps,
        })
        .collect();
    Choice::new(here, &ways)
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

    fn route(weight: f64, cap_rps: f64) -> Route {
        Route { weight, cap_rps }
    }
}
