//! What the agents have counted.

use std::collections::BTreeMap;

use anyhow::Result;
use dfaas_testbed::{Federation, Status, Totals};

use super::FUNCTION;

/// What an agent has counted and decided.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) node: String,
    pub(crate) totals: Totals,
    /// Names of nodes, and their shares of what is too much here.
    pub(crate) weights: BTreeMap<String, f64>,
}

impl Counts {
    /// What all agents have counted of the demo's function.
    ///
    /// # Errors
    ///
    /// When an agent does not answer.
    pub(crate) fn of_all(federation: &Federation) -> Result<Vec<Self>> {
        Self::by(federation, |status| status.totals(FUNCTION))
    }

    /// What they have counted of all functions.
    ///
    /// # Errors
    ///
    /// As [`Self::of_all`].
    pub(crate) fn of_all_functions(federation: &Federation) -> Result<Vec<Self>> {
        Self::by(federation, Status::totals_of_all)
    }

    fn by(federation: &Federation, totals: impl Fn(&Status) -> Totals) -> Result<Vec<Self>> {
        let statuses = federation
            .nodes
            .iter()
            .map(dfaas_testbed::Node::status)
            .collect::<Result<Vec<_>>>()?;
        let names: BTreeMap<&str, &str> = statuses
            .iter()
            .map(Status::node)
            .zip(federation.nodes.iter().map(dfaas_testbed::Node::name))
            .collect();
        let name = |peer: &str| {
            names
                .get(peer)
                .map_or_else(|| peer.to_owned(), |name| (*name).to_owned())
        };
        let counted = federation.nodes.iter().zip(&statuses).map(|(node, status)| Self {
            node: node.name().to_owned(),
            totals: totals(status),
            weights: status
                .weights(FUNCTION)
                .into_iter()
                .map(|(peer, weight)| (name(&peer), weight))
                .collect(),
        });
        Ok(counted.collect())
    }
}
