//! What the data plane must do.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::names::{FunctionName, NodeId};
use crate::pairing::Token;
use crate::service_address::ServiceAddress;

/// Everything the data plane must know: a whole snapshot that replaces the one before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// What to do with requests, by function. Nobody has a function that is absent.
    pub functions: BTreeMap<FunctionName, FunctionPolicy>,
    /// The nodes that may send requests here and to which requests may be sent. Any other is unknown.
    pub peers: BTreeMap<NodeId, Peer>,
    /// The nodes that would be among them if the operator admitted them: what they have under way ends.
    pub barred: BTreeSet<NodeId>,
}

/// Where a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The address and port at which it takes requests.
    #[serde(flatten)]
    pub service: ServiceAddress,
    /// How requests prove between whom they go.
    pub trust: Trust,
}

/// How requests between this node and a peer prove who sent them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// What goes with requests to the peer.
    pub sends: Option<Token>,
    /// What requests of the peer may come with.
    pub accepts: [Option<Token>; 2],
    /// Whether its requests need no token, nor ours to it.
    pub tokenless: bool,
}

/// What to do with the requests for one function.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FunctionPolicy {
    /// How many user requests per second to serve here; 0 if the function is not hosted.
    pub local_rps: f64,
    /// Whether the platform of this node runs the function.
    pub hosted: bool,
    /// The share of user requests beyond `local_rps` that is served here all the same, without limit. Strategies that
    /// give this node a weight like any other set it, and a `local_rps` of 0.
    #[serde(default)]
    pub here: f64,
    /// Where user requests beyond `local_rps` go.
    pub routes: BTreeMap<NodeId, Route>,
    /// How many requests per second to admit from a peer (LimitIn). A peer that is absent gets none.
    /// Infinity means no limit.
    pub admit: BTreeMap<NodeId, f64>,
}

impl FunctionPolicy {
    /// Makes the shares of the routes and `here` sum to 1 again, in the same proportions.
    pub(crate) fn level_weights(&mut self) {
        let sum: f64 = self.here + self.routes.values().map(|route| route.weight).sum::<f64>();
        let count = self.routes.len() as f64;
        if sum > 0.0 {
            self.here /= sum;
        }
        for route in self.routes.values_mut() {
            route.weight = if sum > 0.0 {
                route.weight / sum
            } else {
                count.recip()
            };
        }
    }
}

/// What a peer takes from this node's excess.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// The share of the excess. Shares of the routes of a function, and its `here`, sum to 1. A data plane that finds the cap of
    /// the drawn route used up tries another: caps add up to what is needed, draws do not meet them exactly. A route
    /// of weight 0 is only such another.
    pub weight: f64,
    /// How many requests per second at most (LimitOut). Infinity means no cap.
    pub cap_rps: f64,
}
