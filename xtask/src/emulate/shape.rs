//! Which nodes are neighbours.

use std::collections::{BTreeSet, VecDeque};

/// A pair of neighbours, the smaller number first.
pub(crate) type Edge = (usize, usize);

/// How neighbours lie.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Shape {
    /// Each beside each.
    Full,
    /// Each beside the next, and the last beside the first.
    Ring,
    /// Each beside the next.
    Line,
    /// The first beside all others.
    Star,
    /// Each but the first beside the one of half its number.
    Tree,
    /// Each pair by chance; connected.
    Random,
}

impl Shape {
    /// The neighbours among so many nodes, numbered from zero. `seed` and `probability` are for random ones: pairs are drawn
    /// (Erdős and Rényi's G(n, p)), and where that leaves parts, the first nodes of two parts become neighbours.
    pub(crate) fn edges(self, nodes: usize, seed: u64, probability: f64) -> BTreeSet<Edge> {
        let all = || (0..nodes).flat_map(move |one| (one + 1..nodes).map(move |other| (one, other)));
        match self {
            Self::Full => all().collect(),
            Self::Line => (1..nodes).map(|node| (node - 1, node)).collect(),
            Self::Ring => {
                let mut edges = Self::Line.edges(nodes, seed, probability);
                if nodes > 2 {
                    edges.insert((0, nodes - 1));
                }
                edges
            }
            Self::Star => (1..nodes).map(|node| (0, node)).collect(),
            Self::Tree => (1..nodes).map(|node| ((node - 1) / 2, node)).collect(),
            Self::Random => {
                let mut draw = Draw(seed);
                let mut edges: BTreeSet<Edge> = all().filter(|_| draw.next() < probability).collect();
                connect(nodes, &mut edges);
                edges
            }
        }
    }
}

/// The neighbours of a node.
pub(crate) fn neighbours(edges: &BTreeSet<Edge>, node: usize) -> Vec<usize> {
    let other = |&(one, other): &Edge| match node {
        node if node == one => Some(other),
        node if node == other => Some(one),
        _ => None,
    };
    edges.iter().filter_map(other).collect()
}

/// Joins the parts of a graph, each to the first node.
fn connect(nodes: usize, edges: &mut BTreeSet<Edge>) {
    while let Some(stranger) = (0..nodes).find(|node| !reachable(nodes, edges).contains(node)) {
        edges.insert((0, stranger));
    }
}

fn reachable(nodes: usize, edges: &BTreeSet<Edge>) -> BTreeSet<usize> {
    let mut seen: BTreeSet<usize> = (0..nodes.min(1)).collect();
    let mut waiting: VecDeque<usize> = seen.iter().copied().collect();
    while let Some(node) = waiting.pop_front() {
        for next in neighbours(edges, node) {
            if seen.insert(next) {
                waiting.push_back(next);
            }
        }
    }
    seen
}

/// Numbers of [0, 1) by SplitMix64 (Steele, Lea, Flood 2014), the same on every machine.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_have_their_edges() {
        for (shape, want) in [
            (Shape::Full, 66),
            (Shape::Ring, 12),
            (Shape::Line, 11),
            (Shape::Star, 11),
            (Shape::Tree, 11),
        ] {
            let edges = shape.edges(12, 0, 0.0);
            assert_eq!(edges.len(), want, "{shape:?}");
            assert_eq!(reachable(12, &edges).len(), 12, "{shape:?}");
        }
        assert_eq!(neighbours(&Shape::Ring.edges(12, 0, 0.0), 0), [1, 11]);
        assert_eq!(neighbours(&Shape::Tree.edges(7, 0, 0.0), 1), [0, 3, 4]);
        assert_eq!(Shape::Ring.edges(2, 0, 0.0).len(), 1);
    }

    #[test]
    fn random_ones_are_connected_and_follow_their_seed() {
        for seed in 0..50 {
            for probability in [0.0, 0.1, 0.5] {
                let edges = Shape::Random.edges(20, seed, probability);
                assert_eq!(reachable(20, &edges).len(), 20);
                assert_eq!(edges, Shape::Random.edges(20, seed, probability));
            }
        }
        let of = |seed| Shape::Random.edges(20, seed, 0.3);
        assert_ne!(of(1), of(2));
        // 57 of 190 pairs are expected; four standard deviations are 25.
        let mean = (0..50).map(|seed| of(seed).len()).sum::<usize>() / 50;
        assert!((50..=64).contains(&mean), "{mean}");
        assert_eq!(Shape::Random.edges(20, 0, 1.0).len(), 190);
    }
}
