//! To whom a node sends its excess: to all it is connected to, or only to its neighbours.
//!
//! Each node chooses its own neighbours and tells all peers whom, so that all compute the same: a node sends only to
//! its neighbours, and a peer admits only who has it among them. Everybody stays connected to everybody.
//!
//! Whom a node's operator admits is told in the same way, and between two of whom one does not admit the other there is nothing
//! either way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lenient;
use crate::message::{PEERS_MAX, Rejection};
use crate::names::NodeId;

/// How much farther a neighbour may be than who is none, before it is none, so that jitter does not move traffic.
const HYSTERESIS: f64 = 1.25;

/// How a node chooses its neighbours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Neighbourhood {
    /// Every peer is one.
    #[default]
    Everyone,
    /// These are.
    Listed(BTreeSet<NodeId>),
    /// So many peers with the shortest measured round-trip times are.
    Nearest(usize),
    /// The peers are whose measured round-trip time is at most this.
    Within(Duration),
}

/// The neighbours that a node has chosen, as it tells its peers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(#[serde(deserialize_with = "lenient::set")] Option<BTreeSet<NodeId>>);

/// The neighbours of who has said nothing of them.
pub(crate) static EVERYONE: Scope = Scope(None);

impl Neighbourhood {
    /// Chooses among connected peers and their round-trip times, where measured.
    pub(crate) fn choose(&self, peers: &BTreeMap<NodeId, Option<Duration>>, before: &Scope) -> Scope {
        match self {
            Self::Everyone => Scope(None),
            Self::Listed(ids) => Scope(Some(ids.iter().take(PEERS_MAX).cloned().collect())),
            Self::Nearest(count) => {
                let mut order: Vec<_> = distances(peers, before).collect();
                order.sort_by(|a, b| a.partial_cmp(b).expect("no time is NaN"));
                order.truncate(*count);
                Scope(Some(order.into_iter().map(|(_, id)| id.clone()).collect()))
            }
            Self::Within(limit) => {
                let near = distances(peers, before).filter(|&(rtt_s, _)| rtt_s <= limit.as_secs_f64());
                Scope(Some(near.map(|(_, id)| id.clone()).collect()))
            }
        }
    }
}

/// The round-trip times of measured peers; those of neighbours count for less.
fn distances<'a>(
    peers: &'a BTreeMap<NodeId, Option<Duration>>,
    before: &Scope,
) -> impl Iterator<Item = (f64, &'a NodeId)> {
    let measured = peers.iter().filter_map(|(id, rtt)| Some((id, (*rtt)?)));
    measured.map(|(id, rtt)| {
        let is_neighbour = before.0.as_ref().is_some_and(|ids| ids.contains(id));
        let ease = if is_neighbour { HYSTERESIS } else { 1.0 };
        (rtt.as_secs_f64() / ease, id)
    })
}

impl Scope {
    /// Whether a peer is a neighbour.
    pub fn includes(&self, id: &NodeId) -> bool {
        self.0.as_ref().is_none_or(|ids| ids.contains(id))
    }

    /// Whether every peer is one.
    pub fn is_everyone(&self) -> bool {
        self.0.is_none()
    }

    /// The chosen neighbours; none are named if everyone is one.
    pub(crate) fn named(&self) -> impl Iterator<Item = &NodeId> {
        self.0.iter().flatten()
    }

    /// The same, as it is told: who would name too many names only those that are connected.
    pub(crate) fn told(&self, connected: &BTreeMap<NodeId, Option<Duration>>) -> Self {
        let Some(ids) = self.0.as_ref().filter(|ids| ids.len() > PEERS_MAX) else {
            return self.clone();
        };
        connected
            .keys()
            .filter(|id| ids.contains(*id))
            .take(PEERS_MAX)
            .cloned()
            .collect()
    }

    /// Checks what a peer has told.
    pub(crate) fn check(&self) -> Result<(), Rejection> {
        if self.named().count() > PEERS_MAX {
            return Err(Rejection::TooMany);
        }
        Ok(())
    }
}

impl FromIterator<NodeId> for Scope {
    fn from_iter<I: IntoIterator<Item = NodeId>>(ids: I) -> Self {
        Self(Some(ids.into_iter().collect()))
    }
}

impl Display for Scope {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("every peer"),
            Some(ids) if ids.is_empty() => f.write_str("nobody"),
            Some(ids) => {
                let names: Vec<&str> = ids.iter().map(NodeId::as_str).collect();
                f.write_str(&names.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_is_a_neighbour_unless_told_otherwise() {
        let scope = Neighbourhood::default().choose(&peers(&[("a", Some(1))]), &Scope::default());
        assert!(scope.is_everyone() && scope.includes(&id("z")));
    }

    #[test]
    fn listed_peers_are_neighbours_connected_or_not() {
        let listed = Neighbourhood::Listed([id("a"), id("b")].into());
        check(&listed, &[("b", None), ("c", Some(1))], &[], "a, b");
    }

    #[test]
    fn the_nearest_are_chosen_among_the_measured() {
        let peers = [("a", Some(30)), ("b", None), ("c", Some(10)), ("d", Some(20))];
        check(&Neighbourhood::Nearest(2), &peers, &[], "c, d");
        check(&Neighbourhood::Nearest(0), &peers, &[], "nobody");
        check(&Neighbourhood::Nearest(9), &peers, &[], "a, c, d");
        // Of two that are as near, the lesser identity.
        check(
            &Neighbourhood::Nearest(1),
            &[("b", Some(5)), ("a", Some(5))],
            &[],
            "a",
        );
    }

    #[test]
    fn a_bound_is_inclusive() {
        let within = Neighbourhood::Within(Duration::from_millis(20));
        check(
            &within,
            &[("a", Some(20)), ("b", Some(21)), ("c", None)],
            &[],
            "a",
        );
    }

    #[test]
    fn jitter_does_not_change_neighbours() {
        let nearest = Neighbourhood::Nearest(1);
        check(&nearest, &[("a", Some(12)), ("b", Some(10))], &["a"], "a");
        check(&nearest, &[("a", Some(13)), ("b", Some(10))], &["a"], "b");
        let within = Neighbourhood::Within(Duration::from_millis(20));
        check(&within, &[("a", Some(25))], &["a"], "a");
        check(&within, &[("a", Some(26))], &["a"], "nobody");
    }

    #[track_caller]
    fn check(hood: &Neighbourhood, of: &[(&str, Option<u64>)], before: &[&str], want: &str) {
        let before = before.iter().copied().map(id).collect();
        assert_eq!(hood.choose(&peers(of), &before).to_string(), want);
    }

    fn peers(of: &[(&str, Option<u64>)]) -> BTreeMap<NodeId, Option<Duration>> {
        let peer = |&(name, rtt_ms): &(&str, Option<u64>)| (id(name), rtt_ms.map(Duration::from_millis));
        of.iter().map(peer).collect()
    }

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }
}
