//! What an agent says about itself.

use std::collections::BTreeMap;

use serde_json::Value;

/// The answer of `/status`.
#[derive(Clone, Debug, Default)]
pub struct Status(pub Value);

/// How many requests a node has seen, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// From users.
    pub user: u64,
    /// From users and served here.
    pub local: u64,
    /// From users and sent to a peer.
    pub forwarded: u64,
    /// From peers and served here.
    pub admitted: u64,
    /// Answered with an error by the data plane.
    pub refused: u64,
}

impl Status {
    /// The identity of the node.
    pub fn node(&self) -> &str {
        self.0["node"].as_str().unwrap_or_default()
    }

    /// The members that this node is connected to.
    pub fn connected(&self) -> u64 {
        self.0["overlay"]["connected"].as_u64().unwrap_or(0)
    }

    /// What became of the requests for a function.
    pub fn totals(&self, function: &str) -> Totals {
        let totals = &self.0["totals"]["functions"][function];
        Totals {
            user: sum(&totals["user"]),
            local: sum(&totals["local"]),
            forwarded: sum(&totals["forwarded"]),
            admitted: sum(&totals["admitted"]),
            refused: sum(&totals["refused"]),
        }
    }

    /// What became of the requests for all functions.
    pub fn totals_of_all(&self) -> Totals {
        let functions = self.0["totals"]["functions"].as_object();
        let names = functions.into_iter().flatten().map(|(name, _)| name);
        let add = |sum: Totals, name: &String| {
            let totals = self.totals(name);
            Totals {
                user: sum.user + totals.user,
                local: sum.local + totals.local,
                forwarded: sum.forwarded + totals.forwarded,
                admitted: sum.admitted + totals.admitted,
                refused: sum.refused + totals.refused,
            }
        };
        names.fold(Totals::default(), add)
    }

    /// How many requests for a function were sent to a peer.
    pub fn forwarded_to(&self, function: &str, peer: &str) -> u64 {
        sum(&self.0["totals"]["functions"][function]["forwarded"][peer])
    }

    /// The peers that this node knows functions of.
    pub fn peers_with_functions(&self) -> usize {
        let peers = self.0["control"]["peers"].as_object();
        let has_functions = |peer: &&Value| peer["functions"].as_object().is_some_and(|all| !all.is_empty());
        peers.map_or(0, |peers| peers.values().filter(has_functions).count())
    }

    /// How the excess of a function is shared out: peers and weights.
    pub fn weights(&self, function: &str) -> BTreeMap<String, f64> {
        let routes = self.0["control"]["functions"][function]["routes"].as_object();
        let weight = |route: &Value| route.as_f64().or_else(|| route["weight"].as_f64());
        let pairs = routes.into_iter().flatten();
        pairs
            .filter_map(|(peer, route)| Some((peer.clone(), weight(route)?)))
            .collect()
    }
}

impl Totals {
    /// What came since.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            local: self.local.saturating_sub(before.local),
            forwarded: self.forwarded.saturating_sub(before.forwarded),
            admitted: self.admitted.saturating_sub(before.admitted),
            refused: self.refused.saturating_sub(before.refused),
        }
    }
}

/// A count, or the sum of the counts by peer or status code.
fn sum(value: &Value) -> u64 {
    let parts = value.as_object().map(|parts| parts.values().map(sum).sum());
    value.as_u64().or(parts).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_by_peer_and_code_are_added_up() {
        let status = Status(json!({"totals": {"functions": {"figlet": {
            "user": 50, "local": 10, "forwarded": {"a": 15, "b": 25}, "refused": {"503": 1}
        }}}}));
        let want = Totals {
            user: 50,
            local: 10,
            forwarded: 40,
            admitted: 0,
            refused: 1,
        };
        assert_eq!(status.totals("figlet"), want);
        assert_eq!(status.totals_of_all(), want);
        assert_eq!(status.totals("other"), Totals::default());
    }
}
