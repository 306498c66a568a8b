//! A child process and its whole group, which ends with the value that stands for it.

mod listener;
pub(crate) mod system;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::unix::AsyncFd;

use self::system::Confinement;
use crate::run::guard::Guard;

/// The leader of a process group. Dropping it kills the group.
#[derive(Debug)]
pub(crate) struct Process {
    running: Option<Running>,
    group: Pid,
    register: Arc<Register>,
}

/// The leaders of a function's process groups.
#[derive(Debug, Default)]
pub(crate) struct Register(Mutex<BTreeSet<u32>>);

impl Register {
    pub(crate) fn list(&self) -> Vec<u32> {
        self.lock().iter().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Running {
    child: Child,
    exit: AsyncFd<OwnedFd>,
    guard: Arc<Guard>,
}

impl Running {
    /// Collects a leader that has ended.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        let group = Pid::from_child(&self.child);
        let status = self.child.wait()?;
        self.guard.release(group);
        Ok(status)
    }
}

impl Process {
    /// Starts the command in a group of its own, which the guard kills should the platform be killed.
    pub(crate) fn spawn(
        command: &mut Command,
        guard: &Arc<Guard>,
        confinement: Option<&Arc<Confinement>>,
        register: &Arc<Register>,
    ) -> io::Result<Self> {
        if let Some(confinement) = confinement {
            system::confine(command, confinement);
        }
        let mut child = command.process_group(0).spawn()?;
        let group = Pid::from_child(&child);
        guard.watch(group);
        register
            .lock()
            .insert(group.as_raw_nonzero().get().unsigned_abs());
        match system::exit_of(group) {
            Ok(exit) => Ok(Self {
                running: Some(Running {
                    child,
                    exit,
                    guard: Arc::clone(guard),
                }),
                group,
                register: Arc::clone(register),
            }),
            Err(error) => {
                kill(group);
                register
                    .lock()
                    .remove(&group.as_raw_nonzero().get().unsigned_abs());
                child.wait()?;
                guard.release(group);
                Err(error)
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.group.as_raw_nonzero().get().unsigned_abs()
    }

    /// The address at which the group itself can be reached on the port of `wanted`, if it listens there.
    pub(crate) fn reachable_at(&self, wanted: SocketAddr) -> io::Result<Option<SocketAddr>> {
        let found = listener::of_group(self.group)?;
        let on_port = found.into_iter().find(|address| address.port() == wanted.port());
        Ok(on_port.map(|address| listener::reachable(address, wanted)))
    }

    /// The ports that the group listens on.
    pub(crate) fn ports(&self) -> io::Result<Vec<SocketAddr>> {
        listener::of_group(self.group)
    }

    /// Asks the group to end, and kills it if it does not.
    pub(crate) async fn end(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        signal(self.group, Signal::TERM);
        let asked = tokio::time::timeout(patience, self.exited()).await;
        if asked.is_err() {
            tracing::debug!(group = ?self.group, "Killed a process that did not end when it was asked to");
            kill(self.group);
        }
        self.wait().await
    }

    pub(crate) fn take_input(&mut self) -> Option<ChildStdin> {
        self.running.as_mut()?.child.stdin.take()
    }

    /// Waits for the leader to end; until it is waited for, its group lives on.
    pub(crate) async fn exited(&self) -> io::Result<()> {
        let running = self.running.as_ref().ok_or(io::ErrorKind::NotFound)?;
        running.exit.readable().await?.retain_ready();
        Ok(())
    }

    /// Waits for the leader and kills what it left behind.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let running = self.running.as_mut().ok_or(io::ErrorKind::NotFound)?;
        running.exit.readable().await?.retain_ready();
        // Until it is waited for, the leader holds the group's number.
        kill(self.group);
        let status = running.reap()?;
        self.running = None;
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.register.lock().remove(&self.id());
        let Some(running) = self.running.take() else {
            return;
        };
        kill(self.group);
        // Without a runtime the platform itself is ending, and init waits for the child.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(reap_later(running));
        }
    }
}

async fn reap_later(mut running: Running) {
    let waited = match running.exit.readable().await {
        Ok(_) => running.reap().map(drop),
        Err(error) => Err(error),
    };
    if let Err(error) = waited {
        tracing::warn!(pid = running.child.id(), %error, "Left a dead function process unwaited");
    }
}

fn kill(group: Pid) {
    signal(group, Signal::KILL);
}

fn signal(group: Pid, signal: Signal) {
    match kill_process_group(group, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => tracing::warn!(?group, %error, ?signal, "Left a process group running"),
    }
}
