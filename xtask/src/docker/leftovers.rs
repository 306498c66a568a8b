//! Whether anything of the engine is left on the host.

use std::{collections::BTreeSet, fs, process, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::engine::{cgroups, folder};
use crate::shell;

/// Sysctls that a Docker engine sets where it runs.
const SYSCTLS: [&str; 4] = [
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/forwarding",
    "net/ipv4/tcp_fastopen",
    "net/ipv4/ip_local_reserved_ports",
];

/// What of a host an engine changes.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Host {
    /// A line for each thing, so that a difference names it.
    lines: BTreeSet<String>,
}

impl Host {
    /// Looks at this host.
    ///
    /// # Errors
    ///
    /// When something cannot be looked at.
    pub(crate) fn look() -> Result<Self> {
        let mut lines = BTreeSet::new();
        for sysctl in SYSCTLS {
            let value =
                fs::read_to_string(format!("/proc/sys/{sysctl}")).with_context(|| sysctl.to_owned())?;
            lines.insert(format!("sysctl {sysctl} = {}", value.trim()));
        }
        let links = shell::output(Command::new("ip").args(["-oneline", "link"]))?;
        let names = links.lines().filter_map(|line| line.split(": ").nth(1));
        lines.extend(names.map(|name| format!("link {name}")));
        let rules = shell::output(Command::new("nft").args(["list", "tables"]))?;
        lines.extend(rules.lines().map(|line| format!("nft {line}")));
        let mounts = fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")?;
        let ours = folder().display().to_string();
        lines.extend(
            mounts
                .lines()
                .filter(|line| line.contains(&ours))
                .map(str::to_owned),
        );
        lines.extend(data()?);
        lines.extend(
            cgroups(process::id())?
                .iter()
                .map(|path| path.display().to_string()),
        );
        lines.extend(processes(&ours));
        Ok(Self { lines })
    }

    /// Compares with what was seen later.
    ///
    /// # Errors
    ///
    /// When there is a difference.
    pub(crate) fn compare(&self, later: &Self) -> Result<()> {
        let more: Vec<&String> = later.lines.difference(&self.lines).collect();
        let less: Vec<&String> = self.lines.difference(&later.lines).collect();
        ensure!(
            more.is_empty() && less.is_empty(),
            "the engine has left {more:?} and taken {less:?}"
        );
        Ok(())
    }
}

/// Folders of engines.
fn data() -> Result<Vec<String>> {
    let _first_time = fs::create_dir_all(folder());
    let entries = fs::read_dir(folder()).context("reading the folder of this task")?;
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names.filter(|name| name.starts_with("engine-")).collect())
}

/// Processes that name the folder: daemons, and what watches over containers.
fn processes(folder: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let commands = entries.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
    let ours = commands.filter(|command| command.contains(folder) && command.contains("docker"));
    ours.filter(|command| command.contains("containerd") || command.contains("dockerd"))
        .map(|command| command.replace('\0', " "))
        .collect()
}
