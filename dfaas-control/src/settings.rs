//! What the operator decides about a node's mind.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::function_spec::{FunctionSpec, LabelError};
use crate::message::RATE_RPS_MAX;
use crate::names::NodeId;
use crate::neighbourhood::Neighbourhood;
use crate::node_usage::{MarginSettings, NodeUsage};
use crate::pairing::Tokenless;
use crate::service_address::ServiceAddress;
use crate::strategy::StrategyKind;

/// Shortest period: ten times shorter already means a hundred messages a second from every node.
const PERIOD_MIN: Duration = Duration::from_millis(100);
/// Longest period: an hour without news is no federation. The reference runs at a minute.
pub(crate) const PERIOD_MAX: Duration = Duration::from_secs(3600);

/// Shortest life of a token: a peer has so long to use a new one everywhere before the old one is refused.
const ROTATION_MIN: Duration = Duration::from_secs(1);
/// Longest life of a token: one that leaked would be of use for so long.
const ROTATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// What the operator decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// This node's identity.
    pub node: NodeId,
    /// A number that grows from one start of this node to the next, such as the seconds since 1970 at start.
    /// Peers tell a restarted node from a delayed message by it.
    pub incarnation: u64,
    /// The address and port at which peers reach this node's functions.
    pub service: ServiceAddress,
    /// How often the node tells its peers about itself.
    pub period: Duration,
    /// How the excess is distributed.
    pub strategy: StrategyKind,
    /// How long a peer uses a token before it gets another.
    pub token_rotation: Duration,
    /// Which peers need no token.
    pub tokenless: Tokenless,
    /// To which peers the excess may go.
    #[serde(default)]
    pub neighbourhood: Neighbourhood,
    /// A second strategy whose decisions are only shown.
    pub shadow: Option<StrategyKind>,
    /// The capacity of a function without a usable `dfaas.maxrate` label, in requests per second.
    pub default_capacity_rps: f64,
    /// What only node margin has to know.
    pub node_margin: MarginSettings,
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// The period is too short or too long.
    #[error("period of {0:?} is not between {PERIOD_MIN:?} and {PERIOD_MAX:?}")]
    Period(Duration),
    /// Tokens would change too often, or hardly ever.
    #[error("token rotation of {0:?} is not between {ROTATION_MIN:?} and {ROTATION_MAX:?}")]
    TokenRotation(Duration),
    /// The default capacity is not a rate.
    #[error("default capacity of {0} req/s is not between 0 and {RATE_RPS_MAX}")]
    DefaultCapacity(f64),
    /// A limit of node margin is not a positive number.
    #[error("limits for node margin are not all positive: {0:?}")]
    Limits(NodeUsage),
    /// Peers cannot reach a function at this address.
    #[error("peers cannot reach {0}")]
    Service(ServiceAddress),
}

impl Settings {
    /// Tells everything that is wrong with the settings.
    pub fn errors(&self) -> Vec<SettingsError> {
        let mut errors = Vec::new();
        if !(PERIOD_MIN..=PERIOD_MAX).contains(&self.period) {
            errors.push(SettingsError::Period(self.period));
        }
        if !(ROTATION_MIN..=ROTATION_MAX).contains(&self.token_rotation) {
            errors.push(SettingsError::TokenRotation(self.token_rotation));
        }
        if !(0.0..=RATE_RPS_MAX).contains(&self.default_capacity_rps) {
            errors.push(SettingsError::DefaultCapacity(self.default_capacity_rps));
        }
        if !self.service.is_reachable() {
            errors.push(SettingsError::Service(self.service));
        }
        if !self.node_margin.limits.is_limit() {
            errors.push(SettingsError::Limits(self.node_margin.limits));
        }
        errors
    }

    /// Reads a function's labels; where they do not tell its capacity, the default stands in and the error says
    /// what to warn about.
    pub fn function_spec(&self, labels: &BTreeMap<String, String>) -> (FunctionSpec, Option<LabelError>) {
        match FunctionSpec::from_labels(labels) {
            Ok(spec) => (spec, None),
            Err(err) => (
                FunctionSpec {
                    capacity_rps: self.default_capacity_rps,
                },
                Some(err),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_told_at_once() {
        let settings = Settings {
            node: NodeId::new("n1").unwrap(),
            incarnation: 1,
            service: "0.0.0.0:80".parse().unwrap(),
            period: Duration::from_millis(99),
            strategy: StrategyKind::WaterFilling,
            token_rotation: ROTATION_MIN - Duration::from_nanos(1),
            tokenless: Tokenless::default(),
            neighbourhood: Neighbourhood::default(),
            shadow: None,
            default_capacity_rps: f64::NAN,
            node_margin: MarginSettings::default(),
        };
        assert_eq!(settings.errors().len(), 4);
        let settings = Settings {
            service: "10.0.0.1:80".parse().unwrap(),
            period: PERIOD_MIN,
            token_rotation: ROTATION_MIN,
            default_capacity_rps: 0.0,
            node_margin: MarginSettings::default(),
            ..settings
        };
        assert_eq!(settings.errors(), []);
        let (spec, warning) = settings.function_spec(&BTreeMap::new());
        assert_eq!((spec.capacity_rps, warning), (0.0, Some(LabelError::Missing)));
    }
}
