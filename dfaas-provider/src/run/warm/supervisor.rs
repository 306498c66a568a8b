//! Starts a warm process, waits until it listens, starts it again when it dies, and ends it with its last call.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::net::unix::pipe;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::States;
use super::state::State;
use crate::clock;
use crate::run::classic::describe;
use crate::run::function_log::FunctionLog;
use crate::run::isolation::cgroup::Cgroup;
use crate::run::isolation::memory;
use crate::run::launch::Launch;
use crate::run::process::Process;
use crate::run::settings::{Mode, Settings};

const PROBE_INTERVAL: Duration = Duration::from_millis(20);

/// A process that does not listen after so long is worth a word.
const START_PATIENCE: Duration = Duration::from_secs(3);

const DELAY_MIN: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(30);

/// Callers wait for a restart that comes sooner than this, and are told of one that does not.
const DELAY_WORTH_WAITING: Duration = Duration::from_secs(1);

/// A process that lived so long is started again at once.
const LIFE_LONG: Duration = Duration::from_secs(10);

/// How long the last calls of a process may take, if the function has no time-out.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// How long a process may take to end after SIGTERM, as under Docker.
const TERM_PATIENCE: Duration = Duration::from_secs(10);

/// What the replicas of a function have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) launch: Arc<Launch>,
    pub(super) fixed: Option<SocketAddr>,
    pub(super) log: Arc<FunctionLog>,
    pub(super) states: States,
    drain_max: Duration,
    numbers: AtomicU64,
}

impl Shared {
    pub(super) fn new(launch: Launch, settings: &Settings, log: Arc<FunctionLog>) -> Self {
        let fixed = match settings.mode {
            Mode::Warm { upstream } => upstream,
            Mode::Classic | Mode::Serializing | Mode::Streaming => None,
        };
        Self {
            launch: Arc::new(launch),
            fixed,
            log,
            states: States::default(),
            drain_max: match settings.exec_timeout {
                Duration::ZERO => DRAIN_MAX,
                limit => limit,
            },
            numbers: AtomicU64::new(0),
        }
    }

    fn say(&self, text: impl Into<String>) {
        self.log.push(std::process::id(), text);
    }
}

/// A process that is kept running.
#[derive(Debug)]
pub(super) struct Replica {
    number: u64,
    stop: CancellationToken,
}

impl Replica {
    /// Starts one that waits for the processes `before` to end.
    pub(super) fn start(shared: &Arc<Shared>, running: &TaskTracker, before: Option<TaskTracker>) -> Self {
        let replica = Self {
            number: shared.numbers.fetch_add(1, Relaxed),
            stop: CancellationToken::new(),
        };
        let supervisor = Supervisor {
            shared: Arc::clone(shared),
            number: replica.number,
            stop: replica.stop.clone(),
            calls: TaskTracker::new(),
        };
        supervisor.set(State::Starting { note: String::new() });
        let host = Arc::clone(&shared.launch);
        tokio::spawn(running.track_future(async move {
            host.supervisors().finish(supervisor.keep_running(before)).await;
        }));
        replica
    }

    /// Ends the process after its last call.
    pub(super) fn stop(self, shared: &Shared) {
        shared.states.remove(self.number);
        self.stop.cancel();
    }
}

struct Supervisor {
    shared: Arc<Shared>,
    number: u64,
    stop: CancellationToken,
    calls: TaskTracker,
}

impl Supervisor {
    /// Ends when the process was stopped; dropping the future kills it.
    async fn keep_running(self, before: Option<TaskTracker>) {
        if let Some(before) = before {
            before.wait().await;
        }
        let mut delay = DELAY_MIN;
        while !self.stop.is_cancelled() {
            let started = clock::now();
            let reason = match self.run_once().await {
                Ok(None) => return,
                Ok(Some(reason)) => reason,
                Err(error) => format!("start {:?}: {error}", self.shared.launch.program()),
            };
            if clock::now().saturating_duration_since(started) >= LIFE_LONG {
                delay = DELAY_MIN;
            }
            self.shared.say(format!("{reason}; starting again in {delay:?}"));
            self.set(match delay < DELAY_WORTH_WAITING {
                true => State::Starting { note: reason },
                false => State::Down { reason },
            });
            // A stop during the pause has nothing to wait for.
            let _ = timeout(delay, self.stop.cancelled()).await;
            delay = (delay * 2).min(DELAY_MAX);
        }
    }

    fn set(&self, state: State) {
        if !self.stop.is_cancelled() {
            self.shared.states.set(self.number, state);
        }
    }

    /// Runs the process until it ends and tells how it ended, or until it was stopped.
    async fn run_once(&self) -> io::Result<Option<String>> {
        let address = match self.shared.fixed {
            Some(address) => unused(address).await?,
            None => free_address()?,
        };
        let (mut process, output) = self.start(address)?;
        let pid = process.id();
        self.shared
            .log
            .push(pid, format!("started, to listen on {address}"));
        let log = Arc::clone(&self.shared.log);
        tokio::spawn(async move { log.copy(pid, "", output).await });
        let isolation = self.shared.launch.isolation();
        let killed_before = isolation.memory_cgroup().map_or(0, Cgroup::out_of_memory);
        tokio::select! {
            exited = process.exited() => exited?,
            text = self.out_of_memory(pid) => {
                process.end(Duration::ZERO).await?;
                return Ok(Some(text));
            }
            never = self.announce(&process, address) => match never? {},
            () = self.stop.cancelled() => {
                self.drain(&process).await?;
                process.end(TERM_PATIENCE).await?;
                return Ok(None);
            }
        }
        let status = process.wait().await?;
        let killed = isolation.memory_cgroup().map_or(0, Cgroup::out_of_memory);
        Ok(Some(match isolation.memory_max() {
            Some(limit) if killed > killed_before => too_much_memory(limit),
            Some(_) | None => describe(status),
        }))
    }

    /// Looks how much memory the process takes, if the kernel does not.
    async fn out_of_memory(&self, process: u32) -> String {
        let isolation = self.shared.launch.isolation();
        match (isolation.memory_max(), isolation.memory_cgroup()) {
            (Some(limit), None) => {
                memory::exceeded(process, limit).await;
                too_much_memory(limit)
            }
            (_, _) => std::future::pending().await,
        }
    }

    /// Waits for the last calls, none of which is new.
    async fn drain(&self, process: &Process) -> io::Result<()> {
        self.calls.close();
        tokio::select! {
            () = self.calls.wait() => Ok(()),
            () = sleep(self.shared.drain_max) => Ok(()),
            exited = process.exited() => exited,
        }
    }

    fn start(&self, address: SocketAddr) -> io::Result<(Process, pipe::Receiver)> {
        let (output, writer) = io::pipe()?;
        let port = address.port().to_string();
        let mut command = self.shared.launch.command()?;
        command.env("PORT", &port).env("port", &port);
        command
            .stdin(Stdio::null())
            .stderr(writer.try_clone()?)
            .stdout(writer);
        let process = self.shared.launch.start(&mut command)?;
        Ok((process, pipe::Receiver::from_owned_fd(OwnedFd::from(output))?))
    }

    /// Makes the process ready once it, and no other, listens on the port.
    async fn announce(&self, process: &Process, address: SocketAddr) -> io::Result<std::convert::Infallible> {
        let begun = clock::now();
        let mut told = false;
        loop {
            if is_listening(address).await
                && let Some(address) = process.reachable_at(address)?
            {
                let calls = self.calls.clone();
                self.set(State::Ready { address, calls });
                return std::future::pending().await;
            }
            if !told && clock::now().saturating_duration_since(begun) >= START_PATIENCE {
                told = true;
                let note = note(process, address)?;
                self.shared.say(note.clone());
                self.set(State::Starting { note });
            }
            sleep(PROBE_INTERVAL).await;
        }
    }
}

fn too_much_memory(limit: u64) -> String {
    format!("killed: it took more memory than the {limit} bytes of its limits.memory")
}

fn note(process: &Process, address: SocketAddr) -> io::Result<String> {
    let found = process.ports()?;
    let found: Vec<String> = found.iter().map(SocketAddr::to_string).collect();
    Ok(match (found.is_empty(), address.port()) {
        (true, port) => format!("it does not listen on port {port} yet"),
        (false, port) => format!(
            "it listens on {} and not on port {port}, which the variable PORT tells it; set upstream_url",
            found.join(", ")
        ),
    })
}

/// Whether somebody listens at the port of an address, by either version of IP.
async fn is_listening(address: SocketAddr) -> bool {
    let others = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    for ip in [address.ip()].into_iter().chain(others) {
        if TcpStream::connect(SocketAddr::new(ip, address.port()))
            .await
            .is_ok()
        {
            return true;
        }
    }
    false
}

/// A process that somebody else's answers could be taken for must not start.
async fn unused(address: SocketAddr) -> io::Result<SocketAddr> {
    match is_listening(address).await {
        false => Ok(address),
        true => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("somebody else listens on {address}; stop that, or give the function another port"),
        )),
    }
}

/// The port could be taken before the function listens on it; then the function dies and gets another.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
