//! The eBPF maps and programs that a process holds, as `bpftool` shows them.
//!
//! They are not of a namespace, and every node has those of the same names: they are told apart by who holds them.

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
    for id in held(pid, Held::Maps)? {
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

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Maps.
    Maps,
    /// Programs.
    Programs,
}

impl Held {
    /// Where the number stands in a descriptor's `fdinfo`.
    fn field(self) -> &'static str {
        match self {
            Self::Maps => "map_id:",
            Self::Programs => "prog_id:",
        }
    }
}

/// The numbers of the maps or programs that a process holds.
///
/// # Errors
///
/// When the process is gone.
pub fn held(pid: u32, what: Held) -> Result<BTreeSet<String>> {
    let folder = format!("/proc/{pid}/fdinfo");
    let mut ids = BTreeSet::new();
    for file in fs::read_dir(&folder).with_context(|| format!("reading {folder}"))? {
        // It may have been closed meanwhile.
        let text = fs::read_to_string(file?.path()).unwrap_or_default();
        let id = text.lines().find_map(|line| line.strip_prefix(what.field()));
        ids.extend(id.map(|id| id.trim().to_owned()));
    }
    Ok(ids)
}

/// What `bpftool` says, as JSON.
///
/// # Errors
///
/// When it is not there or refuses.
pub fn bpftool(arguments: &[&str]) -> Result<Value> {
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
