//! A control group of a function, in the kernel's version 2 of them (Documentation/admin-guide/cgroup-v2.rst).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::limits::Limits;

const OURS: &str = "dfaas-functions";

/// The period of cpu.max, in microseconds, as the kernel has it by default.
const PERIOD_US: u64 = 100_000;

/// Removed with all its processes when dropped.
#[derive(Debug)]
pub(crate) struct Cgroup {
    directory: PathBuf,
    missing: Vec<&'static str>,
    bounds_memory: bool,
}

impl Cgroup {
    /// Makes one below that of this process.
    pub(super) fn create(name: &str, limits: &Limits) -> io::Result<Self> {
        let parent = parent()?;
        let controllers = fs::read_to_string(parent.join("cgroup.controllers"))?;
        let useful = ["memory", "cpu", "pids"];
        let has = |name: &&str| controllers.split_ascii_whitespace().any(|found| found == *name);
        if !useful.iter().any(has) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this host's cgroup v2 has neither memory nor cpu nor pids",
            ));
        }
        let ours = parent.join(OURS);
        fs::create_dir_all(&ours)?;
        for name in useful.iter().filter(|name| has(name)) {
            enable(&parent, name)?;
            enable(&ours, name)?;
        }
        Self::create_in(&ours, name, limits)
    }

    fn create_in(parent: &Path, name: &str, limits: &Limits) -> io::Result<Self> {
        static VERSIONS: AtomicU64 = AtomicU64::new(0);
        // The version before may still be running, and takes its own with it.
        let version = VERSIONS.fetch_add(1, Relaxed);
        let directory = parent.join(format!("{name}-{version}"));
        match fs::create_dir(&directory) {
            // Left over from a platform that was killed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        let mut cgroup = Self {
            directory,
            missing: Vec::new(),
            bounds_memory: false,
        };
        if let Some(bytes) = limits.memory {
            cgroup.bounds_memory = cgroup.set("memory", "memory.max", &bytes.to_string())?;
            cgroup.set("memory", "memory.swap.max", "0")?;
        }
        if let Some(permille) = limits.cpu_permille {
            let quota = permille * PERIOD_US / 1000;
            cgroup.set("cpu", "cpu.max", &format!("{quota} {PERIOD_US}"))?;
        }
        if let Some(pids) = limits.pids {
            cgroup.set("pids", "pids.max", &pids.to_string())?;
        }
        Ok(cgroup)
    }

    /// Sets a limit, or notes that there is no such one.
    fn set(&mut self, limit: &'static str, file: &str, value: &str) -> io::Result<bool> {
        let path = self.directory.join(file);
        if !path.exists() {
            // Swap is not always counted.
            if file != "memory.swap.max" {
                self.missing.push(limit);
            }
            return Ok(false);
        }
        fs::write(path, value)?;
        Ok(true)
    }

    pub(super) fn missing(&self) -> &[&'static str] {
        &self.missing
    }

    pub(super) fn bounds_memory(&self) -> bool {
        self.bounds_memory
    }

    /// A file by which a process enters.
    pub(super) fn entrance(&self) -> io::Result<OwnedFd> {
        let path = self.directory.join("cgroup.procs");
        Ok(OpenOptions::new().write(true).open(path)?.into())
    }

    /// How many processes were killed because they took too much memory.
    pub(crate) fn out_of_memory(&self) -> u64 {
        let events = fs::read_to_string(self.directory.join("memory.events")).unwrap_or_default();
        let mut counts = events.lines().filter_map(|line| line.strip_prefix("oom_kill "));
        counts.next().and_then(|count| count.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It is of Linux 5.14; before, processes that left their group live on.
        let _ = fs::write(self.directory.join("cgroup.kill"), "1");
        // Processes that just end keep it; it is empty then.
        let _ = fs::remove_dir(&self.directory);
    }
}

/// The control group that this process may divide. One that holds processes may not be divided, but for the root.
fn parent() -> io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (path, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(path))
    });
    let unsupported = |text| io::Error::new(io::ErrorKind::Unsupported, text);
    let mount = mount.ok_or_else(|| unsupported("this host has no cgroup v2"))?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let own = own.ok_or_else(|| unsupported("this process is in no cgroup v2"))?;
    let own = own.strip_suffix("/supervisor").unwrap_or(own);
    Ok(mount.join(own))
}

fn enable(directory: &Path, controller: &str) -> io::Result<()> {
    let path = directory.join("cgroup.subtree_control");
    match fs::write(&path, format!("+{controller}")) {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            move_aside(directory)?;
            fs::write(&path, format!("+{controller}"))
        }
        enabled => enabled,
    }
}

/// Moves this process, which is alone in its group, into one below.
fn move_aside(directory: &Path) -> io::Result<()> {
    let supervisor = directory.join("supervisor");
    fs::create_dir_all(&supervisor)?;
    let processes = fs::read_to_string(directory.join("cgroup.procs"))?;
    for process in processes.lines() {
        // One that has ended is gone.
        let _ = fs::write(supervisor.join("cgroup.procs"), process);
    }
    File::open(&supervisor).map(drop)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_in_it_ends_with_it() {
        let root = Path::new("/sys/fs/cgroup/unified");
        let name = format!("dfaas-test-{}", std::process::id());
        let limits = Limits {
            memory: Some(20 << 20),
            ..Limits::default()
        };
        let cgroup = match Cgroup::create_in(root, &name, &limits) {
            Ok(cgroup) => cgroup,
            Err(error) => return eprintln!("passed over: {error}"),
        };
        // The controllers of that one are with version 1.
        assert_eq!(
            (cgroup.missing(), cgroup.bounds_memory()),
            (&["memory"][..], false)
        );
        let mut child = Command::new("setsid").args(["sleep", "1000"]).spawn().unwrap();
        fs::write(cgroup.directory.join("cgroup.procs"), child.id().to_string()).unwrap();
        let directory = cgroup.directory.clone();
        drop(cgroup);
        assert!(!child.wait().unwrap().success());
        // It was busy with the process that just ended.
        let _ = fs::remove_dir(directory);
    }
}
