//! What a federation is asked, and what became of it.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail, ensure};
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
pub(crate) fn workload(topology: &Topology, seconds: u32) -> String {
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

/// When an answer came, in seconds from midnight, and who served it; none if nobody did.
///
/// # Errors
///
/// When a line is not of the results of dfaas-load.
pub(crate) fn answers(results: &str) -> Result<Vec<(f64, Option<String>)>> {
    let answer = |line: &str| {
        let result: Value = serde_json::from_str(line).context("reading a result of dfaas-load")?;
        let due = result["timestamp"].as_str().and_then(seconds_of_day);
        let latency_ns = result["latency"].as_f64();
        let (Some(due), Some(latency_ns)) = (due, latency_ns) else {
            bail!("a result of dfaas-load has no time: {line}");
        };
        let served_by = result["headers"]["X-Served-By"][0].as_str();
        let is_served = result["code"] == 200;
        Ok((
            due + latency_ns / 1e9,
            served_by.filter(|_| is_served).map(str::to_owned),
        ))
    };
    results.lines().map(answer).collect()
}

/// Of a time such as `2026-11-30T03:22:04.5Z`.
fn seconds_of_day(time: &str) -> Option<f64> {
    let (_, time) = time.strip_suffix('Z')?.split_once('T')?;
    let mut parts = time.split(':').map(|part| part.parse::<f64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    Some((hours * 60.0 + minutes) * 60.0 + seconds)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_with_when_they_came_and_who_served() {
        let results = "{\"timestamp\":\"2026-11-30T03:22:04.5Z\",\"latency\":7500000000,\"code\":200,\"headers\":{\"X-Served-By\":[\"node1\"]}}\n\
                       {\"timestamp\":\"2026-11-30T03:22:05Z\",\"latency\":0,\"code\":429,\"headers\":null}";
        let minute = 3.0 * 3_600.0 + 22.0 * 60.0;
        assert_eq!(
            answers(results).unwrap(),
            [(minute + 12.0, Some("node1".to_owned())), (minute + 5.0, None)]
        );
        assert!(answers("{\"timestamp\":\"yesterday\",\"latency\":1}").is_err());
        assert!(answers("no JSON").is_err());
    }
}
