//! The nodes table of the strategies static and node margin: who has told of itself lately, and what it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::message::{FUNCTIONS_MAX, NodeInfo, PEERS_MAX, Rejection};
use crate::names::{FunctionName, NodeId};
use crate::neighbourhood::Scope;
use crate::policy::{FunctionPolicy, Peer, Policy, Route, Trust};
use crate::status::PeerFunctionStatus;
use crate::strategy::{Known, Local};

/// How many periods an entry lives.
const VALIDITY_PERIODS: u32 = 2;

#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    entries: BTreeMap<NodeId, Neighbour>,
    /// To whom this node sends, as peers know it.
    scope: Scope,
}

/// A node that has told of itself.
#[derive(Debug)]
pub(crate) struct Neighbour {
    alive: Instant,
    pub(crate) info: NodeInfo,
}

/// The weights of a function, in any unit.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Weights {
    pub(crate) here: u64,
    pub(crate) peers: BTreeMap<NodeId, u64>,
}

impl Neighbours {
    pub(crate) fn note(&mut self, now: Instant, from: &NodeId, info: NodeInfo) -> Result<(), Rejection> {
        if self.entries.len() >= PEERS_MAX && !self.entries.contains_key(from) {
            return Err(Rejection::TableFull);
        }
        self.entries.insert(from.clone(), Neighbour { alive: now, info });
        Ok(())
    }

    /// What this node tells: its own functions, as many as a node may list, and its neighbours as of now.
    pub(crate) fn own_info(&mut self, local: &Local) -> NodeInfo {
        self.scope = local.scope(&self.scope);
        NodeInfo {
            service: local.settings.service,
            functions: local.functions.keys().take(FUNCTIONS_MAX).cloned().collect(),
            scope: self.scope.clone(),
            profile: None,
        }
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(crate) fn contains(&self, id: &NodeId) -> bool {
        self.entries.contains_key(id)
    }

    /// A message other than what a node tells of itself keeps it alive too.
    pub(crate) fn refresh(&mut self, now: Instant, id: &NodeId) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.alive = now;
        }
    }

    pub(crate) fn expire(&mut self, local: &Local, now: Instant) {
        let validity = local.settings.period * VALIDITY_PERIODS;
        self.entries.retain(|_, entry| entry.alive + validity >= now);
    }

    pub(crate) fn forget(&mut self, id: &NodeId) {
        self.entries.remove(id);
    }

    /// The nodes that run a function of this one, and to which it may send.
    pub(crate) fn receivers<'a>(
        &'a self,
        local: &'a Local,
    ) -> impl Iterator<Item = (&'a NodeId, &'a Neighbour)> {
        self.common(local).filter(|(id, _)| self.scope.includes(id))
    }

    /// The nodes that run a function of this one, and may send to it.
    pub(crate) fn senders<'a>(
        &'a self,
        local: &'a Local,
    ) -> impl Iterator<Item = (&'a NodeId, &'a Neighbour)> {
        self.common(local)
            .filter(|(_, entry)| entry.info.scope.includes(&local.settings.node))
    }

    fn common<'a>(&'a self, local: &'a Local) -> impl Iterator<Item = (&'a NodeId, &'a Neighbour)> {
        let shares = |entry: &Neighbour| {
            entry
                .info
                .functions
                .iter()
                .any(|name| local.functions.contains_key(name))
        };
        self.entries.iter().filter(move |(_, entry)| shares(entry))
    }

    /// The policy that follows from weights: nothing has a limit, and each node may send whose neighbour this one is.
    pub(crate) fn policy(&self, local: &Local, weights: impl Fn(&FunctionName) -> Weights) -> Policy {
        let told = self.entries.values().flat_map(|entry| &entry.info.functions);
        let elsewhere: BTreeSet<&FunctionName> =
            told.filter(|name| !local.functions.contains_key(*name)).collect();
        let elsewhere = elsewhere.into_iter().take(FUNCTIONS_MAX);
        let hosted = local
            .functions
            .keys()
            .map(|name| (name.clone(), self.weighed(local, weights(name))));
        let peers = self.entries.iter().map(|(id, entry)| {
            let service = entry.info.service;
            let trust = Trust::default();
            (id.clone(), Peer { service, trust })
        });
        Policy {
            functions: elsewhere
                .map(|name| (name.clone(), FunctionPolicy::default()))
                .chain(hosted)
                .collect(),
            peers: peers.collect(),
            barred: BTreeSet::new(),
        }
    }

    fn weighed(&self, local: &Local, weights: Weights) -> FunctionPolicy {
        let total = (weights.here + weights.peers.values().sum::<u64>()) as f64;
        let route = |weight: u64| Route {
            weight: weight as f64 / total,
            cap_rps: f64::INFINITY,
        };
        let peers = weights.peers.into_iter().filter(|&(_, weight)| weight > 0);
        let may_send = |entry: &Neighbour| entry.info.scope.includes(&local.settings.node);
        let senders = self.entries.iter().filter(|(_, entry)| may_send(entry));
        FunctionPolicy {
            local_rps: 0.0,
            hosted: true,
            here: weights.here as f64 / total,
            routes: peers.map(|(id, weight)| (id, route(weight))).collect(),
            admit: senders.map(|(id, _)| (id.clone(), f64::INFINITY)).collect(),
        }
    }

    pub(crate) fn known(&self) -> BTreeMap<NodeId, Known> {
        let known = self.entries.iter().map(|(id, entry)| {
            let functions = entry.info.functions.iter();
            let known = Known {
                service: entry.info.service,
                heard: entry.alive,
                functions: functions
                    .map(|name| (name.clone(), PeerFunctionStatus::default()))
                    .collect(),
            };
            (id.clone(), known)
        });
        known.collect()
    }
}
