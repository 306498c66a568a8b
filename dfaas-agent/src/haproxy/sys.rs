//! What a child does before it becomes HAProxy.

use std::{
    io::{self, Error, ErrorKind},
    os::fd::{BorrowedFd, RawFd},
};

use rustix::{
    io::{Errno, FdFlags, fcntl_setfd},
    process::{Gid, Signal, Uid, getpid, getppid, set_parent_process_death_signal},
    thread::{
        CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
        set_capabilities, set_no_new_privs, set_thread_gid, set_thread_groups, set_thread_uid,
    },
};
use tokio::process::Command;

/// How many capabilities there can be: they are the bits of one number.
const CAPABILITIES_MAX: u32 = u64::BITS;

/// Lets the child die with the thread that starts it, however that ends. A change of its user would undo this.
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

/// Takes all capabilities from the child, and with a user's number, which only root can give, also the user.
///
/// Nothing that it runs gets any back. The bounding set is emptied where this process may do so (`CAP_SETPCAP`).
pub(super) fn take_privileges(command: &mut Command, user: Option<u32>) {
    let take = move || {
        empty_bounding_set()?;
        if let Some(user) = user {
            become_user(user)?;
        }
        clear_ambient_capability_set()?;
        let none = CapabilitySet::empty();
        let sets = CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        };
        set_capabilities(None, sets)?;
        Ok(set_no_new_privs(true)?)
    };
    // SAFETY: between fork and exec only system calls are made, of the child's only thread, and no memory is asked for.
    unsafe { command.pre_exec(take) };
}

fn empty_bounding_set() -> io::Result<()> {
    for number in 0..CAPABILITIES_MAX {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(()) => {}
            // This process may not, or the kernel knows no more.
            Err(Errno::PERM | Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn become_user(user: u32) -> io::Result<()> {
    set_thread_groups(&[])?;
    set_thread_gid(Gid::from_raw(user))?;
    Ok(set_thread_uid(Uid::from_raw(user))?)
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

#[cfg(test)]
mod tests {
    use rustix::process::geteuid;

    use super::*;
    use crate::haproxy::program::USER;

    #[tokio::test]
    async fn a_child_has_no_capability_and_gets_none() {
        check(None, geteuid().as_raw()).await;
        if geteuid().is_root() {
            check(Some(USER), USER).await;
        }
    }

    async fn check(user: Option<u32>, want: u32) {
        let mut command = Command::new("cat");
        command.arg("/proc/self/status");
        take_privileges(&mut command, user);
        let output = command.output().await.unwrap();
        let status = String::from_utf8(output.stdout).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().to_owned()
        };
        assert_eq!(field("Uid:"), want.to_string());
        assert_eq!(field("NoNewPrivs:"), "1");
        let mut sets = vec!["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"];
        if geteuid().is_root() {
            sets.push("CapBnd:");
        }
        for set in sets {
            assert_eq!(field(set), "0000000000000000", "{set} of {user:?}");
        }
    }
}
