//! The two things about a child that only the kernel can do: killing it with its parent and telling of its
//! end. This is the crate's only unsafe code.

#![expect(unsafe_code, reason = "neither std nor Tokio has a safe call for them")]

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, getppid, pidfd_open, set_parent_process_death_signal,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the kernel kill the child when the thread that starts it ends.
pub(super) fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    let arm = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        match getppid() {
            Some(current) if current == parent => Ok(()),
            // The parent ended before the signal was armed.
            Some(_) | None => Err(io::ErrorKind::NotFound.into()),
        }
    };
    // SAFETY: between fork and exec the closure makes two system calls; it neither allocates nor locks.
    unsafe {
        command.pre_exec(arm);
    }
}

/// A file that becomes readable when the process ends.
pub(super) fn exit_of(process: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    let descriptor = pidfd_open(process, PidfdFlags::NONBLOCK)?;
    // SAFETY: an `OwnedFd` stands for the same open descriptor until it is dropped.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    Ok(registered?)
}
