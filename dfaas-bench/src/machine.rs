//! What the whole machine does.

use std::{collections::BTreeMap, fs, process};

use anyhow::{Context as _, Result};
use rustix::process::{Resource, getrlimit};

/// `USER_HZ` is 100 wherever Linux runs: it is part of its interface.
const TICK_US: u64 = 10_000;
/// The times that are not work: idle and waiting for disks (proc(5), `/proc/stat`).
const IDLE_COLUMNS: [usize; 2] = [3, 4];
/// Guests' times are within users' times.
const COLUMNS: usize = 8;
/// A thread of the kernel (`include/linux/sched.h`), such as those that handle packets when there are many.
const PF_KTHREAD: u32 = 0x0020_0000;

/// Files that a process has besides connections.
const OTHER_FILES: u64 = 1_000;

/// How many connections a process may have.
pub(crate) fn connections_a_process() -> usize {
    let files = getrlimit(Resource::Nofile).current;
    files.map_or(usize::MAX, |files| files.saturating_sub(OTHER_FILES) as usize)
}

/// For how long all CPUs together have been busy since the machine started, softirq included.
///
/// # Errors
///
/// When `/proc/stat` cannot be read.
fn busy_us() -> Result<u64> {
    let text = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    busy_ticks(line)
        .map(|ticks| ticks * TICK_US)
        .context("/proc/stat does not begin with the sum of all CPUs")
}

fn busy_ticks(line: &str) -> Option<u64> {
    let columns = line.strip_prefix("cpu ")?.split_whitespace().take(COLUMNS);
    let mut sum = 0;
    for (column, ticks) in columns.enumerate() {
        let ticks: u64 = ticks.parse().ok()?;
        if !IDLE_COLUMNS.contains(&column) {
            sum += ticks;
        }
    }
    Some(sum)
}

/// For how long all CPUs together have worked for this process and its descendants, softirq included.
///
/// Packets are handled in softirq, in whatever process is interrupted: so this is all work of the machine, less what
/// processes of others used.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub(crate) fn own_us() -> Result<u64> {
    let mut processes = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("listing /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may have ended meanwhile.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(process) = Process::read(&stat) {
            processes.insert(pid, process);
        }
    }
    let others = others_ticks(&processes, process::id());
    Ok(busy_us()?.saturating_sub(others * TICK_US))
}

/// For how long a process has worked.
///
/// # Errors
///
/// When it is gone.
pub(crate) fn process_us(pid: u32) -> Result<u64> {
    let file = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
    let process = Process::read(&stat).with_context(|| format!("{file} says {stat}"))?;
    Ok(process.ticks * TICK_US)
}

/// What of a process matters.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Process {
    parent: u32,
    is_kernel: bool,
    /// Its own, and of its children that have ended.
    ticks: u64,
}

impl Process {
    /// Reads `/proc/PID/stat`: see proc(5).
    fn read(stat: &str) -> Option<Self> {
        // The name may have blanks and brackets in it.
        let (_, rest) = stat.rsplit_once(") ")?;
        let columns: Vec<&str> = rest.split_whitespace().collect();
        let parent = columns.get(1)?.parse().ok()?;
        let flags: u32 = columns.get(6)?.parse().ok()?;
        let times = columns.get(11..15)?.iter().map(|ticks| ticks.parse::<u64>());
        Some(Self {
            parent,
            is_kernel: flags & PF_KTHREAD != 0,
            ticks: times.sum::<Result<u64, _>>().ok()?,
        })
    }
}

fn others_ticks(processes: &BTreeMap<u32, Process>, own: u32) -> u64 {
    let is_own = |pid: u32| {
        let mut next = Some(pid);
        while let Some(pid) = next {
            if pid == own {
                return true;
            }
            next = processes.get(&pid).map(|process| process.parent);
        }
        false
    };
    let others = processes
        .iter()
        .filter(|(pid, process)| !process.is_kernel && !is_own(**pid));
    others.map(|(_, process)| process.ticks).sum()
}

/// The load averages of one, five and fifteen minutes.
///
/// # Errors
///
/// When `/proc/loadavg` cannot be read.
pub(crate) fn load_average() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg").context("reading /proc/loadavg")?;
    let three: Vec<&str> = text.split_whitespace().take(3).collect();
    Ok(three.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_times_and_guests_are_no_work() {
        assert_eq!(
            busy_ticks("cpu  1 20 300 4000 50000 600000 7000000 80000000 900000000 0"),
            Some(87_600_321)
        );
        assert_eq!(busy_ticks("cpu0 1 2 3 4 5 6 7 8 9 10"), None);
        assert_eq!(busy_ticks("cpu  one"), None);
    }

    #[test]
    fn what_others_use_is_not_ours() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 5 6 7";
        let read = Process::read(stat).unwrap();
        let want = Process {
            parent: 1,
            is_kernel: false,
            ticks: 100,
        };
        assert_eq!(read, want);
        let child = |parent| Process { parent, ..want };
        let kernel = Process {
            is_kernel: true,
            ..child(0)
        };
        let processes = [
            (1, child(0)),
            (2, kernel),
            (3, child(1)),
            (4, child(3)),
            (5, child(4)),
        ];
        // 3 is ours, so are 4 and 5 below it; 2 is the kernel's, which works for all.
        assert_eq!(others_ticks(&processes.into(), 3), 100);
        assert_eq!(others_ticks(&processes.into(), 5), 300);
    }

    #[test]
    fn this_machine_works() {
        assert!(own_us().unwrap() > 0);
        assert_eq!(load_average().unwrap().split(' ').count(), 3);
    }
}
