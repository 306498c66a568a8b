//! A namespace for networking, mounts and processes, kept by a process that ends with this one.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What the first process of a namespace does. It lives until its standard input ends, which the kernel brings about
/// when this process dies, even by SIGKILL; and with the first process of a PID namespace die all its others.
/// Orphans are reaped by the kernel where SIGCHLD is ignored. `/sys` lists the interfaces of who mounted it.
const INIT: &str = "
set -e
mount -t tmpfs tmpfs /run
mount -t sysfs sysfs /sys
mount -t bpf bpf /sys/fs/bpf
ip link set lo up
echo ready
exec env --ignore-signal=CHLD cat
";

/// What the first process of a container does. A bpffs is not to be had in there.
const CONTAINER_INIT: &str = "
set -e
mount -t tmpfs tmpfs /run
mount -t sysfs sysfs /sys || true
ip link set lo up
echo ready
exec env --ignore-signal=CHLD cat
";

/// A namespace for networking, mounts and processes. It ends when it is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    keeper: Child,
    /// Whether it has users of its own, whose root may do nothing outside.
    has_users: bool,
}

impl Namespace {
    /// Makes a namespace with nothing but a loopback interface, an empty `/run` and an empty `/sys/fs/bpf`.
    ///
    /// # Errors
    ///
    /// When this process may not, or tools are missing.
    pub fn new(name: &str) -> Result<Self> {
        let keeper = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--pid",
                "--fork",
                "--mount-proc",
                "--kill-child",
            ])
            .args(["sh", "-c", INIT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("starting unshare")?;
        Self::ready(name, keeper, false)
    }

    /// Makes one within another that has a user namespace too, as containers have under Sysbox.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn container(name: &str, host: &Self) -> Result<Self> {
        let mut command = host.command("unshare");
        command.args(["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork"]);
        command.args(["--mount-proc", "--kill-child", "sh", "-c", CONTAINER_INIT]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let keeper = host.start(&mut command)?;
        Self::ready(name, keeper, true)
    }

    fn ready(name: &str, keeper: Child, has_users: bool) -> Result<Self> {
        let mut namespace = Self {
            name: name.to_owned(),
            keeper,
            has_users,
        };
        namespace.wait_until_ready()?;
        Ok(namespace)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let stdout = self.keeper.stdout.take().context("the keeper has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.trim() == "ready" {
            return Ok(());
        }
        let mut complaint = String::new();
        if let Some(mut stderr) = self.keeper.stderr.take() {
            stderr.read_to_string(&mut complaint)?;
        }
        Err(anyhow!(
            "making the namespace {} (this needs root): {}",
            self.name,
            complaint.trim()
        ))
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process that keeps it, for `nsenter --target`.
    pub fn pid(&self) -> u32 {
        self.keeper.id()
    }

    /// The number of that process where it was started, for who is there.
    ///
    /// # Errors
    ///
    /// When the namespace is gone.
    pub fn pid_outside(&self) -> Result<u32> {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let number = line.and_then(|numbers| numbers.split_ascii_whitespace().next_back());
        number
            .with_context(|| format!("{path} has no NSpid"))?
            .parse()
            .context("reading a number")
    }

    /// How this process sees a file of the namespace.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.pid()))
    }

    /// A command that [`Namespace::start`] runs with the mounts of the namespace.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        if self.has_users {
            command.arg(format!("--user={}", self.link("user")));
            command.arg("--preserve-credentials");
        }
        command
            .arg(format!("--mount={}", self.link("mnt")))
            .arg("--")
            .arg(program);
        // The terminal's Ctrl-C is for this process, which then ends the others in order.
        command.process_group(0);
        command
    }

    /// Starts a command among the processes and the network of the namespace. It dies with the namespace.
    ///
    /// # Errors
    ///
    /// When the namespace is gone or the command does not exist.
    pub fn start(&self, command: &mut Command) -> Result<Child> {
        let start = || {
            // Only the children of this thread go there.
            enter(&self.link("pid_for_children"), LinkNameSpaceType::ProcessID)?;
            command
                .spawn()
                .with_context(|| format!("starting {command:?} in {}", self.name))
        };
        self.on_thread(start)?
    }

    /// Calls a function whose sockets are of the namespace's network.
    ///
    /// # Errors
    ///
    /// When the namespace is gone.
    pub fn on_thread<T: Send>(&self, function: impl FnOnce() -> T + Send) -> Result<T> {
        let entered = || {
            self.enter_network()?;
            Ok(function())
        };
        let joined = thread::scope(|scope| scope.spawn(entered).join());
        joined.map_err(|_| anyhow!("a thread in {} panicked", self.name))?
    }

    /// Moves the calling thread into the namespace's network: for threads that stay there.
    ///
    /// # Errors
    ///
    /// When the namespace is gone.
    pub fn enter_network(&self) -> Result<()> {
        enter(&self.link("net"), LinkNameSpaceType::Network)
    }

    /// The link of its network, which outlives a borrow of this value.
    pub(crate) fn network_link(&self) -> String {
        self.link("net")
    }

    fn link(&self, kind: &str) -> String {
        format!("/proc/{}/ns/{kind}", self.pid())
    }

    /// Runs a program in the namespace to its end and returns what it wrote.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn output<S: AsRef<OsStr>>(&self, program: &str, arguments: &[S]) -> Result<Output> {
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.start(&mut command)?;
        child
            .wait_with_output()
            .with_context(|| format!("waiting for {program} in {}", self.name))
    }

    /// Changes the network of the namespace as `ip -batch` does.
    ///
    /// # Errors
    ///
    /// When a line is refused.
    pub fn ip(&self, lines: &str) -> Result<()> {
        let run = || -> Result<Output> {
            // The namespaces of PIDs and mounts are this process's, so that `netns PID` means what it means here.
            let mut ip = Command::new("ip");
            ip.args(["-batch", "-"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .process_group(0);
            let mut child = ip.spawn().context("starting ip")?;
            let mut stdin = child.stdin.take().context("ip has no input")?;
            stdin.write_all(lines.as_bytes())?;
            drop(stdin);
            Ok(child.wait_with_output()?)
        };
        let output = self.on_thread(run)??;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "ip in {}: {}\n{lines}",
            self.name,
            complaint.trim()
        );
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // Nobody is left to be told of an error.
        let _ = self.keeper.wait();
    }
}

pub(crate) fn enter(link: &str, kind: LinkNameSpaceType) -> Result<()> {
    let file = File::open(link).with_context(|| format!("opening {link}"))?;
    move_into_link_name_space(file.as_fd(), Some(kind)).with_context(|| format!("entering {link}"))
}
