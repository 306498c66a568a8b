//! What a child does before it becomes HAProxy.

use std::{
    io::{Error, ErrorKind},
    os::fd::{BorrowedFd, RawFd},
};

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use rustix::thread::clear_ambient_capability_set;
use tokio::process::Command;

/// Lets the child die with the thread that starts it, however that ends.
pub(super) fn tie_to_parent(command: &mut Command) {
    let parent = getpid();
    let tie = move || {
        set_parent_process_death_signal(Some(Signal::TERM))?;
        // The parent may have died before it could be watched.
        if getppid() == Some(parent) {
            Ok(())
        } else {
            Err(Error::from(ErrorKind::NotConnected))
        }
    };
    // SAFETY: between fork and exec only two system calls are made and an error without memory of its own.
    unsafe { command.pre_exec(tie) };
}

/// Keeps the capabilities of a service that is not root from the child, which needs none.
pub(super) fn leave_capabilities(command: &mut Command) {
    // Kernels before 4.3 have no ambient ones to leave.
    let leave = || {
        Ok(clear_ambient_capability_set().or_else(|error| match error {
            Errno::INVAL => Ok(()),
            error => Err(error),
        })?)
    };
    // SAFETY: between fork and exec only one system call is made.
    unsafe { command.pre_exec(leave) };
}

/// Lets the child have a descriptor of this process under the same number. It has to stay open until the child runs.
pub(super) fn hand_down(command: &mut Command, descriptor: RawFd) {
    let keep = move || {
        // SAFETY: the caller keeps it open, and the child has all that its parent had open.
        let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
        Ok(fcntl_setfd(descriptor, FdFlags::empty())?)
    };
    // SAFETY: between fork and exec only one system call is made.
    unsafe { command.pre_exec(keep) };
}
