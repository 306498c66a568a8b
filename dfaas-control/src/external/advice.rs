//! What the service answers.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::message::{FUNCTIONS_MAX, PEERS_MAX, is_rate};
use crate::names::{FunctionName, NodeId};

/// Largest answer looked at: as large as the largest message.
const BYTES_MAX: usize = crate::message::MESSAGE_BYTES_MAX;

/// What to do with the requests for a function. What is left out is 0, or no limit for a route.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Advice {
    /// What to serve here before anything is drawn by weight; this node's capacity if it is left out.
    pub(super) local_rps: Option<f64>,
    /// This node's own weight among the routes.
    pub(super) here: f64,
    pub(super) routes: BTreeMap<NodeId, RouteAdvice>,
    /// How many requests per second to admit.
    pub(super) admit: BTreeMap<NodeId, f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteAdvice {
    pub(super) weight: f64,
    #[serde(default)]
    pub(super) cap_rps: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    functions: BTreeMap<FunctionName, Advice>,
}

/// Reads an answer; the error says what is wrong with it.
pub(super) fn read(body: &[u8]) -> Result<BTreeMap<FunctionName, Advice>, String> {
    if body.len() > BYTES_MAX {
        return Err(format!("it has {} bytes, more than {BYTES_MAX}", body.len()));
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if answer.functions.len() > FUNCTIONS_MAX {
        return Err(format!(
            "it has {} functions, more than {FUNCTIONS_MAX}",
            answer.functions.len()
        ));
    }
    let wrong = answer.functions.iter().find(|(_, advice)| !advice.is_plausible());
    match wrong {
        Some((name, _)) => Err(format!(
            "{name} has a rate or weight that cannot be, or too many peers"
        )),
        None => Ok(answer.functions),
    }
}

impl Advice {
    fn is_plausible(&self) -> bool {
        let routes = self.routes.values();
        let rates = routes
            .clone()
            .filter_map(|route| route.cap_rps)
            .chain(self.local_rps);
        let weights = routes.map(|route| route.weight).chain([self.here]);
        self.routes.len().max(self.admit.len()) <= PEERS_MAX
            && rates
                .chain(weights)
                .chain(self.admit.values().copied())
                .all(is_rate)
    }
}
