//! The eBPF maps that a process holds, as `bpftool` shows them.
//!
//! Maps are not of a namespace, and every node has those of the same names: they are told apart by who holds them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// How many entries the maps of a process have that have one of these names.
///
/// # Errors
///
/// When the process is gone, or `bpftool` cannot read a map.
pub(crate) fn entries(pid: u32, names: &[&str]) -> Result<BTreeMap<String, usize>> {
    let mut entries = BTreeMap::new();
    for id in held(pid)? {
        let shown = bpftool(&["map", "show", "id", &id])?;
        let name = shown["name"].as_str().unwrap_or_default();
        if names.contains(&name) {
            let dumped = bpftool(&["map", "dump", "id", &id])?;
            let count = dumped.as_array().context("a dump is a list of entries")?.len();
            entries.insert(name.to_owned(), count);
        }
    }
    Ok(entries)
}

fn held(pid: u32) -> Result<BTreeSet<String>> {
    let folder = format!("/proc/{pid}/fdinfo");
    let mut ids = BTreeSet::new();
    for file in fs::read_dir(&folder).with_context(|| format!("reading {folder}"))? {
        // It may have been closed meanwhile.
        let text = fs::read_to_string(file?.path()).unwrap_or_default();
        let id = text.lines().find_map(|line| line.strip_prefix("map_id:"));
        ids.extend(id.map(|id| id.trim().to_owned()));
    }
    Ok(ids)
}

fn bpftool(arguments: &[&str]) -> Result<Value> {
    let output = Command::new("bpftool")
        .arg("--json")
        .args(arguments)
        .output()
        .context("running bpftool")?;
    ensure!(
        output.status.success(),
        "bpftool {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout)
    );
    serde_json::from_slice(&output.stdout).context("reading what bpftool says")
}
