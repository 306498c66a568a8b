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

impl Counters {
    /// Adds what was counted later.
    pub(crate) fn add(&mut self, later: &Self) {
        self.elapsed += later.elapsed;
        for (name, counted) in &later.functions {
            self.functions.entry(name.clone()).or_default().add(counted);
        }
    }
}

impl FunctionCounters {
    fn add(&mut self, later: &Self) {
        self.user += later.user;
        self.local += later.local;
        self.refused += later.refused;
        for (sums, counts) in [
            (&mut self.forwarded, &later.forwarded),
            (&mut self.admitted, &later.admitted),
        ] {
            for (id, count) in counts {
                *sums.entry(id.clone()).or_insert(0) += count;
            }
        }
        self.service_time_p95 = later.service_time_p95.or(self.service_time_p95);
    }
}
