//! Node margin, a strategy of the Go agents: nodes tell how much of their limits for processor, memory and power is
//! free, and who is overloaded sends what the forecast says others can bear. Kept apart on purpose:
//!
//! - The raster begins when the node starts, rates are over the whole period, and neighbours take turns in the order of
//!   their ids.
//! - A lost connection ends a neighbour at once. The margin's load is stored under the names that it has.
//! - What is left of a function below half a percent counts as nothing; the original goes on for ever.
//! - Without a forecast in time the last decision stays; the original ends.
//! - A margin is told a while behind the node's info, as between theirs a forecast is asked for, and not to peers that
//!   came in between: an agent of the original ends when it hears the margin of a node that it has no info of, and gossip
//!   does not keep the order of two messages.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::counters::Counters;
use crate::explanation;
use crate::message::{MarginNews, Message, Profile, Rejection};
use crate::names::{FunctionName, NodeId};
use crate::neighbourhood::Scope;
use crate::neighbours::{Neighbours, Weights};
use crate::node_usage::{Load, NodeUsage};
use crate::period_rates::PeriodRates;
use crate::policy::Policy;
use crate::settings::Settings;
use crate::strategy::{Known, Local, Strategy, is_due};

use self::forecast::Forecaster;
use self::placement::{Machine, Placement, Target};

mod forecast;
mod placement;

/// How long the margin is behind the info; less if a quarter of a period is.
const SPACING: Duration = Duration::from_millis(300);

/// The strategy's memory.
#[derive(Debug)]
pub(crate) struct NodeMargin {
    neighbours: Neighbours,
    margins: BTreeMap<NodeId, MarginNews>,
    forecaster: Box<dyn Forecaster>,
    rates: PeriodRates,
    served: Served,
    /// The usage that was measured last, until it has been learnt from.
    measured: Option<NodeUsage>,
    round: Round,
    /// The mean of what this node will use, in percent of its limits, as of the last round.
    forecast_percent: Option<f64>,
    weights: BTreeMap<FunctionName, Weights>,
    info: Option<Vec<u8>>,
    /// The margin of this round, until it is told.
    margin: Option<Vec<u8>>,
    /// When a margin may be told.
    margin_at: Instant,
    /// Who was connected when the info was told.
    informed: BTreeSet<NodeId>,
    is_margin_due: bool,
    changed: bool,
    next_round: Instant,
}

/// How far the round is.
#[derive(Debug, Clone, PartialEq, Default)]
enum Round {
    #[default]
    Decided,
    /// A forecast is missing.
    Waiting { is_asked: bool },
}

/// Requests served here since the last round, whoever sent them: they are what the usage comes from.
#[derive(Debug, Default)]
struct Served {
    counts: BTreeMap<FunctionName, u64>,
    elapsed: Duration,
}

impl NodeMargin {
    pub(crate) fn new(settings: &Settings, now: Instant) -> Self {
        Self {
            neighbours: Neighbours::default(),
            margins: BTreeMap::new(),
            forecaster: forecast::forecaster(settings.node_margin.forecaster),
            rates: PeriodRates::default(),
            served: Served::default(),
            measured: None,
            round: Round::Decided,
            forecast_percent: None,
            weights: BTreeMap::new(),
            info: None,
            margin: None,
            margin_at: now,
            informed: BTreeSet::new(),
            is_margin_due: false,
            changed: false,
            next_round: now,
        }
    }

    fn begin_round(&mut self, local: &Local, now: Instant) {
        self.neighbours.expire(local, now);
        self.margins.retain(|id, _| self.neighbours.contains(id));
        self.rates.close();
        self.learn(local);
        self.forecaster.begin();
        let margin = &local.settings.node_margin;
        let profile = Profile {
            node_type: margin.node_type,
            limits: margin.limits,
        };
        self.info = Some(self.neighbours.own_info(local).encode_margin(&profile));
        self.margin = None;
        self.is_margin_due = false;
        self.margin_at = now + SPACING.min(local.settings.period / 4);
        self.informed = local.connected.keys().cloned().collect();
        self.round = Round::Waiting { is_asked: false };
        self.decide(local);
    }

    fn learn(&mut self, local: &Local) {
        let served = std::mem::take(&mut self.served);
        let (Some(usage), false) = (self.measured.take(), served.elapsed.is_zero()) else {
            return;
        };
        let mut load = Load::default();
        for (name, count) in served.counts {
            let rate_rps = count as f64 / served.elapsed.as_secs_f64();
            load.add(local.settings.node_margin.groups.get(&name).copied(), rate_rps);
        }
        self.forecaster.learn(&load, &usage);
    }

    /// Goes as far as forecasts reach.
    fn decide(&mut self, local: &Local) {
        let own = self.own_machine(local);
        let Some(usage) = own.usage(&mut *self.forecaster) else {
            return;
        };
        self.forecast_percent = Some(usage.percent_of(&own.limits));
        let count = self.neighbours.senders(local).count();
        let placement = Placement {
            own,
            rates: &self.own_rates(local),
            groups: &local.settings.node_margin.groups,
            targets: self.targets(local),
        };
        let weights = placement.weights(&mut *self.forecaster);
        if count > 0 && weights.is_some() {
            let margin_percent = if usage.exceeds(&own.limits) {
                0.0
            } else {
                (100.0 - usage.percent_of(&own.limits)) / count as f64
            };
            let load = if margin_percent > 0.0 {
                own.load
            } else {
                Load::default()
            };
            self.margin = Some(MarginNews { margin_percent, load }.encode());
        }
        if let Some(weights) = weights {
            self.weights = weights;
            self.round = Round::Decided;
            self.changed = true;
        }
    }

    fn own_rates(&self, local: &Local) -> BTreeMap<FunctionName, f64> {
        let rates = local
            .functions
            .keys()
            .map(|name| (name.clone(), self.rates.of(name)));
        rates
            .filter_map(|(name, rate)| Some((name, rate.filter(|&rate| rate > 0.0)?)))
            .collect()
    }

    fn own_machine(&self, local: &Local) -> Machine {
        let margin = &local.settings.node_margin;
        let mut load = Load::default();
        for (name, rate_rps) in self.own_rates(local) {
            load.add(margin.groups.get(&name).copied(), rate_rps);
        }
        Machine {
            node_type: margin.node_type,
            limits: margin.limits,
            load,
        }
    }

    fn targets(&self, local: &Local) -> BTreeMap<NodeId, Target> {
        let targets = self.neighbours.receivers(local).filter_map(|(id, neighbour)| {
            let (news, profile) = (self.margins.get(id)?, neighbour.info.profile?);
            let functions = local.functions.keys();
            let target = Target {
                machine: Machine {
                    node_type: profile.node_type,
                    limits: profile.limits,
                    load: news.load,
                },
                margin_percent: news.margin_percent,
                functions: functions
                    .filter(|name| neighbour.info.functions.contains(name))
                    .cloned()
                    .collect(),
            };
            Some((id.clone(), target))
        });
        targets.collect()
    }

    /// The last decision, as far as its peers are still there.
    fn weights_of(&self, name: &FunctionName) -> Weights {
        let alone = || Weights {
            here: 100,
            peers: BTreeMap::new(),
        };
        let Some(decided) = self.weights.get(name) else {
            return alone();
        };
        let peers = decided
            .peers
            .iter()
            .filter(|(id, _)| self.neighbours.contains(id) && self.neighbours.scope().includes(id));
        let weights = Weights {
            here: decided.here,
            peers: peers.map(|(id, &weight)| (id.clone(), weight)).collect(),
        };
        let is_nothing = weights.here == 0 && weights.peers.values().all(|&weight| weight == 0);
        if is_nothing { alone() } else { weights }
    }
}

impl Strategy for NodeMargin {
    fn handle_counters(&mut self, counters: &Counters) {
        self.rates.add(counters);
        self.served.elapsed += counters.elapsed;
        for (name, counted) in &counters.functions {
            let served = counted.local + counted.admitted.values().sum::<u64>();
            *self.served.counts.entry(name.clone()).or_insert(0) += served;
        }
    }

    fn handle_usage(&mut self, usage: &NodeUsage) {
        self.measured = Some(*usage);
    }

    fn handle_functions(&mut self, _local: &Local, _now: Instant) {
        self.changed = true;
    }

    fn handle_message(
        &mut self,
        _local: &Local,
        now: Instant,
        from: &NodeId,
        body: &[u8],
    ) -> Result<(), Rejection> {
        match Message::decode(body)? {
            Message::MarginInfo(info) => self.neighbours.note(now, from, info),
            Message::Margin(_) if !self.neighbours.contains(from) => Err(Rejection::NotAddressed),
            Message::Margin(news) => {
                self.neighbours.refresh(now, from);
                self.margins.insert(from.clone(), news);
                Ok(())
            }
            Message::State(_) | Message::External(_) | Message::Offer(_) | Message::StaticInfo(_) => {
                Err(Rejection::OtherStrategy)
            }
        }
    }

    fn handle_peer_down(&mut self, _now: Instant, id: &NodeId) {
        self.neighbours.forget(id);
        self.margins.remove(id);
        self.changed = true;
    }

    fn handle_timeout(&mut self, local: &Local, now: Instant) {
        if is_due(&mut self.next_round, local.settings.period, now) {
            self.begin_round(local, now);
        }
        if self.margin.is_some() && now >= self.margin_at {
            self.is_margin_due = true;
            if local.connected.keys().any(|id| !self.informed.contains(id)) {
                self.margin = None;
            }
        }
    }

    fn poll_timeout(&self) -> Instant {
        if self.margin.is_some() && !self.is_margin_due {
            self.next_round.min(self.margin_at)
        } else {
            self.next_round
        }
    }

    fn poll_publish(&mut self) -> Option<Vec<u8>> {
        let margin = self.margin.take_if(|_| self.info.is_none() && self.is_margin_due);
        self.info.take().or(margin)
    }

    fn poll_policy(&mut self, local: &Local) -> Option<Policy> {
        std::mem::take(&mut self.changed).then(|| self.neighbours.policy(local, |name| self.weights_of(name)))
    }

    fn demand_rps(&self, function: &FunctionName) -> f64 {
        self.rates.of(function).unwrap_or(0.0)
    }

    fn reasons(&self, local: &Local, function: &FunctionName) -> Vec<String> {
        let group = local.settings.node_margin.groups.get(function);
        let mut lines = vec![match group {
            Some(group) => format!(
                "it is in the group {group:?}, and its users ask for {}",
                explanation::rate(self.demand_rps(function))
            ),
            None => "it is in no group, so it counts for no load".to_owned(),
        }];
        if let Some(percent) = self.forecast_percent {
            lines.push(format!("the forecast is {percent:.1} % of this node's limits"));
        }
        let neighbours = self.neighbours.receivers(local);
        lines.extend(neighbours.map(|(id, _)| {
            let margin = self.margins.get(id).map_or(0.0, |news| news.margin_percent);
            format!("{} has a margin of {margin:.1} %", explanation::peer(id))
        }));
        if self.round != Round::Decided {
            lines.push("a forecast is missing, so the last decision stays".to_owned());
        }
        lines
    }

    fn scope(&self) -> &Scope {
        self.neighbours.scope()
    }

    fn known(&self) -> BTreeMap<NodeId, Known> {
        self.neighbours.known()
    }

    fn poll_question(&mut self) -> Option<Vec<u8>> {
        if self.round != (Round::Waiting { is_asked: false }) {
            return None;
        }
        let question = self.forecaster.question()?;
        self.round = Round::Waiting { is_asked: true };
        Some(question)
    }

    fn handle_answer(&mut self, local: &Local, answer: Option<&[u8]>) {
        if let (Round::Waiting { is_asked: true }, Some(body)) = (&self.round, answer) {
            self.round = Round::Waiting { is_asked: false };
            self.forecaster.answer(body);
            self.decide(local);
        }
    }
}

#[cfg(test)]
mod tests;
