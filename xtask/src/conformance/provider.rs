//! Our platform, as a process of its own.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use dfaas_testbed::{binary, wait_until};
use rustix::process::{Pid, Signal, kill_process};

/// How long it may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// What it writes when it serves.
const READY: &str = "Ready";

/// A provider with a folder of its own. It is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Provider {
    command: Command,
    child: Child,
    log: PathBuf,
    pub(crate) gateway: SocketAddr,
    pub(crate) functions: SocketAddr,
}

impl Provider {
    /// Starts one and waits until it serves.
    ///
    /// # Errors
    ///
    /// When it does not; the error holds what it wrote.
    pub(crate) fn start(directory: &Path, arguments: &[String]) -> Result<Self> {
        let (gateway, functions) = (free_address()?, free_address()?);
        let mut command = Command::new(binary("dfaas-provider")?);
        command
            .args(["--gateway", &gateway.to_string()])
            .args(["--functions", &functions.to_string()])
            .arg("--state-dir")
            .arg(directory.join("state"))
            .args(["--node-name", "node-1", "--grace", "0"])
            .args(arguments)
            .stdin(Stdio::null());
        let log = directory.join("provider.log");
        let child = start(&mut command, &log)?;
        Ok(Self {
            command,
            child,
            log,
            gateway,
            functions,
        })
    }

    /// Ends it by SIGTERM, and starts it again at the same addresses.
    ///
    /// # Errors
    ///
    /// When it does not end well or does not start.
    pub(crate) fn restart(&mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("its process number")?, Signal::TERM)?;
        let mut ended = None;
        wait_until("the provider's end", PATIENCE, || {
            ended = self.child.try_wait().ok().flatten();
            ended.is_some()
        })?;
        ensure!(
            ended.is_some_and(|status| status.success()),
            "it ended by {ended:?}"
        );
        self.child = start(&mut self.command, &self.log)?;
        Ok(())
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left of it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(command: &mut Command, log: &Path) -> Result<Child> {
    command.stderr(File::create(log)?).stdout(Stdio::null());
    let mut child = command.spawn().context("starting dfaas-provider")?;
    let is_ready = || fs::read_to_string(log).is_ok_and(|text| text.contains(READY));
    let waited = wait_until("the provider's start", PATIENCE, || {
        is_ready() || !matches!(child.try_wait(), Ok(None))
    });
    if waited.is_err() || !is_ready() {
        let _ = child.kill();
        let _ = child.wait();
        let text = fs::read_to_string(log).unwrap_or_default();
        return Err(anyhow::anyhow!("the provider did not start: {}", text.trim()));
    }
    Ok(child)
}

/// An address of this host where nobody listens now.
pub(crate) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?)
}
