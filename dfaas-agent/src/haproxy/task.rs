//! The task that keeps a HAProxy running, or follows one that the operator runs.

use std::{net::TcpListener, os::fd::AsRawFd, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::{
    process::Child,
    sync::watch,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{debug, info, warn};

use super::{
    Duty, ProxyConfig, Service, Snapshot, State,
    configuration::{Entrance, Settings},
    control::{Control, Reading},
    folder::Folder,
    helping_entrances,
    ledger::Ledger,
    program::{self, Program},
    rows::{Rows, UNTIL},
};
use crate::clock;

/// How often counters are read. What a HAProxy that is killed has counted since is lost.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How often a starting HAProxy is asked whether it is there.
const START_POLL: Duration = Duration::from_millis(20);
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// HAProxy ends at once on SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// How often in a row a HAProxy that runs may fail to do as it is told before it is started anew.
const FAILURES_MAX: u32 = 5;
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// What only HAProxy can take is refused meanwhile, and told to come again after a second.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A HAProxy that has run for so long has not failed for its configuration.
const LIVED: Duration = Duration::from_secs(60);

/// Rows to be, as soon as there is a policy.
pub(super) type RowsWanted = Option<Arc<Rows>>;

/// Keeps HAProxy at what the agent wants.
pub(super) struct Task {
    config: ProxyConfig,
    wanted: watch::Receiver<RowsWanted>,
    snapshot: watch::Sender<Snapshot>,
    ledger: Ledger,
    /// The process that the ledger reads, and the rows that it has.
    pid: Option<u32>,
    applied: RowsWanted,
    /// What it was told last, in seconds since 1970.
    attended_until: u64,
}

/// The agent wants no HAProxy any more.
struct Stopped;

impl Task {
    pub(super) fn new(
        config: ProxyConfig,
        wanted: watch::Receiver<RowsWanted>,
        snapshot: watch::Sender<Snapshot>,
    ) -> Self {
        Self {
            config,
            wanted,
            snapshot,
            ledger: Ledger::default(),
            pid: None,
            applied: None,
            attended_until: 0,
        }
    }

    /// Runs until the agent stops.
    pub(super) async fn run(mut self) {
        let mut pause = PAUSE_MIN;
        loop {
            let begun = clock::now();
            let Err(error) = self.serve().await else {
                return;
            };
            self.fail(&error);
            if clock::now().duration_since(begun) >= LIVED {
                pause = PAUSE_MIN;
            }
            tokio::select! {
                () = sleep(pause) => {}
                Stopped = stopped(&mut self.wanted) => return,
            }
            pause = (pause * 2).min(self.pause_max());
        }
    }

    /// One that the operator restarts is there again within moments.
    fn pause_max(&self) -> Duration {
        match (&self.config.service, &self.config.duty) {
            (Service::Own(_), Duty::Help) => PAUSE_MAX,
            // Nobody else serves meanwhile.
            (Service::Own(_), Duty::Serve(_) | Duty::ServeAdopted) | (Service::Adopted(_), _) => {
                5 * PAUSE_MIN
            }
        }
    }

    fn fail(&mut self, error: &anyhow::Error) {
        let reason = format!("{error:#}");
        let news = State::Absent { reason };
        if self.snapshot.borrow().state != news {
            warn!(
                error = format!("{error:#}"),
                "HAProxy cannot be used; trying again"
            );
        }
        self.applied = None;
        self.tell(news);
    }

    /// Serves until the agent stops or HAProxy fails.
    async fn serve(&mut self) -> Result<Stopped> {
        match self.config.service.clone() {
            Service::Own(program) => self.serve_with_child(&program).await,
            Service::Adopted(socket) => self.attend(&Control::new(&socket)).await,
        }
    }

    async fn serve_with_child(&mut self, program: &Program) -> Result<Stopped> {
        let folder = match &self.config.kept_as {
            Some(name) => Folder::kept(name),
            None => Folder::new(),
        };
        let mut folder = folder.context("a folder for HAProxy")?;
        let rows = self.wanted.borrow().clone();
        let listeners = match &self.config.duty {
            Duty::Serve(listeners) => Arc::clone(listeners),
            Duty::Help | Duty::ServeAdopted => Arc::default(),
        };
        let entrances = match &*listeners {
            [] => helping_entrances(self.config.bind),
            inherited => {
                let numbers = inherited.iter().map(TcpListener::as_raw_fd);
                numbers.map(Entrance::Inherited).collect()
            }
        };
        let settings = Settings {
            entrances,
            functions_port: self.config.functions_port,
            control: folder.control(),
            map: folder.map(),
        };
        if let Some(process) = self.survivor(&folder, &settings).await {
            let result = self.attend(&Control::new(&folder.control())).await;
            end_process(process).await;
            folder.leave();
            return result;
        }
        folder.fill(&settings, &self.attended(rows.as_deref().unwrap_or(&Rows::new())))?;
        let mut child = program
            .start(&folder, &listeners)
            .with_context(|| format!("starting {}", program.path.display()))?;
        let stderr = child.stderr.take().context("HAProxy has no stderr")?;
        let talk = tokio::spawn(program::listen(stderr));
        self.pid = child.id();
        self.ledger.turn_page();
        self.applied = rows;
        let control = Control::new(&folder.control());
        let mut wanted = self.wanted.clone();
        let attended = async {
            wait_until_up(&control, &folder.control()).await?;
            self.attend(&control).await
        };
        let result = tokio::select! {
            result = attended => result,
            status = child.wait() => {
                let status = status.context("waiting for HAProxy")?;
                let said = talk.await.ok().flatten();
                return Err(anyhow!("HAProxy has ended ({status}): {}", said.unwrap_or_default()));
            }
            Stopped = stopped(&mut wanted) => Ok(Stopped),
        };
        end(&mut child).await;
        folder.leave();
        result
    }

    /// The process that an agent before this one has left, if it does what this one would have it do. Another one is ended.
    async fn survivor(&mut self, folder: &Folder, settings: &Settings) -> Option<Pid> {
        if !folder.is_kept() {
            return None;
        }
        let control = Control::new(&folder.control());
        let process = control.process().await?;
        if folder.holds(settings) && control.read().await.is_ok() {
            info!("Go on with the HAProxy that an agent before has left");
            // It has counted for somebody else.
            (self.pid, self.applied) = (None, None);
            return Some(process);
        }
        end_process(process).await;
        None
    }

    /// Rows with a sign that there is an agent.
    fn attended(&self, rows: &Rows) -> Rows {
        let mut rows = rows.clone();
        rows.insert(UNTIL.to_owned(), self.until().to_string());
        rows
    }

    fn until(&self) -> u64 {
        clock::unix_ms() / 1_000 + self.config.unattended.as_secs()
    }

    /// Brings policy to HAProxy and counters back.
    async fn attend(&mut self, control: &Control) -> Result<Stopped> {
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failures = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                changed = self.wanted.changed() => if changed.is_err() {
                    return Ok(Stopped);
                },
            }
            match self.exchange(control).await {
                Ok(()) => failures = 0,
                // To end it would break the connections that it has.
                Err(error) if failures < self.failures_max() => {
                    failures += 1;
                    debug!(
                        error = format!("{error:#}"),
                        failures, "HAProxy does not answer as it should"
                    );
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn failures_max(&self) -> u32 {
        match self.config.service {
            Service::Own(_) => FAILURES_MAX,
            Service::Adopted(_) => 0,
        }
    }

    async fn exchange(&mut self, control: &Control) -> Result<()> {
        let reading = control.read().await?;
        self.meet(&reading);
        let until = self.until();
        // Rows that it does not have yet come with the policy.
        if self.applied.is_some() && self.attended_until != until {
            control
                .attend(until)
                .await
                .context("telling HAProxy that the agent lives")?;
            self.attended_until = until;
        }
        self.ledger.note(reading.counts);
        self.bring_policy(control).await?;
        let state = match self.applied {
            Some(_) => State::Ready {
                version: reading.version.to_string(),
                pid: reading.pid,
            },
            None => State::Waiting,
        };
        self.tell(state);
        Ok(())
    }

    /// Notices another process than the one before.
    fn meet(&mut self, reading: &Reading) {
        match self.pid.replace(reading.pid) {
            Some(pid) if pid == reading.pid => return,
            Some(_) => self.ledger.turn_page(),
            None => self.ledger.begin_at(&reading.counts),
        }
        self.applied = None;
    }

    async fn bring_policy(&mut self, control: &Control) -> Result<()> {
        let wanted = self.wanted.borrow_and_update().clone();
        if let Some(rows) = &wanted
            && self.applied != wanted
        {
            control
                .replace(&self.attended(rows))
                .await
                .context("giving HAProxy the policy")?;
            self.applied = wanted;
        }
        Ok(())
    }

    fn tell(&mut self, state: State) {
        let last = self.snapshot.borrow().state.clone();
        if let State::Ready { version, pid } = &state
            && last != state
        {
            let bind = self.config.bind;
            match self.config.duty {
                Duty::Help => info!(version, pid, %bind, "HAProxy takes what the kernel cannot frame"),
                Duty::Serve(_) | Duty::ServeAdopted => {
                    info!(version, pid, %bind, "HAProxy takes all requests")
                }
            }
        }
        let counts = Arc::new(self.ledger.totals().clone());
        let applied = self.applied.clone();
        self.snapshot.send_replace(Snapshot {
            state,
            applied,
            counts,
        });
    }
}

/// Waits until the agent wants no more.
async fn stopped(wanted: &mut watch::Receiver<RowsWanted>) -> Stopped {
    while wanted.changed().await.is_ok() {}
    Stopped
}

async fn wait_until_up(control: &Control, socket: &Path) -> Result<()> {
    let begun = clock::now();
    while let Err(error) = control.read().await {
        if clock::now().duration_since(begun) > START_TIMEOUT {
            return Err(error).with_context(|| format!("HAProxy does not listen on {}", socket.display()));
        }
        sleep(START_POLL).await;
    }
    Ok(())
}

/// Ends a process that is no child of this one.
async fn end_process(process: Pid) {
    let begun = clock::now();
    // It may have ended meanwhile.
    let _ = kill_process(process, Signal::TERM);
    while test_kill_process(process).is_ok() {
        if clock::now().duration_since(begun) > STOP_TIMEOUT {
            let _ = kill_process(process, Signal::KILL);
            return;
        }
        sleep(START_POLL).await;
    }
}

async fn end(child: &mut Child) {
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(pid) = pid {
        // It may have ended meanwhile.
        let _ = kill_process(pid, Signal::TERM);
    }
    if timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}
