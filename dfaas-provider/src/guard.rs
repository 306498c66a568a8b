//! A small process that outlives the platform, to kill the functions it leaves behind when it is killed.
//!
//! The kernel could do so by a death signal, but only for a child that is forked and not `posix_spawn`ed, which
//! nearly doubles the cost of a call, and never for the children of that child.

use std::collections::BTreeSet;
use std::io::{self, PipeWriter, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::process::{Pid, Signal, kill_process_group};

/// The argument by which this binary becomes the guard.
pub(crate) const ARGUMENT: &str = "guard";

const MESSAGE_BYTES: usize = size_of::<i32>();

/// The platform's end. Dropping it ends the guard.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Writes of a few bytes are atomic, so that threads need no lock.
    messages: Option<PipeWriter>,
    process: Child,
    lost: AtomicBool,
}

impl Guard {
    /// Starts the guard; `this` is the path of this binary.
    pub(crate) fn start(this: &Path) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        // A group of its own, so that Ctrl-C in a terminal does not end it before the platform.
        let process = Command::new(this)
            .arg(ARGUMENT)
            .env_clear()
            .stdin(reader)
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self {
            messages: Some(writer),
            process,
            lost: AtomicBool::new(false),
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
        let sent = self
            .messages
            .as_ref()
            .map(|mut pipe| pipe.write_all(&message.to_ne_bytes()));
        if let Some(Err(error)) = sent
            && !self.lost.swap(true, Relaxed)
        {
            tracing::warn!(%error, "Lost the guard: if this provider is killed now, its functions live on");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.messages = None;
        if let Err(error) = self.process.wait() {
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
