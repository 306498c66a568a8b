//! The network namespace of a node that is served from outside (`--netns`): of a container that may not load eBPF itself.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use tokio::time::sleep;

/// How often the process is looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);
/// How to learn what to name.
const REMEDY: &str = "name a process of the container that runs (docker inspect --format '{{.State.Pid}}' NAME), or a \
                      path such as /run/netns/NAME";

/// Whose network a node has.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct NetnsOptions {
    /// The network namespace of the node, if it is not the agent's own: a process of a container, or a path
    #[arg(
        long,
        env = "AGENT_NETNS",
        value_name = "PID|PATH",
        default_value = "",
        hide_default_value = true
    )]
    netns: String,
}

/// Whose network an agent is in that is asked.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct InsideOptions {
    /// Ask the agent that runs in this network namespace; one that serves it from outside (run --netns) is asked without
    #[arg(
        long = "netns",
        value_name = "PID|PATH",
        default_value = "",
        hide_default_value = true
    )]
    inside: String,
}

impl InsideOptions {
    /// Enters the namespace, if one is named. Call it before there is any other thread.
    ///
    /// # Errors
    /// As [`NetnsOptions::enter`].
    pub(crate) fn enter(&self) -> Result<()> {
        let netns = self.inside.clone();
        NetnsOptions { netns }.enter()
    }

    /// Whether one is named.
    pub(crate) fn is_given(&self) -> bool {
        !self.inside.is_empty()
    }
}

impl NetnsOptions {
    /// Opens the namespace, if one is named.
    ///
    /// # Errors
    /// No process has the number, or there is no such path; with the remedy.
    pub(crate) fn open(&self) -> Result<Option<Netns>> {
        match self.netns.trim() {
            "" => Ok(None),
            told => Netns::open(told).map(Some),
        }
    }

    /// Enters the namespace, if one is named. Call it before there is any other thread.
    ///
    /// # Errors
    /// As [`Self::open`] and [`Netns::enter`].
    pub(crate) fn enter(&self) -> Result<()> {
        self.open()?.map_or(Ok(()), |netns| netns.enter())
    }
}

/// A network namespace, open.
#[derive(Debug)]
pub(crate) struct Netns {
    told: String,
    file: File,
    /// The process by which it was named.
    process: Option<OwnedFd>,
}

impl Netns {
    fn open(told: &str) -> Result<Self> {
        if !told.bytes().all(|byte| byte.is_ascii_digit()) {
            let file = File::open(told).map_err(|error| anyhow!("--netns {told}: {error}: {REMEDY}"))?;
            return Ok(Self {
                told: told.to_owned(),
                file,
                process: None,
            });
        }
        let missing = || anyhow!("--netns {told}: there is no such process, or it has ended: {REMEDY}");
        let pid = told.parse().ok().filter(|&pid| pid > 0).and_then(Pid::from_raw);
        // Held first, so that the number cannot come to mean another process unnoticed.
        let process = match pid_file(pid.ok_or_else(missing)?) {
            Err(Errno::SRCH) => return Err(missing()),
            result => result.with_context(|| format!("--netns {told}: opening the process"))?,
        };
        let file = match File::open(format!("/proc/{told}/ns/net")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            Err(error) => bail!(
                "--netns {told}: opening its network namespace: {error}: run the agent as root of the host, or give \
                 it CAP_SYS_PTRACE and CAP_SYS_ADMIN"
            ),
            Ok(file) => file,
        };
        Ok(Self {
            told: told.to_owned(),
            file,
            process: Some(process),
        })
    }

    /// Moves this thread, and all that it starts, into the namespace.
    ///
    /// # Errors
    /// It is none, or may not be entered; with the remedy.
    pub(crate) fn enter(&self) -> Result<()> {
        let told = &self.told;
        match move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network)) {
            Ok(()) => Ok(()),
            Err(Errno::INVAL) => bail!("--netns {told}: this is no network namespace: {REMEDY}"),
            Err(Errno::PERM) => bail!(
                "--netns {told}: entering it: not permitted: run the agent as root of the host, or give it CAP_SYS_ADMIN"
            ),
            Err(error) => Err(error).with_context(|| format!("--netns {told}: entering it")),
        }
    }

    /// What it was called.
    pub(crate) fn told(&self) -> &str {
        &self.told
    }

    /// The process by which it was named, to be watched; one that was named by a path has none.
    pub(crate) fn watch(self) -> Watch {
        Watch {
            process: self.process,
        }
    }
}

fn pid_file(pid: Pid) -> Result<OwnedFd, Errno> {
    pidfd_open(pid, PidfdFlags::NONBLOCK)
}

/// The process whose network the agent serves, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    process: Option<OwnedFd>,
}

impl Watch {
    /// Returns when the process has ended. The agent would serve a network that nothing leads to any more.
    pub(crate) async fn ended(&self) {
        let Some(process) = &self.process else {
            return std::future::pending().await;
        };
        while !has_ended(process) {
            sleep(WATCH_INTERVAL).await;
        }
    }
}

/// A file of a process can be read once it has ended (`pidfd_open(2)`).
fn has_ended(process: &OwnedFd) -> bool {
    let mut files = [PollFd::new(process, PollFlags::IN)];
    poll(&mut files, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_process_is_told_with_the_remedy() {
        for told in ["0", "2147483647", "99999999999"] {
            let text = open(told).unwrap_err().to_string();
            assert!(
                text.starts_with(&format!("--netns {told}: there is no such process")),
                "{text}"
            );
            assert!(text.ends_with(REMEDY), "{text}");
        }
    }

    #[test]
    fn what_is_no_namespace_is_told_with_the_remedy() {
        let text = open("/nowhere").unwrap_err().to_string();
        assert!(text.starts_with("--netns /nowhere: No such file"), "{text}");
        for told in ["/dev/null", "/proc/self/ns/mnt"] {
            let text = open(told).unwrap().unwrap().enter().unwrap_err().to_string();
            assert_eq!(
                text,
                format!("--netns {told}: this is no network namespace: {REMEDY}")
            );
        }
    }

    #[test]
    fn none_is_named_by_default() {
        assert!(open("").unwrap().is_none());
    }

    #[tokio::test]
    async fn the_end_of_the_process_is_noticed() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let watch = open(&child.id().to_string()).unwrap().unwrap().watch();
        let soon = std::time::Duration::from_millis(20);
        assert!(
            tokio::time::timeout(soon, watch.ended()).await.is_err(),
            "it runs"
        );
        child.kill().unwrap();
        watch.ended().await;
        child.wait().unwrap();
    }

    fn open(told: &str) -> Result<Option<Netns>> {
        NetnsOptions {
            netns: told.to_owned(),
        }
        .open()
    }
}
