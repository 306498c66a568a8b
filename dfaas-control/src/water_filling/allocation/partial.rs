//! Placing where not everybody sends to everybody.
//!
//! Nodes that reach each other's surplus, directly or over others, are a part, and each part shares as a whole
//! federation does. A sender that finds its receivers used up then has others move on to receivers that only those
//! reach, so that as much is placed as can be.

use std::collections::{BTreeMap, VecDeque};

use super::placing::{self, Ask, Book, REST_RPS_MIN};
use crate::water_filling::distances::Distances;

/// What is placed, by receiver and sender.
#[derive(Debug, Default)]
pub(super) struct Flows(BTreeMap<(usize, usize), f64>);

/// A sender and a receiver, the former of which is to send more to the latter, if the one before in the same path sends
/// less there.
type Path = Vec<(usize, usize)>;

/// Places as much of the deficits as is within reach, and takes it from what is left.
pub(super) fn place(deficits: &[f64], left: &mut [f64], distances: &Distances) -> Flows {
    let mut flows = Flows::default();
    let mut rest = share(&mut flows, deficits, left, distances);
    let mut hopeless = vec![false; rest.len()];
    for (sender, rest) in rest.iter_mut().enumerate() {
        while *rest >= REST_RPS_MIN
            && let Some(path) = flows.path(sender, left, distances, &mut hopeless)
        {
            *rest -= flows.follow(&path, *rest, left);
        }
    }
    flows
}

/// The same where nobody has to move on, in a book that need not hold all: tells whether it is so. All that is placed between
/// hundreds of senders and hundreds of receivers is a hundred thousand pairs, of which a node needs its own.
pub(super) fn place_directly(
    book: &mut impl Book,
    deficits: &[f64],
    left: &mut [f64],
    distances: &Distances,
) -> bool {
    let rest = share(book, deficits, left, distances);
    let is_little = |rates: &[f64]| rates.iter().all(|&rate| rate < REST_RPS_MIN);
    is_little(&rest) || is_little(left)
}

/// Has each part share what it has, and returns what is not placed.
fn share(book: &mut impl Book, deficits: &[f64], left: &mut [f64], distances: &Distances) -> Vec<f64> {
    let mut rest = deficits.to_vec();
    // Each round satisfies all of a part, or uses up all that one of its senders reaches.
    for _ in 0..rest.len() {
        let granted = grants(&rest, left, distances);
        if granted.iter().all(|&rate| rate < REST_RPS_MIN) {
            break;
        }
        let mut unplaced = granted.clone();
        placing::place(book, distances, &mut unplaced, left);
        for (i, rest) in rest.iter_mut().enumerate() {
            *rest = (*rest - granted[i] + unplaced[i]).max(0.0);
        }
    }
    rest
}

/// Each part's surplus, in max-min fair shares.
fn grants(rest: &[f64], left: &[f64], distances: &Distances) -> Vec<f64> {
    let has_room = |j: usize| left[j] >= REST_RPS_MIN;
    let mut parts = Parts::new(rest.len());
    for i in (0..rest.len()).filter(|&i| rest[i] >= REST_RPS_MIN) {
        for &j in distances.reach(i).iter().filter(|&&j| has_room(j)) {
            parts.join(i, j);
        }
    }
    // Of a thousand nodes with room most are in a part where nobody asks.
    let mut askers: BTreeMap<usize, (Vec<usize>, f64)> = BTreeMap::new();
    for i in (0..rest.len()).filter(|&i| rest[i] >= REST_RPS_MIN) {
        askers.entry(parts.of(i)).or_default().0.push(i);
    }
    for j in (0..left.len()).filter(|&j| has_room(j)) {
        if let Some((_, total)) = askers.get_mut(&parts.of(j)) {
            *total += left[j];
        }
    }
    let mut grants = vec![0.0; rest.len()];
    for (members, total) in askers.into_values() {
        let asked: Vec<f64> = members.iter().map(|&i| rest[i]).collect();
        for (&i, share) in members.iter().zip(placing::fair_shares(&asked, total)) {
            grants[i] = share;
        }
    }
    grants
}

impl Flows {
    /// What is placed from a sender, by receiver.
    pub(super) fn sent(&self, sender: usize, nodes: usize) -> Vec<f64> {
        (0..nodes).map(|j| self.between(sender, j)).collect()
    }

    /// What is placed on a receiver, by sender.
    pub(super) fn received(&self, receiver: usize, nodes: usize) -> Vec<f64> {
        (0..nodes).map(|i| self.between(i, receiver)).collect()
    }

    /// All that is placed: receiver, sender, and requests per second.
    pub(super) fn all(&self) -> impl Iterator<Item = (usize, usize, f64)> {
        self.0
            .iter()
            .map(|(&(receiver, sender), &rate)| (receiver, sender, rate))
    }

    fn between(&self, sender: usize, receiver: usize) -> f64 {
        self.0.get(&(receiver, sender)).copied().unwrap_or(0.0)
    }

    /// The shortest way to place more of a sender's deficit, at whose end there is room. Receivers from which there is
    /// no way are hopeless for all that come later too.
    fn path(
        &self,
        from: usize,
        left: &[f64],
        distances: &Distances,
        hopeless: &mut Vec<bool>,
    ) -> Option<Path> {
        let mut seen = hopeless.clone();
        // By receiver, who would send there; by sender, where it would send less.
        let (mut by, mut instead) = (vec![None; left.len()], vec![None; left.len()]);
        let mut queue = VecDeque::from([from]);
        while let Some(i) = queue.pop_front() {
            for &j in distances.reach(i) {
                if std::mem::replace(&mut seen[j], true) {
                    continue;
                }
                by[j] = Some(i);
                if left[j] >= REST_RPS_MIN {
                    return Some(path_to(j, &by, &instead));
                }
                let here = self.0.range((j, 0)..(j + 1, 0));
                for (&(_, other), _) in here.filter(|&(_, &rate)| rate >= REST_RPS_MIN) {
                    if other != from && instead[other].is_none() {
                        instead[other] = Some(j);
                        queue.push_back(other);
                    }
                }
            }
        }
        *hopeless = seen;
        None
    }

    /// Places more along a path; tells how much.
    fn follow(&mut self, path: &Path, at_most: f64, left: &mut [f64]) -> f64 {
        let moves = || path.windows(2).map(|pair| (pair[0].1, pair[1].0));
        let end = path.last().map_or(0, |&(_, receiver)| receiver);
        let rate = moves()
            .map(|key| self.0[&key])
            .fold(at_most.min(left[end]), f64::min);
        for key in moves() {
            *self.0.entry(key).or_insert(0.0) -= rate;
        }
        for &(sender, receiver) in path {
            *self.0.entry((receiver, sender)).or_insert(0.0) += rate;
        }
        left[end] -= rate;
        rate
    }
}

fn path_to(end: usize, by: &[Option<usize>], instead: &[Option<usize>]) -> Path {
    let mut path = Path::new();
    let mut receiver = Some(end);
    while let Some((sender, at)) = receiver.and_then(|at| Some((by[at]?, at))) {
        path.push((sender, at));
        receiver = instead[sender];
    }
    path.reverse();
    path
}

impl Book for Flows {
    fn note(&mut self, ask: &Ask<'_>, part: impl Fn(usize) -> f64) {
        for (i, rate) in ask.senders() {
            for &j in ask.receivers() {
                let placed = rate * part(j);
                if placed > 0.0 {
                    *self.0.entry((j, i)).or_insert(0.0) += placed;
                }
            }
        }
    }
}

/// Which nodes are connected (union by the lesser number).
struct Parts(Vec<usize>);

impl Parts {
    fn new(nodes: usize) -> Self {
        Self((0..nodes).collect())
    }

    fn of(&self, mut node: usize) -> usize {
        while self.0[node] != node {
            node = self.0[node];
        }
        node
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.of(a), self.of(b));
        self.0[a.max(b)] = a.min(b);
    }
}
