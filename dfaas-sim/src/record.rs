//! What is recorded of a run: a row per node, function and second, and who served whom.

use serde::{Deserialize, Serialize};

/// A node, a function and a second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The second, from 0.
    pub second: u32,
    /// The node.
    pub node: String,
    /// The function.
    pub function: String,
    /// Requests of its users that came.
    pub arrived: u64,
    /// Requests of its users that it answered itself.
    pub served_own: u64,
    /// Requests of its users that others answered.
    pub served_elsewhere: u64,
    /// Requests of others' users that it answered.
    pub served_others: u64,
    /// Requests of its users that were refused for good.
    pub refused: u64,
    /// Requests of its users that got no answer.
    pub failed: u64,
    /// Requests of others that it sent back: over a limit, without a token, or no room.
    pub sent_back: u64,
    /// Requests that its servers took, its users' and others'.
    pub taken: u64,
    /// Most requests that waited or were served at a time.
    pub inside_most: u32,
    /// The median time from a request of its users to the answer, in milliseconds.
    pub p50_ms: Option<f64>,
    /// The 95th percentile.
    pub p95_ms: Option<f64>,
    /// The 99th percentile.
    pub p99_ms: Option<f64>,
}

/// Who served whom within a second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// The second, from 0.
    pub second: u32,
    /// Whose users asked.
    pub node: String,
    /// For what.
    pub function: String,
    /// Who answered.
    pub server: String,
    /// How many requests.
    pub served: u64,
    /// The share of the excess that the node's policy sends there, at the end of the second. None if the strategy has no
    /// such policy, or it names no route there.
    pub weight: Option<f64>,
}

/// What messages between nodes cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Messages that nodes wrote.
    pub messages: u64,
    /// Copies of them that nodes were sent. An overlay that gossips sends each some times more.
    pub deliveries: u64,
    /// The bytes of these copies.
    pub bytes: u64,
}

/// All that is recorded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// In the order of seconds, nodes and functions.
    pub rows: Vec<Row>,
    /// In the order of seconds, nodes, functions and servers.
    pub flows: Vec<Flow>,
    /// All times from a request to its answer, in microseconds, of requests that came after the warm-up.
    pub latencies_us: Vec<u32>,
    /// What messages cost.
    pub traffic: Traffic,
    /// The functions' capacities, by node and function.
    pub capacities: Vec<(String, String, f64)>,
}

/// The value below which this share of sorted values lies (nearest rank).
pub fn percentile(sorted: &[u32], share: f64) -> Option<u32> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_there() {
        let values: Vec<u32> = (1..=100).collect();
        for (share, want) in [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.0, 1)] {
            assert_eq!(percentile(&values, share), Some(want));
        }
        assert_eq!(percentile(&[7], 0.99), Some(7));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
