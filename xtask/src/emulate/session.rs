//! Where the nodes of a federation that runs are, for commands of another terminal.

use std::{collections::BTreeMap, fs, os::unix::process::CommandExt as _, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};
use dfaas_testbed::Federation;

/// A note about a federation that runs. It goes with this value.
pub(crate) struct Session {
    file: PathBuf,
}

impl Session {
    /// Notes where nodes are.
    ///
    /// # Errors
    ///
    /// When another one runs, or the note cannot be written.
    pub(crate) fn begin(federation: &Federation) -> Result<Self> {
        let file = note();
        if let Ok(others) = read() {
            bail!(
                "another emulation runs ({} nodes): end it first",
                others.len().saturating_sub(1)
            );
        }
        let mut pids: BTreeMap<String, u32> = BTreeMap::new();
        for node in &federation.nodes {
            pids.insert(node.name().to_owned(), node.namespace().pid());
        }
        pids.insert("client".to_owned(), federation.client.pid());
        fs::write(&file, serde_json::to_string(&pids)?)
            .with_context(|| format!("writing {}", file.display()))?;
        Ok(Self { file })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Another note replaces one that stays.
        let _ = fs::remove_file(&self.file);
    }
}

/// Becomes a command on a node.
///
/// # Errors
///
/// When no emulation runs, it has no such node, or there is no such command.
pub(crate) fn exec(node: &str, command: &[String]) -> Result<std::convert::Infallible> {
    let pids = read()?;
    // `n1` is short for `node1`.
    let long = node.strip_prefix('n').map(|number| format!("node{number}"));
    let pid = pids.get(node).or_else(|| pids.get(&long?));
    let names: Vec<&str> = pids.keys().map(String::as_str).collect();
    let pid = pid.with_context(|| format!("no node {node}: there are {}", names.join(", ")))?;
    let mut nsenter = Command::new("nsenter");
    nsenter
        .args(["--target", &pid.to_string(), "--net", "--mount", "--"])
        .args(command);
    Err(nsenter.exec()).with_context(|| format!("starting {command:?} on {node}"))
}

fn read() -> Result<BTreeMap<String, u32>> {
    let text = fs::read_to_string(note())
        .context("no emulation runs: start one by `cargo xtask emulate topologies/three-hosts.toml`")?;
    let pids: BTreeMap<String, u32> =
        serde_json::from_str(&text).context("reading the note of an emulation")?;
    let is_alive = |pid: &u32| PathBuf::from(format!("/proc/{pid}/ns/net")).exists();
    if !pids.values().all(is_alive) {
        bail!("the last emulation has ended: start one by `cargo xtask emulate topologies/three-hosts.toml`");
    }
    Ok(pids)
}

fn note() -> PathBuf {
    PathBuf::from("/run/dfaas-emulate.json")
}
