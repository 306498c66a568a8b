//! A small process that outlives the platform, to kill the functions it leaves behind when it is killed.
//!
//! The kernel could do so by a death signal, but only for a child that is forked and not `posix_spawn`ed, which
//! nearly doubles the cost of a call, and never for the children of that child.

use std::collections::BTreeSet;
use std::io::{self, PipeWriter, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

/// The argument by which this binary becomes the guard.
pub(crate) const ARGUMENT: &str = "guard";

const MESSAGE_BYTES: usize = size_of::<i32>();

/// The platform's end. Dropping it ends the guard.
#[derive(Debug)]
pub(crate) struct Guard {
    this: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// None when the guard is to end.
    messages: Option<PipeWriter>,
    process: Child,
    groups: BTreeSet<i32>,
}

impl Guard {
    /// Starts the guard; `this` is the path of this binary.
    pub(crate) fn start(this: &Path) -> io::Result<Self> {
        let (messages, process) = spawn(this)?;
        let inner = Inner {
            messages: Some(messages),
            process,
            groups: BTreeSet::new(),
        };
        Ok(Self {
            this: this.to_owned(),
            inner: Mutex::new(inner),
        })
    }

    /// Has the group killed, if the platform ends before it is released.
    pub(crate) fn watch(&self, group: Pid) {
        self.tell(group.as_raw_nonzero().get());
    }

    pub(crate) fn release(&self, group: Pid) {
        self.tell(-group.as_raw_nonzero().get());
    }

    fn tell(&self, message: i32) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        note(&mut inner.groups, message);
        let Some(mut messages) = inner.messages.as_ref() else {
            return;
        };
        if messages.write_all(&message.to_ne_bytes()).is_err()
            && let Err(error) = inner.replace(&self.this)
        {
            tracing::warn!(%error, "Lost the guard: if this provider is killed now, its functions live on");
        }
    }
}

impl Inner {
    /// Starts another guard in place of one that died, and tells it what that one knew.
    fn replace(&mut self, this: &Path) -> io::Result<()> {
        tracing::warn!("Started the guard of functions again: it had died");
        let (mut messages, process) = spawn(this)?;
        // It has ended, or does so now that nobody writes to it.
        let mut dead = std::mem::replace(&mut self.process, process);
        self.messages = None;
        dead.wait()?;
        for group in &self.groups {
            messages.write_all(&group.to_ne_bytes())?;
        }
        self.messages = Some(messages);
        Ok(())
    }
}

fn spawn(this: &Path) -> io::Result<(PipeWriter, Child)> {
    let (reader, messages) = io::pipe()?;
    // A group of its own, so that Ctrl-C in a terminal does not end it before the platform.
    let process = Command::new(this)
        .arg(ARGUMENT)
        .env_clear()
        .stdin(reader)
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()?;
    Ok((messages, process))
}

impl Drop for Guard {
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        inner.messages = None;
        if let Err(error) = inner.process.wait() {
            tracing::warn!(%error, "Left the guard unwaited");
        }
    }
}

/// Is the guard: reads which groups come and go, until the platform's end of the pipe is closed, and then
/// kills those that did not go.
///
/// # Errors
/// If the pipe cannot be read.
pub fn run(mut messages: impl Read) -> io::Result<()> {
    let mut groups = BTreeSet::new();
    let mut message = [0; MESSAGE_BYTES];
    loop {
        match messages.read_exact(&mut message) {
            Ok(()) => note(&mut groups, i32::from_ne_bytes(message)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    for group in groups.into_iter().filter_map(Pid::from_raw) {
        // A group that ended just now needs no signal.
        let _ = kill_process_group(group, Signal::KILL);
    }
    Ok(())
}

fn note(groups: &mut BTreeSet<i32>, message: i32) {
    match message {
        0.. => groups.insert(message),
        ..0 => groups.remove(&message.saturating_neg()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_and_go() {
        let mut groups = BTreeSet::new();
        [7, 8, 9, -8, -5]
            .iter()
            .for_each(|&message| note(&mut groups, message));
        assert_eq!(groups, BTreeSet::from([7, 9]));
    }

    #[test]
    fn what_did_not_go_is_killed() {
        let mut left = Command::new("sleep")
            .arg("1000")
            .process_group(0)
            .spawn()
            .unwrap();
        let message = i32::try_from(left.id()).unwrap().to_ne_bytes();
        run(&message[..]).unwrap();
        assert!(!left.wait().unwrap().success());
    }
}
