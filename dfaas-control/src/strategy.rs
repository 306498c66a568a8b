//! Ways to distribute the excess.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug, Display, Formatter};
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::all_local::AllLocal;
use crate::counters::Counters;
use crate::external::External;
use crate::function_spec::FunctionSpec;
use crate::message::Rejection;
use crate::names::{FunctionName, NodeId};
use crate::neighbourhood::Scope;
use crate::node_margin::NodeMargin;
use crate::node_usage::NodeUsage;
use crate::policy::Policy;
use crate::recalc::Recalc;
use crate::settings::Settings;
use crate::static_shares::StaticShares;
use crate::status::PeerFunctionStatus;
use crate::water_filling::WaterFilling;

/// A way to distribute the excess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyKind {
    /// Every node computes the same allocation of surplus to deficits from what all have told.
    WaterFilling,
    /// The algorithm of the Go agents: equal offers to all peers, in two steps half a period apart.
    Recalc,
    /// Fixed shares of the Go agents: 60 of 100 here, 40 to the neighbours.
    Static,
    /// The Go agents' forecast of usage: what others can bear of an overloaded node's requests goes to them.
    NodeMargin,
    /// What a service outside of the agent decides.
    External,
    /// Everything here, nothing to others.
    AllLocal,
}

/// A name that no strategy has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no strategy is called {0:?}; there are water-filling, recalc, node-margin, static, all-local and external{hint}",
    hint = equivalent(.0)
)]
pub struct UnknownStrategy(pub String);

/// What to say here for strategies that only the Go agents have.
fn equivalent(name: &str) -> &'static str {
    match name.to_lowercase().trim_end_matches("strategy") {
        "latencythreshold" => "; a bound on latency is --neighbours within:20ms, with any of them",
        "random" => "; weights by chance are for external, and the simulator's random",
        "rlagent" => "; a learnt model is asked by external",
        _ => "",
    }
}

impl FromStr for StrategyKind {
    type Err = UnknownStrategy;

    fn from_str(name: &str) -> Result<Self, UnknownStrategy> {
        match name {
            "water-filling" | "waterfilling" => Ok(Self::WaterFilling),
            "recalc" | "recalcstrategy" => Ok(Self::Recalc),
            "static" | "staticstrategy" => Ok(Self::Static),
            "node-margin" | "nodemargin" | "nodemarginstrategy" => Ok(Self::NodeMargin),
            "external" => Ok(Self::External),
            "all-local" | "alllocal" | "alllocalstrategy" => Ok(Self::AllLocal),
            _ => Err(UnknownStrategy(name.to_owned())),
        }
    }
}

impl Display for StrategyKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WaterFilling => "water-filling",
            Self::Recalc => "recalc",
            Self::Static => "static",
            Self::NodeMargin => "node-margin",
            Self::External => "external",
            Self::AllLocal => "all-local",
        })
    }
}

/// What a node knows about itself and its connections, whatever the strategy.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) settings: Settings,
    pub(crate) functions: BTreeMap<FunctionName, FunctionSpec>,
    /// Live connections and their round-trip times, where measured.
    pub(crate) connected: BTreeMap<NodeId, Option<Duration>>,
    /// Whom the operator admits. Nobody else is among the connected, and nobody else's messages reach a strategy.
    pub(crate) admitted: Scope,
    /// The connected peers to which requests may go.
    pub(crate) open: BTreeSet<NodeId>,
}

impl Local {
    /// Whether requests may go to a peer. Who needs no token cannot be asked, and is taken for reachable.
    pub(crate) fn reaches(&self, id: &NodeId) -> bool {
        self.open.contains(id) || self.settings.tokenless.includes(id)
    }

    /// The neighbours as of now, given those that peers know of.
    pub(crate) fn scope(&self, before: &Scope) -> Scope {
        self.settings.neighbourhood.choose(&self.connected, before)
    }
}

/// What a strategy knows about a peer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    pub(crate) service: crate::service_address::ServiceAddress,
    pub(crate) heard: Instant,
    pub(crate) functions: BTreeMap<FunctionName, PeerFunctionStatus>,
}

/// A strategy keeps what peers told and decides from it.
///
/// Methods only note what happened; `poll_publish` and `policy` tell what follows.
pub(crate) trait Strategy: Debug + Send + Sync {
    fn handle_counters(&mut self, counters: &Counters);
    /// The functions in `local` are others than before.
    fn handle_functions(&mut self, local: &Local, now: Instant);
    fn handle_message(
        &mut self,
        local: &Local,
        now: Instant,
        from: &NodeId,
        body: &[u8],
    ) -> Result<(), Rejection>;
    fn handle_clock(&mut self, _local: &Local, _now: Instant, _since_1970: Duration) {}
    fn handle_peer_up(&mut self, _local: &Local, _now: Instant, _id: &NodeId) {}
    fn handle_peer_down(&mut self, now: Instant, id: &NodeId);
    /// Others are admitted than before; those who are no more have been reported lost.
    fn handle_admitted(&mut self) {}
    fn handle_timeout(&mut self, local: &Local, now: Instant);
    fn poll_timeout(&self) -> Instant;
    /// The newest message to publish, once. An older one that nobody fetched is superseded.
    fn poll_publish(&mut self) -> Option<Vec<u8>>;
    /// The policy, if something happened since the last call that may change it.
    fn poll_policy(&mut self, local: &Local) -> Option<Policy>;
    fn demand_rps(&self, function: &FunctionName) -> f64;
    fn known(&self) -> BTreeMap<NodeId, Known>;
    /// To whom this node sends, as it has told its peers last.
    fn scope(&self) -> &Scope;
    /// What it decided from about a function, in whole phrases.
    fn reasons(&self, local: &Local, function: &FunctionName) -> Vec<String>;
    /// What the node used was measured.
    fn handle_usage(&mut self, _usage: &NodeUsage) {}
    /// What to ask the service that this strategy consults. One question at a time.
    fn poll_question(&mut self) -> Option<Vec<u8>> {
        None
    }
    /// The answer to the last question, or nothing if there was none in time.
    fn handle_answer(&mut self, _local: &Local, _answer: Option<&[u8]>) {}
}

/// A strategy that knows nothing yet.
pub(crate) fn start(kind: StrategyKind, settings: &Settings, now: Instant) -> Box<dyn Strategy> {
    match kind {
        StrategyKind::WaterFilling => Box::new(WaterFilling::new(settings, now)),
        StrategyKind::Recalc => Box::new(Recalc::new(settings, now)),
        StrategyKind::Static => Box::new(StaticShares::new(now)),
        StrategyKind::NodeMargin => Box::new(NodeMargin::new(settings, now)),
        StrategyKind::External => Box::new(External::new(now)),
        StrategyKind::AllLocal => Box::new(AllLocal::new(now)),
    }
}

/// Tells whether the next point of a raster has come, and if so moves on to the one after it.
pub(crate) fn is_due(next: &mut Instant, step: Duration, now: Instant) -> bool {
    let is_due = now >= *next;
    if is_due {
        *next = next_after(*next, step, now);
    }
    is_due
}

/// The first point of the raster `at`, `at + step`, … after `now`; the raster starts anew if a point was missed.
pub(crate) fn next_after(at: Instant, step: Duration, now: Instant) -> Instant {
    let next = at + step;
    if next > now { next } else { now + step }
}

/// Moves a raster to where a clock has its multiples of `step`, plus `behind`. One that is there but for a twentieth of a
/// step stays, so that no point is missed or comes twice.
pub(crate) fn align(next: &mut Instant, step: Duration, behind: Duration, now: Instant, clock: Duration) {
    let nanos = |time: Duration| time.as_nanos() as u64;
    let since_point = (nanos(clock) + nanos(step) - nanos(behind)) % nanos(step);
    let wanted = now + step - Duration::from_nanos(since_point);
    let apart = nanos(wanted.max(*next) - wanted.min(*next)) % nanos(step);
    if apart.min(nanos(step) - apart) > nanos(step) / 20 {
        *next = wanted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_go_by_several_names() {
        for (names, kind) in [
            (&["water-filling", "waterfilling"][..], StrategyKind::WaterFilling),
            (&["recalc", "recalcstrategy"], StrategyKind::Recalc),
            (&["static", "staticstrategy"], StrategyKind::Static),
            (&["node-margin", "nodemarginstrategy"], StrategyKind::NodeMargin),
            (&["external"], StrategyKind::External),
            (&["all-local", "alllocalstrategy"], StrategyKind::AllLocal),
        ] {
            for name in names {
                assert_eq!(name.parse(), Ok(kind));
            }
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        for (name, hint) in [
            ("latencythresholdstrategy", "--neighbours within:"),
            ("latencythreshold", "--neighbours within:"),
            ("randomstrategy", "simulator"),
            ("rlagentstrategy", "external"),
        ] {
            let error = name.parse::<StrategyKind>().unwrap_err().to_string();
            let (_, told) = error.split_once("all-local and external; ").unwrap();
            assert!(told.contains(hint), "{error}");
        }
        let err = "rlagentstrategy".parse::<StrategyKind>().unwrap_err().to_string();
        assert!(err.contains("rlagentstrategy") && err.contains("water-filling") && err.contains("recalc"));
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant has no other origin; only differences matter"
    )]
    fn a_raster_starts_anew_when_a_point_was_missed() {
        let (start, step) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(next_after(start, step, start), start + step);
        assert_eq!(next_after(start, step, start + step / 2), start + step);
        assert_eq!(next_after(start, step, start + step), start + step * 2);
        assert_eq!(
            next_after(start, step, start + step * 5 / 2),
            start + step * 7 / 2
        );
    }
}
