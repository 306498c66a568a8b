//! Which part of each function's requests goes to which neighbour: in steps of one percent, in turn, as long as this
//! node is overloaded and the neighbour's margin allows it.

use std::collections::BTreeMap;

use super::forecast::Forecaster;
use crate::names::{FunctionName, NodeId};
use crate::neighbours::Weights;
use crate::node_usage::{Load, LoadGroup, NodeUsage};

/// A hundredth of what is left is moved at a time.
const STEP: f64 = 0.01;
/// What is left of a function below this share has no weight and counts as nothing, so that the steps end.
const SHARE_MIN: f64 = 0.005;

/// A node whose usage is to be told from its load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    pub(super) node_type: u8,
    pub(super) limits: NodeUsage,
    pub(super) load: Load,
}

/// A neighbour with a margin.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) machine: Machine,
    pub(super) margin_percent: f64,
    /// What it runs too.
    pub(super) functions: Vec<FunctionName>,
}

#[derive(Debug)]
pub(super) struct Placement<'a> {
    pub(super) own: Machine,
    pub(super) rates: &'a BTreeMap<FunctionName, f64>,
    pub(super) groups: &'a BTreeMap<FunctionName, LoadGroup>,
    pub(super) targets: BTreeMap<NodeId, Target>,
}

/// What is sent where.
#[derive(Debug, Default)]
struct Progress {
    maintained: BTreeMap<FunctionName, f64>,
    forwarded: BTreeMap<NodeId, BTreeMap<FunctionName, f64>>,
    /// The function whose turn it is, by target.
    turns: BTreeMap<NodeId, usize>,
}

impl Machine {
    pub(super) fn usage(&self, forecaster: &mut dyn Forecaster) -> Option<NodeUsage> {
        forecaster.predict(self.node_type, &self.load)
    }

    fn percent(&self, forecaster: &mut dyn Forecaster) -> Option<f64> {
        Some(self.usage(forecaster)?.percent_of(&self.limits))
    }
}

impl Placement<'_> {
    /// The weights of all functions that are asked for, or nothing as long as a forecast is missing.
    pub(super) fn weights(
        mut self,
        forecaster: &mut dyn Forecaster,
    ) -> Option<BTreeMap<FunctionName, Weights>> {
        let mut progress = Progress {
            maintained: self.rates.clone(),
            ..Progress::default()
        };
        self.targets
            .retain(|_, target| target.margin_percent > 0.0 && !target.functions.is_empty());
        let mut last = None;
        while !self.targets.is_empty() && self.own.usage(forecaster)?.exceeds(&self.own.limits) {
            let id = self.next_after(last.as_ref());
            self.step(&id, &mut progress, forecaster)?;
            self.targets.retain(|_, target| !target.functions.is_empty());
            last = Some(id);
        }
        let rates = self.rates.iter();
        Some(
            rates
                .map(|(name, &rate)| (name.clone(), progress.weights(name, rate)))
                .collect(),
        )
    }

    /// The target that comes after another one in the round.
    fn next_after(&self, last: Option<&NodeId>) -> NodeId {
        let later = self.targets.keys().find(|&id| last.is_none_or(|last| id > last));
        later
            .or_else(|| self.targets.keys().next())
            .expect("there is a target as long as steps are made")
            .clone()
    }

    fn step(&mut self, id: &NodeId, progress: &mut Progress, forecaster: &mut dyn Forecaster) -> Option<()> {
        let target = &self.targets[id];
        let turn = progress.turns.get(id).copied().unwrap_or(0) % target.functions.len();
        let name = target.functions[turn].clone();
        let left = progress.maintained.get(&name).copied().unwrap_or(0.0);
        if left <= self.rates.get(&name).copied().unwrap_or(0.0) * SHARE_MIN {
            for target in self.targets.values_mut() {
                target.functions.retain(|other| *other != name);
            }
            return Some(());
        }
        let moved = left * STEP;
        let sent = progress.forwarded.entry(id.clone()).or_default();
        let mut after = target.machine;
        for (name, &rate) in sent.iter() {
            after.load.add(self.groups.get(name).copied(), rate);
        }
        let group = self.groups.get(&name).copied();
        after.load.add(group, moved);
        let rise = after.percent(forecaster)? - target.machine.percent(forecaster)?;
        if target.margin_percent > rise {
            *sent.entry(name.clone()).or_insert(0.0) += moved;
            self.own.load.add(group, -moved);
            progress.maintained.insert(name, left - moved);
            progress.turns.insert(id.clone(), turn + 1);
        } else if let Some(target) = self.targets.get_mut(id) {
            target.functions.remove(turn);
            progress.turns.insert(id.clone(), turn);
        }
        Some(())
    }
}

impl Progress {
    fn weights(&self, name: &FunctionName, rate: f64) -> Weights {
        let percent = |part: f64| (part / rate * 100.0).round() as u64;
        let sent = self
            .forwarded
            .iter()
            .filter_map(|(id, parts)| Some((id.clone(), percent(*parts.get(name)?))));
        Weights {
            here: percent(self.maintained.get(name).copied().unwrap_or(0.0)),
            peers: sent.collect(),
        }
    }
}
