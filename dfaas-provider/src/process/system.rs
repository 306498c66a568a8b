//! Being told by the kernel of a child's end. This is the crate's only unsafe code.

#![expect(unsafe_code, reason = "Tokio has no safe call to watch a descriptor of ours")]

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A file that becomes readable when the process ends.
pub(super) fn exit_of(process: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    let descriptor = pidfd_open(process, PidfdFlags::NONBLOCK)?;
    // SAFETY: an `OwnedFd` stands for the same open descriptor until it is dropped.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    Ok(registered?)
}
