//! The platform's listener: found by its port, borrowed, lent to the kernel.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use tracing::warn;

use crate::sockets::{Family, Sockets, StateFlags};

/// State `LISTEN` in `/proc/net/tcp` (`include/net/tcp_states.h`).
const LISTEN: &str = "0A";

const IPV4_SOCKETS: &str = "/proc/net/tcp";
const IPV6_SOCKETS: &str = "/proc/net/tcp6";

/// Whether the kernel has answered so far. One without `tcp_diag` starts a program at each question, to load it, which
/// ten times a second takes a quarter of a slow processor.
static HAS_DIAGNOSIS: AtomicBool = AtomicBool::new(true);

/// The inode of the socket that listens on a port in this network namespace, IPv4 first: one of IPv6 takes both.
pub(super) fn find(port: u16) -> Result<Option<u64>> {
    match find_of(Family::Ipv4, port)? {
        Some(inode) => Ok(Some(inode)),
        None => find_ipv6(port),
    }
}

/// The inode of one that takes connections by IPv6.
pub(super) fn find_ipv6(port: u16) -> Result<Option<u64>> {
    find_of(Family::Ipv6, port)
}

/// Asks the kernel for its listeners. The table of all sockets, which is read where it cannot be asked, takes
/// milliseconds, and longer with every connection.
fn find_of(family: Family, port: u16) -> Result<Option<u64>> {
    if HAS_DIAGNOSIS.load(Ordering::Relaxed) {
        match find_by_diagnosis(family, port) {
            Ok(found) => return Ok(found),
            Err(error) => warn!(
                error = format!("{error:#}"),
                "The kernel has no socket diagnosis; reading its table of sockets"
            ),
        }
        HAS_DIAGNOSIS.store(false, Ordering::Relaxed);
    }
    let table = match family {
        Family::Ipv4 => IPV4_SOCKETS,
        Family::Ipv6 => IPV6_SOCKETS,
    };
    find_in_table(table, port)
}

fn find_by_diagnosis(family: Family, port: u16) -> Result<Option<u64>> {
    let listeners = Sockets::open()?.list(family, StateFlags::LISTEN)?;
    let found = listeners
        .iter()
        .find(|listener| listener.socket_id.source_port == port);
    Ok(found.map(|listener| listener.inode.into()))
}

fn find_in_table(table: &str, port: u16) -> Result<Option<u64>> {
    let path = Path::new(table);
    if !path.exists() {
        return Ok(None);
    }
    let file = File::open(path).with_context(|| format!("opening {table}"))?;
    Ok(find_in(BufReader::new(file), port))
}

/// The kernel lists listeners before connections, so reading stops at the first connection.
fn find_in(table: impl BufRead, port: u16) -> Option<u64> {
    for line in table.lines().skip(1) {
        let line = line.ok()?;
        let mut columns = line.split_ascii_whitespace().skip(1);
        let (local, state) = (columns.next()?, columns.nth(1)?);
        if state != LISTEN {
            return None;
        }
        let listens = local
            .rsplit_once(':')
            .and_then(|(_, hex)| u16::from_str_radix(hex, 16).ok());
        if listens == Some(port) {
            return columns.nth(5)?.parse().ok();
        }
    }
    None
}

/// Borrows the socket with this inode from the process that has it.
///
/// The copy must not be kept: while it is open, the socket goes on listening though its process is gone.
pub(super) fn borrow(inode: u64) -> Result<Option<OwnedFd>> {
    let name = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").context("listing /proc")?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Some(descriptor) = descriptor_of(&process.path().join("fd"), &name) else {
            continue;
        };
        let pid = Pid::from_raw(pid).context("a process id of 0")?;
        let process = pidfd_open(pid, PidfdFlags::empty()).context("opening the platform's process")?;
        let socket = pidfd_getfd(process.as_fd(), descriptor, PidfdGetfdFlags::empty()).context(
            "borrowing the platform's listener; the agent needs CAP_SYS_PTRACE and the same PID namespace",
        )?;
        return Ok(Some(socket));
    }
    Ok(None)
}

fn descriptor_of(folder: &Path, name: &str) -> Option<i32> {
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let is_it = fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == name);
        is_it.then(|| entry.file_name().to_str()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::fs::MetadataExt};

    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F9A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:1F9A 0100007F:9000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0
   2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0
";

    #[test]
    fn a_listener_is_found_by_its_port() {
        assert_eq!(find_in(TABLE.as_bytes(), 0x1f9a), Some(4711));
    }

    #[test]
    fn reading_ends_at_the_first_connection() {
        assert_eq!(find_in(TABLE.as_bytes(), 0x50), None);
        assert_eq!(find_in(&b"header\n"[..], 0x50), None);
        assert_eq!(find_in(&b"header\nrubbish\n"[..], 0x50), None);
    }

    #[test]
    fn a_real_listener_is_found_and_borrowed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = find(listener.local_addr().unwrap().port()).unwrap().unwrap();
        let borrowed = borrow(inode).unwrap().unwrap();
        assert_eq!(File::from(borrowed).metadata().unwrap().ino(), inode);
    }

    #[test]
    fn the_table_and_the_diagnosis_agree() {
        let listeners = ["127.0.0.1:0", "[::1]:0"].map(|address| TcpListener::bind(address).unwrap());
        for (listener, family, table) in [
            (&listeners[0], Family::Ipv4, IPV4_SOCKETS),
            (&listeners[1], Family::Ipv6, IPV6_SOCKETS),
        ] {
            let port = listener.local_addr().unwrap().port();
            let inode = find_in_table(table, port).unwrap();
            assert!(inode.is_some());
            assert_eq!(find_by_diagnosis(family, port).unwrap(), inode);
        }
    }

    #[test]
    fn a_closed_listener_is_not_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert_eq!(find(port).unwrap(), None);
    }
}
