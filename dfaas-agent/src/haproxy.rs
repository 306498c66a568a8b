//! HAProxy, for connections that the kernel cannot frame exactly: the same policy, carried out in user space.
//!
//! The agent starts one, or adopts one that the operator runs. Its configuration never changes; policy goes into a
//! map that is replaced as a whole over the control socket, so nothing is ever reloaded. Its buckets are not those of
//! the kernel, which therefore gets what HAProxy leaves of each limit.

mod commands;
mod configuration;
mod control;
mod folder;
mod ledger;
mod program;
mod rows;
#[expect(unsafe_code, reason = "no library ties a child to its parent")]
mod sys;
mod task;
mod usage;
mod version;

use std::{
    fmt::{self, Display, Formatter},
    net::{Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use dfaas_control::{Counters, NodeId, Policy};
use serde::Serialize;
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tracing::warn;

pub(crate) use self::{
    configuration::{Entrance, MAP_NAME, Settings, text as configuration},
    program::Program,
};
use self::{
    ledger::Counts,
    task::{RowsWanted, Task},
    usage::Usage,
};
use crate::data_plane::Totals;

/// HAProxy is given a second to end, and then a little to be killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// What the agent has to know to have a HAProxy.
#[derive(Clone, Debug)]
pub(crate) struct ProxyConfig {
    /// Where it takes connections.
    pub(crate) bind: SocketAddrV4,
    pub(crate) duty: Duty,
    /// The local port on which the platform serves functions and nothing else.
    pub(crate) functions_port: u16,
    pub(crate) service: Service,
    /// The name by which the next agent finds it, if it is to outlive this one.
    pub(crate) kept_as: Option<String>,
    /// How long after the last sign of an agent it goes on to deal with peers.
    pub(crate) unattended: Duration,
}

/// What it is there for.
#[derive(Clone, Debug)]
pub(crate) enum Duty {
    /// It takes what the kernel gives it.
    Help,
    /// It takes all. What the agent starts gets these listeners, which live longer than any HAProxy: while none runs,
    /// connections wait for the next one.
    Serve(Arc<[TcpListener]>),
    /// It takes all, by listeners of its own.
    ServeAdopted,
}

/// Who runs it.
#[derive(Clone, Debug)]
pub(crate) enum Service {
    /// The agent.
    Own(Program),
    /// The operator; this is its control socket.
    Adopted(PathBuf),
}

/// Where HAProxy takes what the kernel gives it: there, and at the loopback's same port by IPv6 if this host has that.
pub(crate) fn helping_entrances(bind: SocketAddrV4) -> Vec<Entrance> {
    let ipv6 = SocketAddr::from((Ipv6Addr::LOCALHOST, bind.port()));
    let ipv6 = loopback_has_ipv6().then_some(ipv6);
    let addresses = [Some(bind.into()), ipv6].into_iter().flatten();
    addresses.map(Entrance::Address).collect()
}

/// Whether this host's loopback can be reached by IPv6.
fn loopback_has_ipv6() -> bool {
    const LOOPBACK: &str = "00000000000000000000000000000001 ";
    std::fs::read_to_string("/proc/net/if_inet6")
        .is_ok_and(|table| table.lines().any(|line| line.starts_with(LOOPBACK)))
}

/// Ends each HAProxy that an agent has left, but for those of these names, and removes its folder; tells what that was.
pub(crate) fn clean(busy: &[String]) -> Vec<String> {
    folder::clean(busy)
}

/// How HAProxy is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub(crate) enum State {
    /// Connections can be given to it.
    Ready { version: String, pid: u32 },
    /// It has not been up yet.
    Starting,
    /// It runs, and there is no policy yet.
    Waiting,
    /// It does not run; why.
    Absent { reason: String },
}

impl Display for State {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { version, pid } => write!(f, "version {version}, process {pid}"),
            Self::Starting => f.write_str("is being started"),
            Self::Waiting => f.write_str("waits for a policy"),
            Self::Absent { reason } => write!(f, "none: {reason}"),
        }
    }
}

/// What the task tells the agent.
#[derive(Clone, Debug)]
struct Snapshot {
    state: State,
    /// The rows that it has, if it runs.
    applied: RowsWanted,
    counts: Arc<Counts>,
}

/// The agent's HAProxy, or the lack of one.
pub(crate) struct Proxy {
    node: NodeId,
    port: u16,
    wanted: watch::Sender<RowsWanted>,
    snapshot: watch::Receiver<Snapshot>,
    task: Option<JoinHandle<()>>,
    /// What the core has been told.
    told: Arc<Counts>,
    usage: Usage,
}

impl Proxy {
    /// Starts or follows a HAProxy in the background.
    pub(crate) fn start(config: ProxyConfig, node: NodeId) -> Self {
        let port = config.bind.port();
        let (wanted, rows) = watch::channel(None);
        let (sender, snapshot) = watch::channel(Snapshot::new(State::Starting));
        let task = tokio::spawn(Task::new(config, rows, sender).run());
        Self {
            node,
            port,
            wanted,
            snapshot,
            task: Some(task),
            told: Arc::default(),
            usage: Usage::default(),
        }
    }

    /// None at all.
    pub(crate) fn none(node: NodeId, reason: &str) -> Self {
        Self {
            node,
            port: 0,
            wanted: watch::channel(None).0,
            snapshot: watch::channel(Snapshot::new(State::Absent {
                reason: reason.to_owned(),
            }))
            .1,
            task: None,
            told: Arc::default(),
            usage: Usage::default(),
        }
    }

    /// Has a policy carried out, sooner or later. The kernel is not given a HAProxy before it has one.
    pub(crate) fn apply(&self, policy: &Policy) {
        let rows = rows::of(&self.node, policy);
        self.wanted.send_if_modified(|wanted| {
            let changes = wanted.as_deref() != Some(&rows);
            if changes {
                *wanted = Some(Arc::new(rows));
            }
            changes
        });
    }

    /// Whether it carries out the last policy. One that does not run does not carry out any other.
    pub(crate) fn follows(&self) -> bool {
        let snapshot = self.snapshot.borrow();
        matches!(snapshot.state, State::Absent { .. } | State::Starting)
            || *self.wanted.borrow() == snapshot.applied
    }

    pub(crate) fn state(&self) -> State {
        self.snapshot.borrow().state.clone()
    }

    /// The port on which it takes connections, while it can.
    pub(crate) fn port(&self) -> Option<u16> {
        matches!(self.snapshot.borrow().state, State::Ready { .. }).then_some(self.port)
    }

    /// Whether it takes connections, or soon will: one that ends is started again.
    pub(crate) fn is_kept(&self) -> bool {
        self.task.is_some()
    }

    /// Adds what was counted since the last call, and tells whether another part of the policy is left for the kernel.
    /// What could not be read yet comes with a later call.
    pub(crate) fn add_counters(&mut self, counters: &mut Counters) -> bool {
        let now = Arc::clone(&self.snapshot.borrow().counts);
        let mut own = Counters::default();
        ledger::add_since(&self.told, &now, &mut own);
        ledger::add_since(&self.told, &now, counters);
        self.told = now;
        self.usage.note(&own, counters.elapsed)
    }

    /// What of a policy is left for the kernel.
    pub(crate) fn left_of(&self, policy: &Policy) -> Policy {
        self.usage.left_of(policy)
    }

    /// Adds everything counted since the agent has started.
    pub(crate) fn add_totals(&self, totals: &mut Totals) {
        ledger::add_all(&self.snapshot.borrow().counts, totals);
    }

    /// Leaves it at work for the next agent.
    pub(crate) async fn keep(self) {
        if let Some(task) = self.task {
            // It would take the end of what it is told for the end of the node.
            task.abort();
            let _aborted = task.await;
        }
    }

    /// Ends it, if it is the agent's.
    pub(crate) async fn stop(self) {
        drop(self.wanted);
        if let Some(task) = self.task
            && timeout(STOP_TIMEOUT, task).await.is_err()
        {
            warn!("HAProxy does not end");
        }
    }
}

impl Snapshot {
    fn new(state: State) -> Self {
        Self {
            state,
            applied: None,
            counts: Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests;
