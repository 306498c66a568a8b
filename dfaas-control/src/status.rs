//! What an operator may want to see.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::message::Rejection;
use crate::names::{FunctionName, NodeId};
use crate::neighbourhood::Scope;
use crate::policy::Route;
use crate::service_address::ServiceAddress;
use crate::strategy::StrategyKind;

/// What a node thinks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// Its number of the present start.
    pub incarnation: u64,
    /// Where peers send requests to.
    #[serde(flatten)]
    pub service: ServiceAddress,
    /// How the excess is distributed.
    pub strategy: StrategyKind,
    /// The strategy that is to take over in some periods.
    pub coming: Option<StrategyKind>,
    /// What a second strategy would decide.
    pub shadow: Option<ShadowStatus>,
    /// The peers to which it sends; `null` in JSON for all.
    pub neighbours: Scope,
    /// How often peers are told, in seconds.
    pub period_s: f64,
    /// The functions hosted here or known from peers.
    pub functions: BTreeMap<FunctionName, FunctionStatus>,
    /// The peers connected or heard of.
    pub peers: BTreeMap<NodeId, PeerStatus>,
    /// How many messages were used.
    pub accepted: u64,
    /// How many messages were dropped, by reason.
    pub rejected: BTreeMap<Rejection, u64>,
}

/// What a strategy decides beside the one in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShadowStatus {
    /// Which it is.
    pub strategy: StrategyKind,
    /// What it would have the data plane do.
    pub functions: BTreeMap<FunctionName, FunctionStatus>,
}

/// What a node thinks about a function.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FunctionStatus {
    /// Whether the platform of this node runs it.
    pub hosted: bool,
    /// What the platform can serve, in requests per second.
    pub capacity_rps: f64,
    /// What users ask of this node, in requests per second.
    pub demand_rps: f64,
    /// What is served here before anything is sent on, in requests per second. No limit is `null` in JSON.
    pub local_rps: f64,
    /// The share of the rest that is served here all the same.
    pub here: f64,
    /// Where the excess goes. A cap that is infinite is `null` in JSON.
    pub routes: BTreeMap<NodeId, Route>,
    /// What is admitted, in requests per second.
    pub admit: BTreeMap<NodeId, f64>,
}

/// What a node knows about a peer.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PeerStatus {
    /// Whether there is a live connection.
    pub connected: bool,
    /// Whether it is a neighbour: requests may be sent to it.
    pub neighbour: bool,
    /// The measured round-trip time, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// Where it takes requests; unknown until it has told.
    #[serde(flatten)]
    pub service: Option<ServiceAddress>,
    /// The time since its last message, in seconds.
    pub age_s: Option<f64>,
    /// What it told about its functions.
    pub functions: BTreeMap<FunctionName, PeerFunctionStatus>,
}

/// What a peer told about a function. What its strategy does not tell is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct PeerFunctionStatus {
    /// What its platform can serve, in requests per second.
    pub capacity_rps: Option<f64>,
    /// What its users ask of it, in requests per second.
    pub demand_rps: Option<f64>,
    /// What it offers to this node, in requests per second (LimitOut of Recalc).
    pub offer_rps: Option<f64>,
    /// The 95th percentile of its service time, in seconds.
    pub service_time_p95_s: Option<f64>,
}
