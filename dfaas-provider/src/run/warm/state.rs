//! How the processes of a warm function are, and which of them takes the next call.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

#[derive(Clone, Debug)]
pub(super) enum State {
    Starting {
        /// What there is to say of it, if it takes long.
        note: String,
    },
    Ready {
        address: SocketAddr,
        /// The calls that it has.
        calls: TaskTracker,
    },
    /// It died several times and is left alone for a while.
    Down { reason: String },
}

#[derive(Debug, Default)]
struct Table {
    stopped: bool,
    replicas: BTreeMap<u64, State>,
}

/// What a call is told when it asks for a process.
pub(super) enum Turn {
    Ready(SocketAddr, TaskTrackerToken),
    Down(String),
    Stopped,
}

#[derive(Debug, Default)]
pub(super) struct States {
    table: watch::Sender<Table>,
    next: AtomicUsize,
}

impl States {
    pub(super) fn set(&self, replica: u64, state: State) {
        self.table.send_modify(|table| {
            table.replicas.insert(replica, state);
        });
    }

    /// A call that took its turn before counts as one of the replica's, and none takes it afterwards.
    pub(super) fn remove(&self, replica: u64) {
        self.table.send_modify(|table| {
            table.replicas.remove(&replica);
        });
    }

    pub(super) fn set_stopped(&self, stopped: bool) {
        self.table.send_modify(|table| table.stopped = stopped);
    }

    pub(super) fn ready(&self) -> usize {
        let table = self.table.borrow();
        let ready = |state: &&State| matches!(state, State::Ready { .. });
        table.replicas.values().filter(ready).count()
    }

    /// What there is to say of processes that are not ready.
    pub(super) fn note(&self) -> String {
        let table = self.table.borrow();
        let mut notes = table.replicas.values().filter_map(|state| match state {
            State::Starting { note } if !note.is_empty() => Some(format!("; {note}")),
            State::Starting { .. } | State::Ready { .. } | State::Down { .. } => None,
        });
        notes.next().unwrap_or_default()
    }

    /// Waits until a process is ready, all of them are down, or the function is stopped.
    pub(super) async fn turn(&self) -> Turn {
        let mut table = self.table.subscribe();
        loop {
            if let Some(turn) = self.try_turn(&table.borrow_and_update()) {
                return turn;
            }
            if table.changed().await.is_err() {
                return Turn::Stopped;
            }
        }
    }

    fn try_turn(&self, table: &Table) -> Option<Turn> {
        if table.stopped {
            return Some(Turn::Stopped);
        }
        let ready: Vec<(&SocketAddr, &TaskTracker)> = table
            .replicas
            .values()
            .filter_map(|state| match state {
                State::Ready { address, calls } => Some((address, calls)),
                State::Starting { .. } | State::Down { .. } => None,
            })
            .collect();
        if !ready.is_empty() {
            let (address, calls) = ready[self.next.fetch_add(1, Relaxed) % ready.len()];
            return Some(Turn::Ready(*address, calls.token()));
        }
        let mut reasons = table.replicas.values().map(|state| match state {
            State::Down { reason } => Some(reason),
            State::Starting { .. } | State::Ready { .. } => None,
        });
        let first = reasons.next().flatten()?;
        reasons
            .all(|reason| reason.is_some())
            .then(|| Turn::Down(first.clone()))
    }
}
