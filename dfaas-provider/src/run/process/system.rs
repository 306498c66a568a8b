//! What needs the kernel without a safe call in between. This is the crate's only unsafe code.

#![expect(
    unsafe_code,
    reason = "Tokio has no safe call to watch a descriptor of ours, nor std to change a child before it runs"
)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use rustix::fs::Uid;
use rustix::process::{Gid, Pid, PidfdFlags, Resource, Rlimit, chdir, pidfd_open, setrlimit};
use rustix::thread::{
    LinkNameSpaceType, UnshareFlags, move_into_link_name_space, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid, unshare_unsafe,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A file that becomes readable when the process ends.
pub(super) fn exit_of(process: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    let descriptor = pidfd_open(process, PidfdFlags::NONBLOCK)?;
    // SAFETY: an `OwnedFd` stands for the same open descriptor until it is dropped.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    Ok(registered?)
}

/// Gives this thread mounts of its own.
pub(crate) fn unshare_mounts() -> io::Result<()> {
    // SAFETY: the table of open files, which other threads rely on, stays shared.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }?)
}

/// What a child takes on between its fork and its program.
#[derive(Debug)]
pub(crate) struct Confinement {
    /// The mounts it sees.
    pub(crate) namespace: Option<OwnedFd>,
    pub(crate) home: CString,
    /// The cgroup.procs of its control group.
    pub(crate) cgroup: Option<OwnedFd>,
    pub(crate) user: Option<u32>,
    pub(crate) processes_max: Option<u64>,
}

/// Has the command's process confine itself first.
pub(super) fn confine(command: &mut Command, confinement: &Arc<Confinement>) {
    let confinement = Arc::clone(confinement);
    let enter = move || confinement.enter();
    // SAFETY: what follows makes system calls alone: it takes no lock and allocates nothing, and the values it uses
    // were made before the fork.
    unsafe {
        command.pre_exec(enter);
    }
}

impl Confinement {
    fn enter(&self) -> io::Result<()> {
        if let Some(cgroup) = &self.cgroup {
            rustix::io::write(cgroup, b"0")?;
        }
        if let Some(namespace) = &self.namespace {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
        }
        if let Some(processes) = self.processes_max {
            let limit = Rlimit {
                current: Some(processes),
                maximum: Some(processes),
            };
            setrlimit(Resource::Nproc, limit)?;
        }
        if let Some(user) = self.user {
            let (group, user) = (Gid::from_raw(user), Uid::from_raw(user));
            set_thread_groups(&[])?;
            set_thread_res_gid(group, group, group)?;
            set_thread_res_uid(user, user, user)?;
        }
        chdir(self.home.as_c_str())?;
        Ok(set_no_new_privs(true)?)
    }
}
