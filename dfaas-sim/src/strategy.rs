//! Who decides: the agent's strategies, those of the original's simulator, and balancers that do not agree.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use dfaas_control::StrategyKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A strategy that can be simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyName {
    /// The agent's: every node computes the same allocation of surplus to deficits.
    WaterFilling,
    /// The agent's: equal offers to all peers, as the Go agents do.
    Recalc,
    /// The agent's: 60 of 100 here, 40 to the neighbours.
    Static,
    /// The agent's: forecasts of usage.
    NodeMargin,
    /// The agent's: a service decides; in the simulator nobody answers it.
    External,
    /// The agent's: everything here, without a limit.
    AllLocal,
    /// The original simulator's: excess is refused.
    Base,
    /// The original simulator's: random weights.
    Random,
    /// The original simulator's: weights from eight metrics of the neighbours.
    Empirical,
    /// A balancer for itself: whoever was below a latency when last heard of.
    LatencyThreshold,
    /// A balancer for itself: whoever has the fewest of its own requests.
    LeastConnections,
    /// A balancer for itself: of two drawn the one that was less busy when last heard of.
    PowerOfTwo,
}

/// Whose a strategy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `dfaas-control` itself decides.
    Agent(StrategyKind),
    /// A strategy of the original's simulator.
    Reference,
    /// A balancer that knows of no agreement.
    Balancer,
}

/// A name that no strategy has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no strategy is called {name:?}; there are {}", known())]
pub struct UnknownStrategy {
    name: String,
}

impl StrategyName {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::WaterFilling,
        Self::Recalc,
        Self::Static,
        Self::NodeMargin,
        Self::External,
        Self::AllLocal,
        Self::Base,
        Self::Random,
        Self::Empirical,
        Self::LatencyThreshold,
        Self::LeastConnections,
        Self::PowerOfTwo,
    ];

    /// Whose it is.
    pub fn origin(self) -> Origin {
        match self {
            Self::WaterFilling => Origin::Agent(StrategyKind::WaterFilling),
            Self::Recalc => Origin::Agent(StrategyKind::Recalc),
            Self::Static => Origin::Agent(StrategyKind::Static),
            Self::NodeMargin => Origin::Agent(StrategyKind::NodeMargin),
            Self::External => Origin::Agent(StrategyKind::External),
            Self::AllLocal => Origin::Agent(StrategyKind::AllLocal),
            Self::Base | Self::Random | Self::Empirical => Origin::Reference,
            Self::LatencyThreshold | Self::LeastConnections | Self::PowerOfTwo => Origin::Balancer,
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WaterFilling => "water-filling",
            Self::Recalc => "recalc",
            Self::Static => "static",
            Self::NodeMargin => "node-margin",
            Self::External => "external",
            Self::AllLocal => "all-local",
            Self::Base => "base",
            Self::Random => "random",
            Self::Empirical => "empirical",
            Self::LatencyThreshold => "latency-threshold",
            Self::LeastConnections => "least-connections",
            Self::PowerOfTwo => "power-of-two",
        }
    }
}

impl Display for StrategyName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for StrategyName {
    type Err = UnknownStrategy;

    fn from_str(name: &str) -> Result<Self, UnknownStrategy> {
        let found = Self::ALL.into_iter().find(|strategy| strategy.as_str() == name);
        found.ok_or_else(|| UnknownStrategy {
            name: name.to_owned(),
        })
    }
}

fn known() -> String {
    StrategyName::ALL.map(StrategyName::as_str).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_is_found_by_its_name() {
        for strategy in StrategyName::ALL {
            assert_eq!(strategy.to_string().parse(), Ok(strategy));
        }
        let error = "best".parse::<StrategyName>().unwrap_err().to_string();
        assert!(
            error.contains("best") && error.contains("water-filling"),
            "{error}"
        );
    }
}
