//! What a federation is asked, and what became of it.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use dfaas_testbed::{Federation, binary};
use serde_json::Value;

use super::topology::Topology;

/// The names of nodes, as a client's `/etc/hosts` has them.
const HOSTS: &str = "/run/hosts";

/// Makes `http://node1/` and so on lead to the nodes, on the client.
///
/// # Errors
///
/// When that cannot be said there.
pub(crate) fn name_nodes(federation: &Federation) -> Result<()> {
    let client = &federation.client;
    let mut hosts = "127.0.0.1 localhost\n".to_owned();
    for node in &federation.nodes {
        writeln!(hosts, "{} {}", node.service().ip(), node.name())?;
    }
    fs::write(client.path(HOSTS), hosts).context("writing names of nodes")?;
    let output = client.output("mount", &["--bind", HOSTS, "/etc/hosts"])?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "naming nodes: {}", complaint.trim());
    Ok(())
}

/// The workload of a topology, as `dfaas-load run` reads it.
pub(crate) fn workload(topology: &Topology, seconds: u64) -> String {
    let mut text = format!("# Of the topology {}.\n", topology.name);
    for load in &topology.loads {
        let (node, function, rate) = (load.node, &load.function, load.rate_rps);
        // A number of TOML with a point is a float wherever one is wanted.
        let _ = write!(
            text,
            "\n[[target]]\nname = \"node{node}\"\nurl = \"http://node{node}/function/{function}\"\nbody = \"Hello DFaaS world!\"\n\
             phases = [{{ seconds = {seconds}.0, rate_rps = {rate:?} }}]\n"
        );
    }
    text
}

/// Asks, from the client, and returns the summary.
///
/// # Errors
///
/// When the workload is refused.
pub(crate) fn run(federation: &Federation, workload: &Path, results: Option<&Path>) -> Result<Value> {
    let mut command = federation.client.command(binary("dfaas-load")?);
    command.arg("run").arg(workload).arg("--json");
    if let Some(results) = results {
        command.arg("--output").arg(results);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let child = federation.client.start(&mut command)?;
    let output = child.wait_with_output().context("waiting for dfaas-load")?;
    ensure!(output.status.success(), "dfaas-load ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("reading the summary of dfaas-load")
}

/// A path that is the same in every namespace of mounts: absolute, and not below `/run`.
///
/// # Errors
///
/// When there is no such folder.
pub(crate) fn seen_everywhere(file: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(file).with_context(|| format!("finding {}", file.display()))?;
    ensure!(
        !absolute.starts_with("/run"),
        "{}: nodes have a /run of their own: give another place",
        file.display()
    );
    Ok(absolute)
}
