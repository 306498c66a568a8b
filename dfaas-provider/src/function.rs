//! A deployed function: what was asked for, what runs, and what is counted.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Instant;

use hyper::{Request, Response};

use crate::body::Body;
use crate::classic::Classic;
use crate::clock;
use crate::echo;
use crate::function_log::FunctionLog;
use crate::launch::{Homes, Launch};
use crate::name::FunctionName;
use crate::program::{Program, ProgramError};
use crate::settings::{Mode, SettingError, Settings};
use crate::stats::Stats;
use crate::store::Record;
use crate::warm::Warm;
use crate::wire::{Deployment, Status};

/// What is recorded for a call whose caller left before the answer, as nginx does.
const CALLER_LEFT: u16 = 499;

const SCALE_ZERO_LABEL: &str = "com.openfaas.scale.zero";
const SCALE_MIN_LABEL: &str = "com.openfaas.scale.min";

#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Setting(#[from] SettingError),
}

/// A deployment that was found to make sense.
#[derive(Debug)]
pub(crate) struct Plan {
    program: Program,
    settings: Settings,
}

impl Plan {
    /// `this` is the path of this binary, which is a function too.
    pub(crate) fn new(deployment: &Deployment, this: &Path) -> Result<Self, PlanError> {
        Ok(Self {
            program: Program::of(deployment, this)?,
            settings: Settings::read(&deployment.env_vars)?,
        })
    }

    fn runner(
        &self,
        deployment: &Deployment,
        settings: &Arc<Settings>,
        homes: Homes,
        log: &Arc<FunctionLog>,
    ) -> Runner {
        let words = match &self.program {
            Program::Echo => return Runner::Echo,
            Program::Command(words) => words.clone(),
        };
        let launch = Launch::new(words, &deployment.env_vars, homes);
        match self.settings.mode {
            Mode::Classic | Mode::Serializing | Mode::Streaming => Runner::Classic(Classic {
                launch: Arc::new(launch),
                settings: Arc::clone(settings),
                log: Arc::clone(log),
            }),
            Mode::Warm { upstream } => Runner::Warm(Warm::new(launch, upstream, Arc::clone(log))),
        }
    }
}

#[derive(Debug)]
enum Runner {
    Echo,
    Classic(Classic),
    Warm(Warm),
}

/// What outlives an update of a function.
#[derive(Clone, Debug)]
pub(crate) struct History {
    stats: Arc<Stats>,
    log: Arc<FunctionLog>,
}

impl History {
    pub(crate) fn new() -> Self {
        Self {
            stats: Arc::default(),
            log: Arc::new(FunctionLog::new()),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Function {
    name: FunctionName,
    record: Record,
    settings: Arc<Settings>,
    runner: Runner,
    history: History,
    replicas: AtomicU32,
    in_flight: AtomicU32,
}

impl Function {
    pub(crate) fn new(
        name: FunctionName,
        record: Record,
        plan: Plan,
        homes: Homes,
        history: History,
    ) -> Self {
        let settings = Arc::new(plan.settings.clone());
        let runner = plan.runner(&record.deployment, &settings, homes, &history.log);
        let replicas = AtomicU32::new(0);
        let function = Self {
            name,
            settings,
            runner,
            history,
            replicas,
            in_flight: AtomicU32::new(0),
            record,
        };
        function.scale(function.record.replicas);
        function
    }

    pub(crate) fn name(&self) -> &FunctionName {
        &self.name
    }

    pub(crate) fn record(&self) -> Record {
        Record {
            replicas: self.replicas(),
            ..self.record.clone()
        }
    }

    pub(crate) fn deployment(&self) -> &Deployment {
        &self.record.deployment
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.history.stats
    }

    pub(crate) fn log(&self) -> &FunctionLog {
        &self.history.log
    }

    pub(crate) fn is_echo(&self) -> bool {
        matches!(self.runner, Runner::Echo)
    }

    pub(crate) fn request_bytes_max(&self) -> Option<u64> {
        self.settings.request_bytes_max
    }

    pub(crate) fn replicas(&self) -> u32 {
        self.replicas.load(Relaxed)
    }

    fn available_replicas(&self) -> u32 {
        match &self.runner {
            Runner::Echo | Runner::Classic(_) => self.replicas(),
            Runner::Warm(warm) if warm.is_ready() => self.replicas(),
            Runner::Warm(_) => 0,
        }
    }

    /// Replicas are a number: a process for each call needs none, and a warm function is one process. They
    /// multiply `max_inflight`, and zero of them stops the function.
    pub(crate) fn scale(&self, replicas: u32) {
        self.replicas.store(replicas, Relaxed);
        match (&self.runner, replicas) {
            (Runner::Echo | Runner::Classic(_), _) => {}
            (Runner::Warm(warm), 0) => warm.stop(),
            (Runner::Warm(warm), _) => warm.start(),
        }
    }

    /// How many replicas a call starts, if the function asks to be started by calls.
    pub(crate) fn replicas_on_call(&self) -> Option<u32> {
        let labels = &self.record.deployment.labels;
        let wanted = labels.get(SCALE_ZERO_LABEL).is_some_and(|value| value == "true");
        let least = labels
            .get(SCALE_MIN_LABEL)
            .and_then(|value| value.parse().ok())
            .unwrap_or(1);
        wanted.then_some(least.max(1))
    }

    /// Frees the port for the function's next version.
    pub(crate) fn retire(&self) {
        if let Runner::Warm(warm) = &self.runner
            && warm.holds_port()
        {
            warm.stop();
        }
    }

    pub(crate) fn status(&self) -> Status<'_> {
        let deployment = &self.record.deployment;
        Status {
            name: &self.name.name,
            image: &deployment.image,
            namespace: &self.name.namespace,
            env_process: &deployment.env_process,
            env_vars: &deployment.env_vars,
            constraints: &deployment.constraints,
            secrets: &deployment.secrets,
            labels: &deployment.labels,
            annotations: &deployment.annotations,
            limits: &deployment.limits,
            requests: &deployment.requests,
            read_only_root_filesystem: deployment.read_only_root_filesystem,
            invocation_count: self.stats().finished(),
            replicas: self.replicas(),
            available_replicas: self.available_replicas(),
            created_at: self.record.created_at,
        }
    }

    pub(crate) async fn call(&self, request: Request<Body>) -> Response<Body> {
        match &self.runner {
            Runner::Echo => echo::call(request),
            Runner::Classic(classic) => classic.call(request).await,
            Runner::Warm(warm) => warm.call(self.settings.exec_timeout, request).await,
        }
    }

    /// Begins a call that came in at `arrived`.
    pub(crate) fn begin(self: &Arc<Self>, arrived: Instant) -> Invocation {
        self.stats().start();
        Invocation {
            function: Arc::clone(self),
            arrived,
            code: CALLER_LEFT,
            admitted: self.admit(),
        }
    }

    fn admit(&self) -> bool {
        let limit = self.in_flight_max();
        let more = |count: u32| (limit == 0 || count < limit).then_some(count.saturating_add(1));
        self.in_flight.try_update(Relaxed, Relaxed, more).is_ok()
    }

    /// Zero is no limit.
    pub(crate) fn in_flight_max(&self) -> u32 {
        self.settings.max_inflight.saturating_mul(self.replicas().max(1))
    }
}

/// A call from its arrival until its answer is sent; counted when dropped.
#[derive(Debug)]
pub(crate) struct Invocation {
    function: Arc<Function>,
    arrived: Instant,
    code: u16,
    admitted: bool,
}

impl Invocation {
    /// Whether the function has room for it.
    pub(crate) fn is_admitted(&self) -> bool {
        self.admitted
    }

    /// Ends the call when the answer's body has been sent.
    pub(crate) fn answer(mut self, response: &mut Response<Body>) {
        self.code = response.status().as_u16();
        response.body_mut().hold(self);
    }
}

impl Drop for Invocation {
    fn drop(&mut self) {
        if self.admitted {
            self.function.in_flight.fetch_sub(1, Relaxed);
        }
        let took = clock::now().saturating_duration_since(self.arrived);
        self.function.stats().finish(self.code, took);
    }
}
