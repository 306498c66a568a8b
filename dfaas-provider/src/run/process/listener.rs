//! Who listens on a port, as /proc tells it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use rustix::process::Pid;

/// The state of a listening socket in /proc/net/tcp, TCP_LISTEN of the kernel's tcp_states.h.
const LISTEN: &str = "0A";

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Listener {
    address: SocketAddr,
    inode: u64,
}

/// Where the processes of `group` and their children listen.
pub(super) fn of_group(group: Pid) -> io::Result<Vec<SocketAddr>> {
    let inodes = inodes_of(&members(group)?);
    let found = listening()?;
    let own = found
        .into_iter()
        .filter(|listener| inodes.contains(&listener.inode));
    Ok(own.map(|listener| listener.address).collect())
}

/// The address to connect to, to reach who listens at `address`: the one that is wanted, if it may be.
pub(super) fn reachable(address: SocketAddr, wanted: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() && wanted.is_ipv4() => wanted,
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), wanted.port()),
        // Bound to all of IPv6, and to IPv4 unless the program chose otherwise.
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), wanted.port()),
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    }
}

fn listening() -> io::Result<Vec<Listener>> {
    let mut found = parse(&fs::read_to_string("/proc/net/tcp")?);
    // A kernel without IPv6 has no such file.
    found.extend(parse(&fs::read_to_string("/proc/net/tcp6").unwrap_or_default()));
    Ok(found)
}

fn parse(table: &str) -> Vec<Listener> {
    table.lines().skip(1).filter_map(line).collect()
}

fn line(line: &str) -> Option<Listener> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, state) = (fields.next()?, fields.nth(1)?);
    let inode = fields.nth(5)?.parse().ok()?;
    let (ip, port) = local.split_once(':')?;
    let address = SocketAddr::new(ip_of(ip)?, u16::from_str_radix(port, 16).ok()?);
    (state == LISTEN).then_some(Listener { address, inode })
}

/// Words of 32 bits in the byte order of the machine.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let words: Option<Vec<u32>> = hex
        .as_bytes()
        .chunks(8)
        .map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok())
        .collect();
    let bytes: Vec<u8> = words?.iter().flat_map(|word| word.to_ne_bytes()).collect();
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

/// The processes of a group, and the children of those that left it.
fn members(group: Pid) -> io::Result<BTreeSet<u32>> {
    let group = group.as_raw_nonzero().get().unsigned_abs();
    let mut processes: Vec<(u32, u32, u32)> = fs::read_dir("/proc")?
        .filter_map(|entry| stat(&entry.ok()?.path()))
        .collect();
    processes.sort_unstable();
    let mut members: BTreeSet<u32> = processes
        .iter()
        .filter(|(_, _, its_group)| *its_group == group)
        .map(|(pid, _, _)| *pid)
        .collect();
    // Numbers may wrap around, so that a child can come before its parent.
    loop {
        let before = members.len();
        for (pid, parent, _) in &processes {
            if members.contains(parent) {
                members.insert(*pid);
            }
        }
        if members.len() == before {
            return Ok(members);
        }
    }
}

/// The number, the parent and the group of a process.
fn stat(process: &Path) -> Option<(u32, u32, u32)> {
    let pid = process.file_name()?.to_str()?.parse().ok()?;
    let text = fs::read_to_string(process.join("stat")).ok()?;
    // The name stands in brackets and may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace().skip(1);
    Some((pid, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn inodes_of(processes: &BTreeSet<u32>) -> BTreeSet<u64> {
    let files = processes
        .iter()
        .filter_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok())
        .flatten();
    files
        .filter_map(|file| {
            let target = fs::read_link(file.ok()?.path()).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            inode.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_listeners_are_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let group = rustix::process::getpgrp();
        let found = of_group(group).unwrap();
        assert!(found.contains(&listener.local_addr().unwrap()), "{found:?}");
    }

    #[test]
    fn tables_of_the_kernel_are_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n   \
             1: 0100007F:1389 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0\n   \
             2: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 \
             00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0\n";
        let found = parse(table);
        let addresses: Vec<String> = found
            .iter()
            .map(|listener| listener.address.to_string())
            .collect();
        if cfg!(target_endian = "little") {
            assert_eq!(addresses, ["127.0.0.1:5000", "[::1]:8080"]);
        }
        assert_eq!(found.iter().map(|l| l.inode).collect::<Vec<_>>(), [4711, 4713]);
    }
}
