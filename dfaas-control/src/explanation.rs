//! Why requests for a function go where they go.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::names::{FunctionName, NodeId};
use crate::policy::FunctionPolicy;
use crate::strategy::StrategyKind;

/// Which inputs led to the present weights and limits of a function, a line each.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The function.
    pub function: FunctionName,
    /// The strategy that decided.
    pub strategy: StrategyKind,
    /// What it decided from.
    pub because: Vec<String>,
    /// What is in force.
    pub therefore: Vec<String>,
}

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} by {}", self.function, self.strategy)?;
        for line in &self.because {
            writeln!(f, "  because    {line}")?;
        }
        for line in &self.therefore {
            writeln!(f, "  therefore  {line}")?;
        }
        Ok(())
    }
}

/// What a policy means for a function, a line for each way that a request can go.
pub(crate) fn decisions(policy: &FunctionPolicy) -> Vec<String> {
    let mut lines = Vec::new();
    if policy.hosted && policy.local_rps > 0.0 {
        lines.push(format!("users are served here up to {}", rate(policy.local_rps)));
    }
    if policy.hosted && policy.here > 0.0 {
        let rest = if policy.local_rps > 0.0 {
            "of the rest"
        } else {
            "of the requests"
        };
        lines.push(format!("{} {rest} are served here", percent(policy.here)));
    }
    for (id, route) in &policy.routes {
        let share = percent(route.weight);
        lines.push(format!(
            "{share} of what goes on is sent to {id}, up to {}",
            rate(route.cap_rps)
        ));
    }
    if policy.routes.is_empty() {
        lines.push("nothing is sent to peers".to_owned());
    }
    for (id, &limit) in &policy.admit {
        lines.push(format!("{id} may send up to {}", rate(limit)));
    }
    lines
}

/// A rate in words.
pub(crate) fn rate(rate_rps: f64) -> String {
    if rate_rps.is_infinite() {
        "any rate".to_owned()
    } else {
        format!("{rate_rps:.1}/s")
    }
}

/// What a node has and is asked for, in words.
pub(crate) fn load(who: &str, capacity_rps: f64, demand_rps: f64) -> String {
    let rest = capacity_rps - demand_rps;
    let verdict = if rest >= 0.0 { "to spare" } else { "too much" };
    format!(
        "{who} serves {} and its users ask for {}: {} {verdict}",
        rate(capacity_rps),
        rate(demand_rps),
        rate(rest.abs())
    )
}

/// A peer in words.
pub(crate) fn peer(id: &NodeId) -> String {
    format!("peer {id}")
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::policy::Route;

    #[test]
    fn every_way_of_a_request_is_a_line() {
        let n2 = NodeId::new("n2").unwrap();
        let route = Route {
            weight: 0.4,
            cap_rps: f64::INFINITY,
        };
        let policy = FunctionPolicy {
            local_rps: 10.0,
            hosted: true,
            here: 0.6,
            routes: BTreeMap::from([(n2.clone(), route)]),
            admit: BTreeMap::from([(n2, 2.5)]),
        };
        let want = [
            "users are served here up to 10.0/s",
            "60.0 % of the rest are served here",
            "40.0 % of what goes on is sent to n2, up to any rate",
            "n2 may send up to 2.5/s",
        ];
        assert_eq!(decisions(&policy), want);
        assert_eq!(
            decisions(&FunctionPolicy::default()),
            ["nothing is sent to peers"]
        );
    }

    #[test]
    fn what_is_too_much_is_told_from_what_is_to_spare() {
        assert_eq!(
            load("this node", 10.0, 50.0),
            "this node serves 10.0/s and its users ask for 50.0/s: 40.0/s too much"
        );
        assert!(load("n2", 20.0, 0.0).ends_with("20.0/s to spare"));
    }
}
