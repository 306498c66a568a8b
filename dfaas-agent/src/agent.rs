//! The loop of a node: waits for something, tells the core, and does what the core says.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use dfaas_control::{Input, NodeId, Output, Policy, StrategyKind, SwitchError, Token};
use libp2p::Multiaddr;
use tokio::{
    signal::unix::Signal,
    sync::mpsc::Receiver,
    time::{MissedTickBehavior, interval, sleep_until},
};
use tracing::{info, warn};

use crate::{
    admitted::{self, Admitted},
    adviser::Adviser,
    api::Question,
    clock,
    config::{Config, OPEN},
    data_plane::{Listener, NOT_IN_SIGHT},
    haproxy::State,
    memory,
    mind::Mind,
    netns::Watch,
    offer::{Functions, Offer},
    overlay::{OverlayEvent, OverlayHandle},
    plane::{DataPlane, PlaneKind},
    platform::PlatformEvent,
    prober::Prober,
    report::{Check, Health, OverlayReport, Report},
    steering,
    supervisor::Supervisor,
    usage::UsageMeter,
};

/// How often to look for the platform's listener: a platform that restarts is found by the next retry of a client.
const LISTENER_INTERVAL: Duration = Duration::from_millis(200);

/// How often to give memory back.
const MEMORY_INTERVAL: Duration = Duration::from_secs(30);

/// How long the data plane goes on behind the overlay: until peers have heard that they are to send nothing more, and most
/// of what they have sent is answered.
const FAREWELL: Duration = Duration::from_millis(300);

/// What is said of an end within an end.
const AT_ONCE: &str = "ended at once, as the second signal says; dfaas-agent clean takes away what is left";

/// What happens to the agent.
pub(crate) struct Sources {
    pub(crate) overlay: Receiver<OverlayEvent>,
    pub(crate) platform: Receiver<PlatformEvent>,
    pub(crate) questions: Receiver<Question>,
    pub(crate) answers: Receiver<Input>,
    pub(crate) interrupt: Signal,
    pub(crate) terminate: Signal,
    /// Says to leave what steers at work.
    pub(crate) keep: Signal,
    pub(crate) hangup: Signal,
    pub(crate) container: Watch,
}

/// The mind, its body, and what the body has noticed.
pub(crate) struct Agent {
    config: Config,
    node: NodeId,
    started: Instant,
    control: Mind,
    data_plane: DataPlane,
    overlay: OverlayHandle,
    adviser: Adviser,
    prober: Prober,
    usage: UsageMeter,
    offer: Offer,
    listener: Listener,
    listening: Vec<Multiaddr>,
    /// Why the platform does not answer.
    platform: Result<(), String>,
    /// What the data plane could not do, by deed.
    faults: BTreeMap<&'static str, String>,
    policy: Arc<Policy>,
    admitted: Admitted,
    /// Why the file of admitted peers cannot be used. What it said before holds, and the node is as ready as before.
    stale_admission: Option<String>,
    /// The data plane has not taken the policy yet.
    is_pending: bool,
    /// The core knows that kernel and HAProxy follow the policy.
    is_in_force: bool,
}

impl Agent {
    pub(crate) fn new(
        config: Config,
        node: NodeId,
        control: Mind,
        data_plane: DataPlane,
        overlay: OverlayHandle,
        adviser: Adviser,
    ) -> Self {
        let prober = Prober::new(node.clone(), config.service, adviser.answers());
        let admitted = admitted::follow(config.admitted_file.clone());
        Self {
            config,
            node,
            started: clock::now(),
            control,
            data_plane,
            overlay,
            adviser,
            prober,
            usage: UsageMeter::default(),
            offer: Offer::default(),
            listener: Listener::Absent,
            listening: Vec::new(),
            platform: Err("not asked yet".to_owned()),
            faults: BTreeMap::new(),
            policy: Arc::default(),
            admitted,
            stale_admission: None,
            is_pending: false,
            is_in_force: false,
        }
    }

    /// Runs until a signal says to stop.
    ///
    /// # Errors
    /// A task that tells the loop something has ended.
    pub(crate) async fn run(mut self, mut sources: Sources) -> Result<()> {
        self.follow_admitted(clock::now());
        let mut listener_ticks = interval(LISTENER_INTERVAL);
        listener_ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut memory_ticks = interval(MEMORY_INTERVAL);
        let mut sweep_ticks = interval(DataPlane::SWEEP_INTERVAL);
        sweep_ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.tell_time(clock::now());
        let mut supervisor = Supervisor::new();
        Supervisor::ready();
        loop {
            tokio::select! {
                () = until(self.control.poll_timeout()) => self.handle_timeout(clock::now()),
                event = sources.overlay.recv() => self.handle_overlay(event.context("the overlay has ended")?),
                event = sources.platform.recv() => self.handle_platform(event.context("nobody asks the platform any more")?),
                question = sources.questions.recv() => self.answer(question.context("the API has ended")?),
                answer = sources.answers.recv() => self.handle_answer(answer.context("nobody asks services any more")?),
                _ = listener_ticks.tick() => {
                    self.follow_listener(clock::now());
                    supervisor.says(self.health().in_a_sentence());
                }
                () = supervisor.due() => Supervisor::beat(),
                _ = sweep_ticks.tick() => self.sweep(),
                _ = memory_ticks.tick() => memory::give_back(),
                _ = sources.hangup.recv() => info!("Files are followed by themselves; options are read when the agent starts"),
                _ = sources.keep.recv() => return self.keep().await,
                _ = sources.interrupt.recv() => return self.stop_unless_told_again("SIGINT", sources).await,
                _ = sources.terminate.recv() => return self.stop_unless_told_again("SIGTERM", sources).await,
                () = sources.container.ended() => {
                    self.stop("end of the container").await?;
                    bail!("the process of --netns has ended: start the agent again when its container runs");
                }
            }
            self.drain();
        }
    }

    /// A second signal is for an agent that does not end.
    async fn stop_unless_told_again(self, reason: &str, mut sources: Sources) -> Result<()> {
        tokio::select! {
            stopped = self.stop(reason) => stopped,
            _ = sources.interrupt.recv() => bail!("{AT_ONCE}"),
            _ = sources.terminate.recv() => bail!("{AT_ONCE}"),
        }
    }

    async fn keep(self) -> Result<()> {
        info!("Leaving programs and HAProxy to the next agent");
        self.data_plane.keep().await
    }

    async fn stop(self, reason: &str) -> Result<()> {
        info!(reason, "Leaving the federation, then detaching the data plane");
        Supervisor::stopping();
        self.overlay.stop();
        tokio::time::sleep(FAREWELL).await;
        self.data_plane.stop().await;
        Ok(())
    }

    fn handle_timeout(&mut self, now: Instant) {
        let counters = self.data_plane.counters(now);
        if let Some(counters) = self.note("reading counters", counters) {
            if self.data_plane.is_stale() {
                self.write_policy();
            }
            self.control.handle_input(now, Input::Counters(counters));
        }
        if let Some(usage) = self.usage.read(now, self.config.period) {
            self.control.handle_input(now, Input::Usage(usage));
        }
        self.tell_time(now);
        let before = self.control.strategy();
        self.control.handle_timeout(now);
        let strategy = self.control.strategy();
        if strategy != before {
            info!(from = %before, to = %strategy, "The strategy has changed");
        }
    }

    fn tell_time(&mut self, now: Instant) {
        let since_1970 = Duration::from_millis(clock::unix_ms());
        self.control.handle_input(now, Input::Clock(since_1970));
    }

    fn handle_answer(&mut self, answer: Input) {
        self.control.handle_input(clock::now(), answer);
    }

    fn handle_overlay(&mut self, event: OverlayEvent) {
        let input = match event {
            OverlayEvent::Listening(address) => {
                self.listening.push(address);
                return;
            }
            OverlayEvent::Unlistening(address) => {
                self.listening.retain(|known| *known != address);
                return;
            }
            OverlayEvent::PeerUp { id, rtt } => Input::PeerUp { id, rtt },
            OverlayEvent::PeerDown { id } => Input::PeerDown { id },
            OverlayEvent::Message { from, body } => Input::Message { from, body },
            OverlayEvent::TokenTold {
                from,
                token,
                has_ours,
            } => Input::TokenTold {
                from,
                token,
                has_ours,
            },
            OverlayEvent::TokenTaken { by, token } => Input::TokenTaken { by, token },
        };
        self.control.handle_input(clock::now(), input);
    }

    fn handle_platform(&mut self, event: PlatformEvent) {
        match event {
            PlatformEvent::Listed(functions) => {
                self.platform = Ok(());
                let news = self.offer.list(functions);
                self.tell_functions(news);
            }
            PlatformEvent::Unreachable(error) => self.platform = Err(error.to_string()),
        }
    }

    fn follow_listener(&mut self, now: Instant) {
        let found = self.data_plane.follow_platform();
        if let Some(listener) = self.note("looking for the platform's listener", found) {
            let news = self.offer.follow(now, &listener);
            self.listener = listener;
            self.tell_functions(news);
        }
        self.follow_admitted(now);
        let guarded = self.data_plane.follow_guard();
        self.note("reading whom the guard blocks", guarded);
        self.data_plane.follow_log();
        let followed = self.data_plane.follow_proxy();
        self.note("looking after HAProxy", followed);
        if self.is_pending {
            self.write_policy();
        }
        self.tell_in_force();
    }

    /// Nobody else is let in, and nobody else's messages count.
    fn follow_admitted(&mut self, now: Instant) {
        match self.admitted.follow() {
            Ok(news) => {
                if self.stale_admission.take().is_some() {
                    info!("The file of admitted peers can be read again");
                }
                if let Some(peers) = news {
                    info!(peers = peers.len(), "Others are admitted than before");
                    self.overlay.admit(peers.clone());
                    self.control.handle_input(now, Input::Admitted(peers));
                }
            }
            Err(error) => {
                let text = format!("{error:#}");
                if self.stale_admission.as_ref() != Some(&text) {
                    warn!(
                        error = text,
                        "The file of admitted peers cannot be used; who was admitted before still is"
                    );
                }
                self.stale_admission = Some(text);
            }
        }
    }

    fn tell_functions(&mut self, news: Option<Functions>) {
        let Some(functions) = news else {
            return;
        };
        info!(functions = functions.len(), "The functions on offer have changed");
        self.control
            .handle_input(clock::now(), Input::Functions(functions));
    }

    fn sweep(&mut self) {
        let swept = self.data_plane.sweep();
        self.note("sweeping flows", swept);
    }

    fn drain(&mut self) {
        while let Some(output) = self.control.poll_output() {
            match output {
                Output::Publish(body) => self.overlay.publish(body),
                Output::Ask { strategy, body } => self.adviser.ask(strategy, body),
                Output::Apply(policy) => self.apply(policy),
                Output::Probe { peer, service, token } => self.prober.probe(peer, service, token),
                Output::DrawToken { peer } => self.draw_token(peer),
                Output::SendToken {
                    to,
                    token,
                    has_theirs,
                } => self.overlay.tell_token(to, token, has_theirs),
            }
        }
    }

    fn draw_token(&mut self, peer: NodeId) {
        let token = self.note("drawing a token", random().map(Token::new));
        if let Some(token) = token {
            self.control
                .handle_input(clock::now(), Input::TokenDrawn { peer, token });
        }
    }

    fn apply(&mut self, policy: Arc<Policy>) {
        for change in steering::changes(&self.policy, &policy) {
            info!("Decided {change}");
        }
        self.policy = policy;
        self.is_in_force = false;
        self.write_policy();
        self.tell_in_force();
    }

    /// Has the policy carried out, now or at the next try.
    fn write_policy(&mut self) {
        let applied = self.data_plane.apply(&self.policy);
        self.is_pending = self.note("applying the policy", applied).is_none();
    }

    /// Tells the core once all follow its policy.
    fn tell_in_force(&mut self) {
        if !self.is_in_force && !self.is_pending && self.data_plane.follows() {
            self.is_in_force = true;
            self.control.handle_input(clock::now(), Input::InForce);
        }
    }

    /// Logs what goes wrong once, and once when it goes well again.
    fn note<T>(&mut self, deed: &'static str, result: Result<T>) -> Option<T> {
        match (result, self.faults.entry(deed)) {
            (Ok(value), Entry::Vacant(_)) => Some(value),
            (Ok(value), Entry::Occupied(fault)) => {
                fault.remove();
                info!(deed, "The data plane works again");
                Some(value)
            }
            (Err(error), entry) => {
                let text = format!("{error:#}");
                let is_known = matches!(&entry, Entry::Occupied(fault) if *fault.get() == text);
                if !is_known {
                    warn!(deed, error = text, "The data plane has a fault");
                }
                entry.insert_entry(text);
                None
            }
        }
    }

    fn switch(&mut self, strategy: StrategyKind) -> Result<(), SwitchError> {
        let before = self.control.strategy();
        let switched = self.control.switch(clock::now(), strategy);
        match &switched {
            Ok(()) if before == strategy => {}
            Ok(()) => info!(from = %before, to = %strategy, "The strategy is going to change"),
            Err(error) => warn!(%error, "The strategy was not changed"),
        }
        switched
    }

    fn answer(&mut self, question: Question) {
        // Whoever asked may have gone.
        match question {
            Question::Health(answer) => drop(answer.send(self.health())),
            Question::Report(answer) => drop(answer.send(self.report())),
            Question::Explain(function, answer) => drop(answer.send(self.control.explain(&function))),
            Question::Strategy(answer) => drop(answer.send(self.control.strategy())),
            Question::Switch(strategy, answer) => drop(answer.send(self.switch(strategy))),
        }
    }

    fn health(&self) -> Health {
        let faults: Vec<String> = self
            .faults
            .iter()
            .map(|(deed, fault)| format!("{deed}: {fault}"))
            .collect();
        let is_starting =
            self.data_plane.kind() == PlaneKind::Haproxy && self.data_plane.proxy_state() == State::Starting;
        let data_plane = if is_starting {
            Err("HAProxy is being started".to_owned())
        } else if faults.is_empty() {
            Ok(match self.data_plane.kind() {
                PlaneKind::Kernel => format!("attached to {}", self.config.interface),
                PlaneKind::Haproxy => format!("HAProxy at {}", self.config.service),
            })
        } else {
            Err(faults.join("; "))
        };
        let port = self.config.functions_port;
        let listener = match self.listener {
            Listener::Present => Ok(format!("port {port}")),
            Listener::Absent => Err(format!("nobody listens on port {port} (--functions-port)")),
            Listener::Hidden => Err(format!("whoever listens on port {port} {NOT_IN_SIGHT}")),
        };
        let platform = self.platform.clone().map(|()| "answers".to_owned());
        let addresses: Vec<String> = self.listening.iter().map(ToString::to_string).collect();
        let overlay = if addresses.is_empty() {
            Err("listens nowhere".to_owned())
        } else {
            Ok(addresses.join(", "))
        };
        let checks = [
            ("data plane", data_plane),
            ("listener", listener),
            ("platform", platform),
            ("overlay", overlay),
        ];
        Health {
            checks: checks.map(|(subject, result)| Check { subject, result }).into(),
            proxy: self.data_plane.proxy_state(),
            peers: self.overlay.connected(),
        }
    }

    /// What a person should look at although the node is ready.
    fn warnings(&self) -> Vec<String> {
        let open = self.config.is_open().then(|| OPEN.to_owned());
        let stale = self
            .stale_admission
            .iter()
            .map(|error| format!("who is admitted may be out of date (--admitted-peers-file): {error}"));
        open.into_iter().chain(stale).collect()
    }

    fn report(&self) -> Result<Box<Report>, String> {
        let now = clock::now();
        let health = self.health();
        let totals = self.data_plane.totals().map_err(|error| format!("{error:#}"))?;
        Ok(Box::new(Report {
            version: env!("CARGO_PKG_VERSION"),
            node: self.node.clone(),
            address: *self.config.service.ip(),
            port: self.config.service.port(),
            interface: self.config.interface.clone(),
            data_plane: self.data_plane.kind(),
            strategy: self.control.strategy(),
            uptime_s: now.duration_since(self.started).as_secs_f64(),
            ready: health.is_ready(),
            problems: health.problems(),
            warnings: self.warnings(),
            listener: self.listener.clone(),
            proxy: self.data_plane.proxy_state(),
            overlay: OverlayReport {
                listening: self.listening.iter().map(ToString::to_string).collect(),
                connected: self.overlay.connected(),
                counts: self.overlay.counts(),
            },
            control: self.control.status(now),
            totals,
        }))
    }
}

/// What nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let length = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .context("asking the system for randomness")?;
    ensure!(
        length == N,
        "the system gave {length} bytes of randomness, not {N}"
    );
    Ok(bytes)
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
}
