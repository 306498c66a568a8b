//! What the data plane must do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::{FunctionName, NodeId};
use crate::service_address::ServiceAddress;

/// Everything the data plane must know: a whole snapshot that replaces the one before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// What to do with requests, by function. Nobody has a function that is absent.
    pub functions: BTreeMap<FunctionName, FunctionPolicy>,
    /// The nodes that may send requests here and to which requests may be sent. Any other is unknown.
    pub peers: BTreeMap<NodeId, Peer>,
}

/// Where a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The address and port at which it takes requests.
    #[serde(flatten)]
    pub service: ServiceAddress,
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
