//! Graphs of nodes, and how far they are from each other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use crate::random::{Purpose, Random};

/// A link's quality.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// How long a packet takes, in nanoseconds.
    pub latency_ns: u64,
    /// Up to how much longer, in nanoseconds.
    pub jitter_ns: u64,
    /// Which share of packets is lost.
    pub loss: f64,
}

/// Who is linked with whom: the lesser number first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Graph {
    nodes: usize,
    links: BTreeMap<(usize, usize), Option<Quality>>,
}

/// The way from each node to each other one.
#[derive(Debug, Clone)]
pub struct Ways {
    nodes: usize,
    by_pair: Vec<Option<Quality>>,
}

impl Graph {
    /// So many nodes without a link.
    pub fn empty(nodes: usize) -> Self {
        Self {
            nodes,
            links: BTreeMap::new(),
        }
    }

    /// Everybody with everybody.
    pub fn mesh(nodes: usize) -> Self {
        let pairs = (0..nodes).flat_map(|a| (a + 1..nodes).map(move |b| (a, b)));
        Self::of(nodes, pairs)
    }

    /// Each with the next.
    pub fn line(nodes: usize) -> Self {
        Self::of(nodes, (1..nodes).map(|b| (b - 1, b)))
    }

    /// Each with the next, and the last with the first.
    pub fn ring(nodes: usize) -> Self {
        let mut ring = Self::line(nodes);
        if nodes > 2 {
            ring.link(0, nodes - 1);
        }
        ring
    }

    /// The first with all others.
    pub fn star(nodes: usize) -> Self {
        Self::of(nodes, (1..nodes).map(|b| (0, b)))
    }

    /// Each with so many below it.
    pub fn tree(nodes: usize, branching: usize) -> Self {
        Self::of(nodes, (1..nodes).map(|b| ((b - 1) / branching.max(1), b)))
    }

    /// The original simulator's connected random graph: for each node a link to a later one, and each pair with
    /// probability `p`.
    pub fn random(nodes: usize, p: f64, seed: u64) -> Self {
        let mut random = Random::new(seed, Purpose::Topology);
        let mut graph = Self::empty(nodes);
        for a in 0..nodes.saturating_sub(1) {
            graph.link(a, a + 1 + random.below(nodes - a - 1));
        }
        for a in 0..nodes {
            for b in a + 1..nodes {
                if random.chance(p) {
                    graph.link(a, b);
                }
            }
        }
        graph
    }

    fn of(nodes: usize, pairs: impl Iterator<Item = (usize, usize)>) -> Self {
        Self {
            nodes,
            links: pairs.map(|pair| (pair, None)).collect(),
        }
    }

    /// Links two nodes.
    pub fn link(&mut self, a: usize, b: usize) {
        if a != b {
            self.links.entry((a.min(b), a.max(b))).or_insert(None);
        }
    }

    /// Gives a link a quality of its own; tells whether there is one.
    pub fn set_quality(&mut self, a: usize, b: usize, quality: Quality) -> bool {
        let link = self.links.get_mut(&(a.min(b), a.max(b)));
        link.map(|own| *own = Some(quality)).is_some()
    }

    /// How many nodes it has.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// All links.
    pub fn links(&self) -> impl Iterator<Item = (usize, usize)> {
        self.links.keys().copied()
    }

    /// Whether everybody is linked with everybody.
    pub fn is_mesh(&self) -> bool {
        self.links.len() == self.nodes * self.nodes.saturating_sub(1) / 2
    }

    /// The neighbours of each node.
    pub fn neighbours(&self) -> Vec<BTreeSet<usize>> {
        let mut neighbours = vec![BTreeSet::new(); self.nodes];
        for (a, b) in self.links() {
            neighbours[a].insert(b);
            neighbours[b].insert(a);
        }
        neighbours
    }

    /// A node that cannot be reached from the first one.
    pub fn apart(&self) -> Option<usize> {
        let neighbours = self.neighbours();
        let mut seen = vec![false; self.nodes];
        let mut stack = vec![0];
        while let Some(node) = stack.pop() {
            if node < self.nodes && !std::mem::replace(&mut seen[node], true) {
                stack.extend(&neighbours[node]);
            }
        }
        seen.iter().position(|&seen| !seen)
    }

    /// The fastest ways, where links without a quality of their own have this one.
    pub fn ways(&self, usual: Quality) -> Ways {
        let mut links: Vec<Vec<(usize, Quality)>> = vec![Vec::new(); self.nodes];
        for (&(a, b), own) in &self.links {
            let quality = own.unwrap_or(usual);
            links[a].push((b, quality));
            links[b].push((a, quality));
        }
        let by_pair = (0..self.nodes).flat_map(|from| fastest(&links, from));
        Ways {
            nodes: self.nodes,
            by_pair: by_pair.collect(),
        }
    }
}

/// Dijkstra's algorithm.
fn fastest(links: &[Vec<(usize, Quality)>], from: usize) -> Vec<Option<Quality>> {
    let mut best: Vec<Option<Quality>> = vec![None; links.len()];
    let here = Quality {
        latency_ns: 0,
        jitter_ns: 0,
        loss: 0.0,
    };
    let mut heap = BinaryHeap::from([Reverse((0, from))]);
    best[from] = Some(here);
    let mut done = vec![false; links.len()];
    while let Some(Reverse((_, at))) = heap.pop() {
        let (Some(to_here), false) = (best[at], std::mem::replace(&mut done[at], true)) else {
            continue;
        };
        for &(next, link) in &links[at] {
            let over = Quality {
                latency_ns: to_here.latency_ns + link.latency_ns,
                jitter_ns: to_here.jitter_ns + link.jitter_ns,
                loss: 1.0 - (1.0 - to_here.loss) * (1.0 - link.loss),
            };
            if best[next].is_none_or(|known| over.latency_ns < known.latency_ns) {
                best[next] = Some(over);
                heap.push(Reverse((over.latency_ns, next)));
            }
        }
    }
    best
}

impl Ways {
    /// The way between two nodes, if there is one.
    pub fn between(&self, a: usize, b: usize) -> Option<Quality> {
        self.by_pair[a * self.nodes + b]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphs_have_their_links() {
        let links = |graph: Graph| graph.links().collect::<Vec<_>>();
        assert_eq!(links(Graph::line(3)), [(0, 1), (1, 2)]);
        assert_eq!(links(Graph::ring(3)), [(0, 1), (0, 2), (1, 2)]);
        assert_eq!(links(Graph::star(4)), [(0, 1), (0, 2), (0, 3)]);
        assert_eq!(links(Graph::tree(6, 2)), [(0, 1), (0, 2), (1, 3), (1, 4), (2, 5)]);
        assert!(Graph::mesh(5).is_mesh() && !Graph::ring(5).is_mesh());
    }

    #[test]
    fn random_graphs_are_connected_and_as_dense_as_asked_for() {
        for seed in 0..50 {
            assert_eq!(Graph::random(20, 0.0, seed).apart(), None);
        }
        assert!(Graph::random(10, 1.0, 1).is_mesh());
        let links: usize = (0..100)
            .map(|seed| Graph::random(30, 0.3, seed).links().count())
            .sum();
        let mean = links as f64 / 100.0;
        // 435 pairs, of which 29 steps link one each for certain.
        assert!((130.0..165.0).contains(&mean), "{mean}");
        assert_eq!(Graph::random(30, 0.3, 5), Graph::random(30, 0.3, 5));
    }

    #[test]
    fn who_is_apart_is_found() {
        let mut graph = Graph::line(3);
        assert_eq!(graph.apart(), None);
        graph = Graph { nodes: 4, ..graph };
        assert_eq!(graph.apart(), Some(3));
    }

    #[test]
    fn ways_are_the_fastest_and_lose_on_each_link() {
        let quality = |latency_ns, loss| Quality {
            latency_ns,
            jitter_ns: 1,
            loss,
        };
        let mut graph = Graph::ring(3);
        assert!(graph.set_quality(0, 2, quality(50, 0.0)));
        assert!(!graph.set_quality(0, 0, quality(1, 0.0)));
        let way = graph.ways(quality(10, 0.5)).between(0, 2);
        let want = Quality {
            latency_ns: 20,
            jitter_ns: 2,
            loss: 0.75,
        };
        assert_eq!(way, Some(want));
        assert_eq!(Graph::empty(2).ways(quality(1, 0.0)).between(0, 1), None);
    }
}
