//! How busy a node is, and what it may be asked for: quantities of the strategy node margin.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::FunctionName;

/// What a node uses. What cannot be measured is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeUsage {
    /// Processor time, in percent of one processor.
    #[serde(rename = "cpu_usage_node", default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// Memory in use, in bytes.
    #[serde(rename = "ram_usage_node", default, skip_serializing_if = "Option::is_none")]
    pub ram_bytes: Option<f64>,
    /// Power, in microwatts.
    #[serde(rename = "power_usage_node", default, skip_serializing_if = "Option::is_none")]
    pub power_microwatts: Option<f64>,
}

/// How demanding a function is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LoadGroup {
    /// `HIGH_USAGE` of the group list.
    #[serde(rename = "HIGH_USAGE")]
    High,
    /// `MEDIUM_USAGE` of the group list.
    #[serde(rename = "MEDIUM_USAGE")]
    Medium,
    /// `LOW_USAGE` of the group list.
    #[serde(rename = "LOW_USAGE")]
    Low,
}

/// Who tells what a load will use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForecasterKind {
    /// A model that is linear in the load of each group, fitted to what this node uses.
    Linear,
    /// The service that the shell asks.
    Service,
}

/// What the operator decides about node margin. The default is that of the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarginSettings {
    /// 0 heavy, 1 mid, 2 light.
    pub node_type: u8,
    /// What the node may use.
    pub limits: NodeUsage,
    /// The group of each function. One in no group counts for no load.
    pub groups: BTreeMap<FunctionName, LoadGroup>,
    /// Who tells what a load will use.
    pub forecaster: ForecasterKind,
}

/// Requests per second by group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Load {
    #[serde(rename = "RateHighUsage")]
    pub(crate) high: f64,
    #[serde(rename = "RateLowUsage")]
    pub(crate) low: f64,
    #[serde(rename = "RateMediumUsage")]
    pub(crate) medium: f64,
}

impl Default for MarginSettings {
    fn default() -> Self {
        Self {
            node_type: 1,
            limits: NodeUsage {
                cpu_percent: Some(120.0),
                ram_bytes: Some(5_500_000_000.0),
                power_microwatts: Some(2_100_000.0),
            },
            groups: BTreeMap::new(),
            forecaster: ForecasterKind::Linear,
        }
    }
}

impl NodeUsage {
    /// The metrics in a fixed order.
    pub(crate) fn metrics(&self) -> [Option<f64>; 3] {
        [self.cpu_percent, self.ram_bytes, self.power_microwatts]
    }

    pub(crate) fn from_metrics([cpu_percent, ram_bytes, power_microwatts]: [Option<f64>; 3]) -> Self {
        Self {
            cpu_percent,
            ram_bytes,
            power_microwatts,
        }
    }

    /// Tells whether every limit that is there is a positive number.
    pub(crate) fn is_limit(&self) -> bool {
        let is_limit = |limit: f64| limit.is_finite() && limit > 0.0;
        self.metrics().into_iter().flatten().all(is_limit)
    }

    /// Tells whether any metric is over its limit.
    pub(crate) fn exceeds(&self, limits: &Self) -> bool {
        self.pairs(limits).any(|(used, limit)| used > limit)
    }

    /// The mean of all metrics in percent of their limits; 0 if nothing is known.
    pub(crate) fn percent_of(&self, limits: &Self) -> f64 {
        let count = self.pairs(limits).count();
        if count == 0 {
            return 0.0;
        }
        let percents = self.pairs(limits).map(|(used, limit)| used * 100.0 / limit);
        percents.sum::<f64>() / count as f64
    }

    fn pairs(&self, limits: &Self) -> impl Iterator<Item = (f64, f64)> {
        let pairs = self.metrics().into_iter().zip(limits.metrics());
        pairs.filter_map(|(used, limit)| Some((used?, limit?)))
    }
}

impl Load {
    pub(crate) fn add(&mut self, group: Option<LoadGroup>, rate_rps: f64) {
        match group {
            Some(LoadGroup::High) => self.high += rate_rps,
            Some(LoadGroup::Medium) => self.medium += rate_rps,
            Some(LoadGroup::Low) => self.low += rate_rps,
            None => {}
        }
    }

    pub(crate) fn rates(&self) -> [f64; 3] {
        [self.high, self.medium, self.low]
    }
}
