//! What the data plane counted.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::names::{FunctionName, NodeId};

/// What the data plane counted since it was last read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// The time since the last read.
    pub elapsed: Duration,
    /// Counts by function. A function that is absent had no traffic.
    pub functions: BTreeMap<FunctionName, FunctionCounters>,
}

/// What the data plane counted for one function since it was last read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FunctionCounters {
    /// User requests that arrived, whatever became of them.
    pub user: u64,
    /// Requests served here.
    pub local: u64,
    /// User requests sent on, by receiver.
    pub forwarded: BTreeMap<NodeId, u64>,
    /// Forwarded requests let in, by sender.
    pub admitted: BTreeMap<NodeId, u64>,
    /// Requests refused.
    pub refused: u64,
    /// The 95th percentile of the service time, if there was anything to measure.
    pub service_time_p95: Option<Duration>,
}
