//! Where this process runs, as far as it decides about bpf(2).

use std::{fs, os::linux::fs::MetadataExt as _};

/// The inode of the first user namespace (`PROC_USER_INIT_INO` in `include/linux/proc_ns.h`).
const FIRST_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// What is said of bpf(2) in another.
pub(super) const USER_NAMESPACE: &str = "this is a user namespace (Sysbox, rootless engines, userns-remap), where bpf(2) is \
                                         refused whatever the capabilities: run `dfaas-agent run --netns PID` on the \
                                         host, PID being this container's first process there, or take --data-plane \
                                         haproxy";

/// Whether this process is in another user namespace than the first.
pub(super) fn is_user_namespace() -> bool {
    // Where kernels have no user namespaces, there is no such file.
    fs::metadata("/proc/self/ns/user").is_ok_and(|namespace| namespace.st_ino() != FIRST_USER_NAMESPACE)
}

/// Why bpf(2) may have been refused, to go behind what the kernel says.
pub(super) fn cause() -> &'static str {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if is_user_namespace() {
        ": that is because of the user namespace"
    } else if has_filter(&status) {
        ": this process has a seccomp filter, which has to allow bpf(2)"
    } else {
        ""
    }
}

/// Whether system calls are filtered (`Seccomp: 2`, proc(5)).
fn has_filter(status: &str) -> bool {
    let mut lines = status.lines();
    lines.any(|line| {
        line.strip_prefix("Seccomp:")
            .is_some_and(|mode| mode.trim() == "2")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read() {
        assert!(has_filter("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!has_filter("Name:\tx\nSeccomp:\t0\n"));
        assert!(!has_filter("Seccomp_filters:\t2\n"));
    }
}
