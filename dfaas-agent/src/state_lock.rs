//! The lock on a state directory: one identity, one agent. The file says which process has it.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::linux::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FlockOperation, flock},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

const NAME: &str = "lock";
/// How long an agent may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// A state directory that no other agent takes meanwhile.
#[derive(Debug)]
pub(crate) struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes the directory.
    ///
    /// # Errors
    /// Another agent has it, or nothing can be written there.
    pub(crate) fn take(state_dir: &Path) -> Result<Self> {
        let path = path(state_dir);
        fs::create_dir_all(state_dir).with_context(|| format!("making {}", state_dir.display()))?;
        let mut file = open(&path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!(
                "the agent of process {} has the state directory {}: end it first (dfaas-agent stop), or give this one \
                 another (--state-dir)",
                holder(&mut file).map_or("?".to_owned(), |pid| pid.as_raw_nonzero().to_string()),
                state_dir.display()
            );
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(Self { _file: file })
    }
}

/// Sends a signal to the agent that has a state directory, and waits until it has ended.
///
/// # Errors
/// None has it, it is not in sight, or it does not end.
pub(crate) fn end_holder(state_dir: &Path, signal: Signal) -> Result<()> {
    let path = path(state_dir);
    let shown = state_dir.display();
    let file = File::open(&path).ok();
    let Some(mut file) = file.filter(|file| flock(file, FlockOperation::NonBlockingLockShared).is_err())
    else {
        bail!("no agent has the state directory {shown} (--state-dir)");
    };
    let Some(pid) = holder(&mut file).filter(|pid| has_open(*pid, &file)) else {
        bail!(
            "the agent that has {shown} is not in sight: call this as its user or as root, and where its processes are seen"
        );
    };
    let process = pidfd_open(pid, PidfdFlags::empty()).context("opening the agent's process")?;
    pidfd_send_signal(&process, signal).context("telling the agent")?;
    let mut ended = [PollFd::new(&process, PollFlags::IN)];
    let patience = Timespec {
        tv_sec: ENDS_WITHIN.as_secs().cast_signed(),
        tv_nsec: 0,
    };
    if poll(&mut ended, Some(&patience)).context("waiting for the agent")? == 0 {
        bail!(
            "the agent of process {} has not ended within {ENDS_WITHIN:?}",
            pid.as_raw_nonzero()
        );
    }
    Ok(())
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(NAME)
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options
        .open(path)
        .with_context(|| format!("opening {}", path.display()))
}

fn holder(file: &mut File) -> Option<Pid> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    Pid::from_raw(text.trim().parse().ok()?)
}

/// Whether a process has the file open: the number in it may be of another PID namespace, where it is somebody else's.
fn has_open(pid: Pid, file: &File) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.st_dev(), metadata.st_ino());
    let Ok(wanted) = file.metadata().map(identity) else {
        return false;
    };
    let folder = format!("/proc/{}/fd", pid.as_raw_nonzero());
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter_map(|entry| fs::metadata(entry.path()).ok())
        .any(|metadata| identity(metadata) == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_directory_is_one_agents() {
        let folder = tempfile::tempdir().unwrap();
        let lock = StateLock::take(folder.path()).unwrap();
        let text = StateLock::take(folder.path()).unwrap_err().to_string();
        let this = format!("the agent of process {} has", std::process::id());
        assert!(text.starts_with(&this), "{text}");
        drop(lock);
        StateLock::take(folder.path()).unwrap();
    }

    #[test]
    fn nobody_is_ended_who_has_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        drop(StateLock::take(folder.path()).unwrap());
        let text = end_holder(folder.path(), Signal::TERM).unwrap_err().to_string();
        assert!(text.starts_with("no agent has"), "{text}");
    }
}
