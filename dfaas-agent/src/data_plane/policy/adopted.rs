//! What the maps hold from an agent before this one, and for how long that stands.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use dfaas_common::{
    maps::{Function, Pair, PeerKey, TARGETS},
    meter::Limit,
    pairing::TokenText,
};
use dfaas_control::{FunctionName, NodeId, Policy};

use super::{BucketOf, PeerRows, PolicyMaps, remove};
use crate::{
    data_plane::names::{self, NameMap, Names},
    steering,
};

/// How long decisions of an agent before this one stand at most, once this one has decided: peers are met within some periods, or
/// they are gone.
const HOLD: Duration = Duration::from_secs(10);
/// The same while this one knows of no function of its own: its platform, which may be starting too, has not answered yet.
const HOLD_UNHEARD: Duration = Duration::from_secs(60);

/// What an agent before this one has decided stands until this one knows as much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    /// When this agent had its first policy. The kernel examines the programs before, which takes some machines longer than
    /// [`HOLD`].
    since: Option<Instant>,
    /// Also what it has decided about peers: it has not been away for long.
    is_with_peers: bool,
}

/// The rows of an agent before this one.
type Rows<K, V> = Vec<(K, V)>;

impl PolicyMaps {
    /// Takes what stands in the maps for what this agent has written.
    ///
    /// # Errors
    /// The maps cannot be read.
    pub(in super::super) fn adopt(
        &mut self,
        names: &mut Names,
        table: &NameMap,
        is_with_peers: bool,
    ) -> Result<()> {
        let functions = self.functions_before()?;
        let peers = self.peers_before()?;
        names.restore(
            functions
                .iter()
                .map(|(name, row)| (name.clone(), row.id))
                .collect(),
            peers
                .iter()
                .map(|(id, rows)| (id.clone(), rows.peer.index))
                .collect(),
            table,
        )?;
        self.adopt_limits(names, &functions)?;
        for (name, row) in functions {
            names.functions.claim(&name);
            self.written.functions.insert(name, row);
        }
        for (id, rows) in peers {
            names.peers.claim(&id);
            self.written.peers.insert(id, rows);
        }
        self.hold = Some(Hold {
            since: None,
            is_with_peers,
        });
        Ok(())
    }

    /// How many functions and peers stand in the maps.
    pub(in super::super) fn size(&self) -> (usize, usize) {
        (self.written.functions.len(), self.written.peers.len())
    }

    /// Whether what another agent has decided stands.
    pub(in super::super) fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// Lets a policy come into force that knows as much as the one before, and after a while any.
    pub(in super::super) fn release(&mut self, policy: &Policy, now: Instant) {
        let Some(mut hold) = self.hold else { return };
        let held = now.duration_since(*hold.since.get_or_insert(now));
        self.hold = (held < longest(policy) && !self.is_covered(policy, &hold)).then_some(hold);
    }

    fn is_covered(&self, policy: &Policy, hold: &Hold) -> bool {
        let written = &self.written;
        let has_functions = written
            .functions
            .keys()
            .all(|name| policy.functions.contains_key(name));
        let has_peer = |id: &NodeId| {
            let peer = policy.peers.get(id);
            peer.is_some_and(|peer| peer.trust.tokenless || peer.trust.sends.is_some())
        };
        let has_route = |(name, peer): &(FunctionName, NodeId)| {
            let function = policy.functions.get(name);
            function.is_some_and(|function| function.routes.contains_key(peer))
        };
        let has_peers = || written.peers.keys().all(has_peer) && written.caps.keys().all(has_route);
        has_functions && (!hold.is_with_peers || has_peers())
    }

    fn functions_before(&self) -> Result<Rows<FunctionName, Function>> {
        let mut rows = Vec::new();
        for entry in self.functions.iter() {
            let (key, row) = entry.context("reading FUNCTIONS")?;
            rows.extend(FunctionName::new(names::text(&key.name)).map(|name| (name, row)));
        }
        // A function has rows under its other names, too.
        let others: Vec<String> = rows
            .iter()
            .flat_map(|(name, _)| steering::names_of(name).into_iter().skip(1))
            .collect();
        rows.retain(|(name, _)| !others.iter().any(|other| other == name.as_str()));
        Ok(rows)
    }

    fn peers_before(&self) -> Result<Rows<NodeId, PeerRows>> {
        let mut rows = Vec::new();
        for entry in self.peers.iter() {
            let (PeerKey { id }, peer) = entry.context("reading PEERS")?;
            let index = peer.index.min(TARGETS as u32 - 1);
            let target = self.targets.get(&index, 0).context("reading TARGETS")?;
            let stamp = self.stamps.get(&index, 0).context("reading STAMPS")?;
            let known = PeerRows { target, stamp, peer };
            rows.extend(NodeId::new(names::text(&id)).map(|id| (id, known)));
        }
        Ok(rows)
    }

    fn adopt_limits(&mut self, names: &Names, functions: &[(FunctionName, Function)]) -> Result<()> {
        let named = |pair: &Pair| {
            let name = names.functions.key(pair.function)?.clone();
            Some((name, names.peers.key(pair.peer)?.clone()))
        };
        let mut buckets: Vec<(BucketOf, u32)> = functions
            .iter()
            .map(|(name, row)| (BucketOf::Local(name.clone()), row.local.bucket))
            .collect();
        let admissions: Rows<Pair, Limit> = self.admissions.iter().collect::<Result<_, _>>()?;
        for (pair, limit) in admissions {
            let Some((name, peer)) = named(&pair) else {
                remove(&mut self.admissions, &pair, "ADMISSIONS")?;
                continue;
            };
            buckets.push((BucketOf::Admission(name.clone(), peer.clone()), limit.bucket));
            self.written.admissions.insert((name, peer), limit);
        }
        let caps: Rows<Pair, Limit> = self.caps.iter().collect::<Result<_, _>>()?;
        for (pair, limit) in caps {
            let Some((name, peer)) = named(&pair) else {
                remove(&mut self.caps, &pair, "CAPS")?;
                continue;
            };
            buckets.push((BucketOf::Cap(name.clone(), peer.clone()), limit.bucket));
            self.written.caps.insert((name, peer), limit);
        }
        self.buckets.restore(buckets);
        Ok(())
    }
}

/// A peer's rows while it may still use what the agent before this one has agreed with it.
pub(super) fn blended(before: &PeerRows, mut now: PeerRows, has_token: bool) -> PeerRows {
    if !has_token {
        now.stamp = before.stamp;
    }
    let known = now.peer.tokens;
    let mut old = before
        .peer
        .tokens
        .into_iter()
        .filter(|token| !known.contains(token));
    for token in now
        .peer
        .tokens
        .iter_mut()
        .filter(|token| **token == TokenText::default())
    {
        *token = old.next().unwrap_or_default();
    }
    now
}

/// How long decisions of another agent stand at most beside this policy.
fn longest(policy: &Policy) -> Duration {
    if policy.functions.values().any(|function| function.hosted) {
        HOLD
    } else {
        HOLD_UNHEARD
    }
}

#[cfg(test)]
mod tests {
    use dfaas_common::maps::{Peer, STAMP_BYTES, Stamp, Target};
    use dfaas_control::FunctionPolicy;

    use super::*;

    #[test]
    fn a_peer_may_use_its_tokens_until_it_has_others() {
        let before = rows(1, [7, 8]);
        check(&before, rows(2, [0, 0]), false, rows(1, [7, 8]));
        check(&before, rows(2, [9, 0]), true, rows(2, [9, 7]));
        check(&before, rows(2, [7, 0]), true, rows(2, [7, 8]));
        check(&before, rows(2, [9, 6]), true, rows(2, [9, 6]));
    }

    #[test]
    fn a_platform_that_has_not_answered_is_waited_for() {
        let mut policy = Policy::default();
        let function = |hosted| FunctionPolicy {
            hosted,
            ..FunctionPolicy::default()
        };
        assert_eq!(longest(&policy), HOLD_UNHEARD);
        policy
            .functions
            .insert(FunctionName::new("far").unwrap(), function(false));
        assert_eq!(longest(&policy), HOLD_UNHEARD);
        policy
            .functions
            .insert(FunctionName::new("near").unwrap(), function(true));
        assert_eq!(longest(&policy), HOLD);
    }

    #[track_caller]
    fn check(before: &PeerRows, now: PeerRows, has_token: bool, want: PeerRows) {
        let got = blended(before, now, has_token);
        assert_eq!((got.stamp, got.peer.tokens), (want.stamp, want.peer.tokens));
    }

    fn rows(stamp: u32, tokens: [u64; 2]) -> PeerRows {
        PeerRows {
            target: Target::default(),
            stamp: Stamp {
                length: stamp,
                reserved: 0,
                bytes: [0; STAMP_BYTES],
            },
            peer: Peer {
                tokens: tokens.map(|token| TokenText([token; 4])),
                ..Peer::default()
            },
        }
    }
}
