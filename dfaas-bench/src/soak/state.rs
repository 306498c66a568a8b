//! What a federation holds when nobody uses it.

use std::fs;

use anyhow::{Context as _, Result};
use dfaas_testbed::Node;
use serde_json::{Value, json};

/// The maps that hold what is known of connections.
const MAPS: [&str; 4] = ["CLIENTS", "UPSTREAMS", "HELD", "AHEAD"];
/// Memory may have grown by a quarter and this much: allocators keep what they had.
const GROWTH_KIB: u64 = 8 * 1024;
const DESCRIPTORS: u64 = 16;

/// What a federation holds when nobody uses it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// Of all nodes' maps of connections.
    pub(super) entries: u64,
    /// Of the first node.
    agent: Process,
    provider: Process,
}

#[derive(Clone, Copy, Debug, Default)]
struct Process {
    resident_kib: u64,
    descriptors: u64,
}

/// How many entries the maps of connections have on a node.
///
/// # Errors
///
/// When its agent does not run.
pub(super) fn entries(node: &Node) -> Result<u64> {
    Ok(node
        .map_entries(&MAPS)?
        .into_values()
        .map(|entries| entries as u64)
        .sum())
}

impl State {
    pub(super) fn of(nodes: &[Node]) -> Result<Self> {
        let first = nodes.first().context("there is a node")?;
        Ok(Self {
            entries: nodes.iter().map(entries).sum::<Result<u64>>()?,
            agent: Process::of(first.agent_pid())?,
            provider: Process::of(first.provider_pid())?,
        })
    }

    /// What has grown.
    pub(super) fn growth_since(&self, before: &Self) -> Vec<String> {
        let pairs = [
            ("the agent", self.agent, before.agent),
            ("the provider", self.provider, before.provider),
        ];
        let mut grown = Vec::new();
        for (name, now, before) in pairs {
            if now.resident_kib > before.resident_kib * 5 / 4 + GROWTH_KIB {
                let (before, now) = (before.resident_kib, now.resident_kib);
                grown.push(format!("{name} had {before} KiB and has {now}"));
            }
            if now.descriptors > before.descriptors + DESCRIPTORS {
                let (before, now) = (before.descriptors, now.descriptors);
                grown.push(format!("{name} had {before} descriptors and has {now}"));
            }
        }
        grown
    }

    pub(super) fn text(&self) -> String {
        let Self { agent, provider, .. } = self;
        format!(
            "{:.1} MiB, {} | {:.1} MiB, {}",
            agent.resident_kib as f64 / 1024.0,
            agent.descriptors,
            provider.resident_kib as f64 / 1024.0,
            provider.descriptors
        )
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "entries": self.entries,
            "agent_resident_kib": self.agent.resident_kib,
            "agent_descriptors": self.agent.descriptors,
            "provider_resident_kib": self.provider.resident_kib,
            "provider_descriptors": self.provider.descriptors,
        })
    }
}

impl Process {
    fn of(pid: Option<u32>) -> Result<Self> {
        let pid = pid.context("a program does not run")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|text| text.split_whitespace().next());
        Ok(Self {
            resident_kib: resident.context("a process tells its memory")?.parse()?,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_told() {
        let state = |resident_kib, descriptors| State {
            entries: 0,
            agent: Process {
                resident_kib,
                descriptors,
            },
            provider: Process::default(),
        };
        let before = state(40_000, 50);
        assert_eq!(state(58_000, 66).growth_since(&before), Vec::<String>::new());
        assert_eq!(
            state(58_193, 67).growth_since(&before),
            [
                "the agent had 40000 KiB and has 58193",
                "the agent had 50 descriptors and has 67"
            ]
        );
    }
}
