//! What the programs cost in the kernel: time a run, memory a flow.

use std::{collections::BTreeMap, os::fd::OwnedFd};

use anyhow::{Context as _, Result, ensure};
use aya::sys::{Stats, enable_stats};
use dfaas_testbed::{Held, bpftool, held};

/// The maps with an entry a live connection.
const FLOW_MAPS: [&str; 2] = ["CLIENTS", "UPSTREAMS"];

/// Run times are counted while this lives, even if this process is killed: it costs, so only while it is looked at.
#[derive(Debug)]
pub(crate) struct Counting {
    _stats: OwnedFd,
}

/// How often programs ran, and for how long, by name.
pub(crate) type Runs = BTreeMap<String, Run>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) count: u64,
    pub(crate) nanoseconds: u64,
}

impl Counting {
    /// Begins to count.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub(crate) fn start() -> Result<Self> {
        let stats = enable_stats(Stats::RunTime).context("counting the run time of eBPF programs")?;
        Ok(Self { _stats: stats })
    }

    /// What the programs of these processes have run since they were loaded.
    ///
    /// # Errors
    ///
    /// When `bpftool` does not tell.
    pub(crate) fn runs(&self, pids: &[u32]) -> Result<Runs> {
        let mut runs = Runs::new();
        for pid in pids {
            for id in held(*pid, Held::Programs)? {
                let shown = bpftool(&["prog", "show", "id", &id])?;
                let run: &mut Run = runs
                    .entry(shown["name"].as_str().unwrap_or_default().to_owned())
                    .or_default();
                run.count += shown["run_cnt"].as_u64().unwrap_or_default();
                run.nanoseconds += shown["run_time_ns"].as_u64().unwrap_or_default();
            }
        }
        Ok(runs)
    }
}

impl Run {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            count: self.count - before.count,
            nanoseconds: self.nanoseconds - before.nanoseconds,
        }
    }
}

/// How many bytes of the kernel's memory a flow has in maps of a process: what they occupy over how many fit.
///
/// # Errors
///
/// When `bpftool` does not tell.
pub(crate) fn flow_bytes(pid: u32) -> Result<f64> {
    let mut bytes = 0.0;
    for id in held(pid, Held::Maps)? {
        let shown = bpftool(&["map", "show", "id", &id])?;
        if FLOW_MAPS.contains(&shown["name"].as_str().unwrap_or_default()) {
            let number = |field: &str| {
                shown[field]
                    .as_f64()
                    .with_context(|| format!("no {field} in {shown}"))
            };
            bytes += number("bytes_memlock")? / number("max_entries")?;
        }
    }
    ensure!(bytes > 0.0, "process {pid} holds none of {FLOW_MAPS:?}");
    Ok(bytes)
}
