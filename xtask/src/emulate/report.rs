//! What became of an emulation.

use std::fmt;

use serde_json::{Value, json};

use crate::demo::Counts;

/// What the client saw and what the nodes counted.
pub(crate) struct Report {
    topology: String,
    means: String,
    summary: Value,
    nodes: Vec<Row>,
}

/// What a node counted.
struct Row {
    name: String,
    user: u64,
    local: u64,
    forwarded: u64,
    admitted: u64,
    refused: u64,
    served: u64,
}

impl Report {
    /// Of counters before and after.
    pub(crate) fn new(
        topology: &str,
        means: &str,
        summary: Value,
        first: &[Counts],
        last: &[Counts],
    ) -> Self {
        let nodes = last.iter().zip(first).map(|(now, before)| {
            let totals = now.totals.since(&before.totals);
            Row {
                name: now.node.clone(),
                user: totals.user,
                local: totals.local,
                forwarded: totals.forwarded,
                admitted: totals.admitted,
                refused: totals.refused,
                served: summary["served_by"][&now.node].as_u64().unwrap_or(0),
            }
        });
        Self {
            nodes: nodes.collect(),
            topology: topology.to_owned(),
            means: means.to_owned(),
            summary,
        }
    }

    /// Requests that the client sent and no node counted, or that nodes counted twice.
    pub(crate) fn unaccounted(&self) -> i64 {
        let sent = self.summary["requests"].as_i64().unwrap_or(0);
        let counted: u64 = self.nodes.iter().map(|row| row.user).sum();
        sent - i64::try_from(counted).unwrap_or(i64::MAX)
    }

    /// One line for programs.
    pub(crate) fn json(&self) -> Value {
        let row = |row: &Row| {
            let counts = json!({
                "user": row.user, "local": row.local, "forwarded": row.forwarded, "admitted": row.admitted,
                "refused": row.refused, "served": row.served,
            });
            (row.name.clone(), counts)
        };
        json!({
            "topology": self.topology,
            "nodes": self.nodes.len(),
            "links": self.means,
            "per_node": self.nodes.iter().map(row).collect::<serde_json::Map<_, _>>(),
            "unaccounted": self.unaccounted(),
            "load": self.summary,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} nodes ({}); links: {}",
            self.nodes.len(),
            self.topology,
            self.means
        )?;
        writeln!(
            f,
            "{:<8} {:>8} {:>8} {:>9} {:>9} {:>8} {:>8}",
            "node", "in", "local", "forwarded", "admitted", "refused", "served"
        )?;
        for row in &self.nodes {
            writeln!(
                f,
                "{:<8} {:>8} {:>8} {:>9} {:>9} {:>8} {:>8}",
                row.name, row.user, row.local, row.forwarded, row.admitted, row.refused, row.served
            )?;
        }
        let summary = &self.summary;
        writeln!(
            f,
            "{} requests, codes {}, p50 {:.1} ms, p99 {:.1} ms; {} not accounted for",
            summary["requests"],
            summary["codes"],
            summary["latency_ms"]["p50"].as_f64().unwrap_or(0.0),
            summary["latency_ms"]["p99"].as_f64().unwrap_or(0.0),
            self.unaccounted()
        )
    }
}
