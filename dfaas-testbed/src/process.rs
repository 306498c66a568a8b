//! A program that runs in a namespace and writes a log.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    path::PathBuf,
    process::{Child, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};

use crate::{Namespace, wait_until};

/// How long a program may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(15);

/// A program that runs in a namespace. It is killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program that writes to `/run/NAME.log` of its namespace.
    ///
    /// # Errors
    ///
    /// When the program or the namespace does not exist.
    pub fn start<S: AsRef<OsStr>>(
        namespace: &Namespace,
        name: &str,
        program: impl AsRef<OsStr>,
        arguments: &[S],
    ) -> Result<Self> {
        let log = namespace.path(&format!("/run/{name}.log"));
        let open = File::options().append(true).create(true).open(&log);
        let file = open.with_context(|| format!("opening {}", log.display()))?;
        let mut command = namespace.command(program);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(file.try_clone()?).stderr(file);
        let child = namespace.start(&mut command)?;
        Ok(Self {
            name: format!("{name} of {}", namespace.name()),
            child,
            log,
        })
    }

    /// The process's number as this process sees it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is still there.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    ///
    /// When it does not end in time; it is killed then.
    pub fn terminate(mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let ended = wait_until(&format!("end of {}", self.name), GRACE, || !self.is_running());
        ended.with_context(|| self.log_tail(10))?;
        Ok(self.child.wait()?)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| anyhow!("{} has no process number", self.name))?;
        kill_process(pid, signal).with_context(|| format!("signalling {}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left of it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The path of a program of this workspace, built beside the one that runs.
///
/// # Errors
///
/// When it was not built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let this = env::current_exe().context("finding this program")?;
    let beside = this.ancestors().skip(1).take(3).map(|folder| folder.join(name));
    let found = beside.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| anyhow!("no {name} beside {}; build it: cargo xtask build", this.display()))
}
