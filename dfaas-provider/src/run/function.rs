//! A deployed function: what was asked for, what runs, and what is counted.

pub(crate) mod invocation;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::{Method, Request, Response, StatusCode};
use tokio_util::task::TaskTracker;

use self::invocation::Invocation;
use crate::clock;
use crate::go_duration;
use crate::run::echo;
use crate::run::function_log::FunctionLog;
use crate::run::launch::Homes;
use crate::run::plan::{Plan, Runner};
use crate::run::settings::{Mode, Settings};
use crate::run::stats::Stats;
use crate::run::usage::{self, Usage};
use crate::state::name::FunctionName;
use crate::state::store::Record;
use crate::web::body::Body;
use crate::web::reply;
use crate::wire::{Deployment, Status};

const SCALE_ZERO_LABEL: &str = "com.openfaas.scale.zero";
const SCALE_ZERO_DURATION_LABEL: &str = "com.openfaas.scale.zero-duration";
const SCALE_MAX_LABEL: &str = "com.openfaas.scale.max";
const SCALE_FACTOR_LABEL: &str = "com.openfaas.scale.factor";
const SCALE_MIN_LABEL: &str = "com.openfaas.scale.min";

/// Where a function's description says what this host could not give it.
pub(crate) const NOTES_ANNOTATION: &str = "dfaas.not-applied";

/// How long nobody calls a function before it is stopped, as OpenFaaS has it.
const IDLE_DEFAULT: Duration = Duration::from_secs(15 * 60);

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
    running: Arc<Running>,
    history: History,
}

/// What runs, and goes on to run when only the labels change.
#[derive(Debug)]
struct Running {
    settings: Arc<Settings>,
    runner: Runner,
    replicas: AtomicU32,
    in_flight: AtomicU32,
    last_call: Mutex<Instant>,
    /// What this host could not give it.
    notes: Vec<String>,
}

impl Function {
    /// Starts what `plan` says, once the processes `before` have ended.
    pub(crate) fn new(
        name: FunctionName,
        record: Record,
        plan: Plan,
        homes: Homes,
        history: History,
        before: Option<TaskTracker>,
    ) -> Self {
        let settings = Arc::new(plan.settings.clone());
        let notes = homes.isolation.notes().to_vec();
        let runner = plan.runner(&record.deployment, &settings, homes, &history.log, before);
        let running = Running {
            settings,
            runner,
            replicas: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            last_call: Mutex::new(clock::now()),
            notes,
        };
        let function = Self {
            name,
            running: Arc::new(running),
            history,
            record,
        };
        function.scale(function.record.replicas);
        function
    }

    /// The same function with other labels, for which no process has to end.
    pub(crate) fn relabelled(&self, record: Record) -> Self {
        Self {
            name: self.name.clone(),
            record,
            running: Arc::clone(&self.running),
            history: self.history.clone(),
        }
    }

    /// Whether another deployment of it would run the same, and differs by what processes do not see.
    pub(crate) fn differs_by_labels(&self, other: &Deployment) -> bool {
        let old = &self.record.deployment;
        let relabelled = Deployment {
            labels: old.labels.clone(),
            annotations: old.annotations.clone(),
            constraints: old.constraints.clone(),
            requests: old.requests.clone(),
            ..other.clone()
        };
        relabelled == *old && *old != *other
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
        matches!(self.running.runner, Runner::Echo)
    }

    pub(crate) fn request_bytes_max(&self) -> Option<u64> {
        self.running.settings.request_bytes_max
    }

    pub(crate) fn replicas(&self) -> u32 {
        self.running.replicas.load(SeqCst)
    }

    fn available_replicas(&self) -> u32 {
        match &self.running.runner {
            Runner::Echo | Runner::Classic(_) => self.replicas(),
            Runner::Warm(warm) => self
                .replicas()
                .min(u32::try_from(warm.ready()).unwrap_or(u32::MAX)),
        }
    }

    /// A warm function runs so many processes. A process for each call needs no replicas; they multiply
    /// `max_inflight`, and zero of them stops the function.
    pub(crate) fn scale(&self, replicas: u32) {
        self.running.replicas.store(replicas, SeqCst);
        if let Runner::Warm(warm) = &self.running.runner {
            warm.scale(replicas);
        }
    }

    /// Stops a function that wants to be stopped when nobody calls it, unless a call has come just now.
    pub(crate) fn rest(&self) -> bool {
        let Some(limit) = self.idle_limit() else {
            return false;
        };
        let idle = clock::now().saturating_duration_since(*self.last_call());
        if self.replicas() == 0 || idle < limit {
            return false;
        }
        // A call counts itself before it looks at the replicas, so one of the two sees the other.
        let replicas = self.running.replicas.swap(0, SeqCst);
        if self.running.in_flight.load(SeqCst) > 0 {
            self.running.replicas.store(replicas, SeqCst);
            return false;
        }
        self.scale(0);
        true
    }

    fn idle_limit(&self) -> Option<Duration> {
        let labels = &self.record.deployment.labels;
        self.replicas_on_call()?;
        let asked = labels.get(SCALE_ZERO_DURATION_LABEL);
        let asked = asked.and_then(|text| go_duration::parse(text).ok());
        Some(asked.unwrap_or(IDLE_DEFAULT))
    }

    fn last_call(&self) -> MutexGuard<'_, Instant> {
        self.running
            .last_call
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The port that no other function may have.
    pub(crate) fn fixed_port(&self) -> Option<u16> {
        match &self.running.runner {
            Runner::Warm(warm) => warm.fixed_port(),
            Runner::Echo | Runner::Classic(_) => None,
        }
    }

    /// How many replicas there should be when an alert fires, or ends.
    pub(crate) fn replicas_on_alert(&self, firing: bool) -> u32 {
        let number = |label, default: u32| {
            let labels = &self.record.deployment.labels;
            labels
                .get(label)
                .and_then(|value| value.parse().ok())
                .unwrap_or(default)
        };
        let least = number(SCALE_MIN_LABEL, 1);
        let most = number(SCALE_MAX_LABEL, 5).max(least);
        let step = most.saturating_mul(number(SCALE_FACTOR_LABEL, 20)).div_ceil(100);
        match firing {
            true => self.replicas().saturating_add(step).clamp(least, most),
            false => least,
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

    /// Frees the port for the function's next version, which waits for what is given.
    pub(crate) fn retire(&self) -> Option<TaskTracker> {
        match &self.running.runner {
            Runner::Warm(warm) => warm.retire(),
            Runner::Echo | Runner::Classic(_) => None,
        }
    }

    /// Measures what its processes take, if any run.
    pub(crate) async fn usage(&self) -> Option<Usage> {
        let processes = match &self.running.runner {
            Runner::Echo => Vec::new(),
            Runner::Classic(classic) => classic.launch.processes(),
            Runner::Warm(warm) => warm.processes(),
        };
        match processes.is_empty() {
            true => None,
            false => Some(usage::measure(&processes).await),
        }
    }

    /// What this host could not give the function.
    pub(crate) fn notes(&self) -> &[String] {
        &self.running.notes
    }

    pub(crate) fn status(&self) -> Status<'_> {
        let deployment = &self.record.deployment;
        let mut annotations = Cow::Borrowed(&deployment.annotations);
        if !self.notes().is_empty() {
            annotations
                .to_mut()
                .insert(NOTES_ANNOTATION.to_owned(), self.notes().join("; "));
        }
        Status {
            name: &self.name.name,
            image: &deployment.image,
            namespace: &self.name.namespace,
            env_process: &deployment.env_process,
            env_vars: &deployment.env_vars,
            constraints: &deployment.constraints,
            secrets: &deployment.secrets,
            labels: &deployment.labels,
            annotations,
            limits: &deployment.limits,
            requests: &deployment.requests,
            read_only_root_filesystem: deployment.read_only_root_filesystem,
            invocation_count: self.stats().finished(),
            replicas: self.replicas(),
            available_replicas: self.available_replicas(),
            created_at: self.record.created_at,
            usage: None,
        }
    }

    pub(crate) async fn call(&self, request: Request<Body>) -> Response<Body> {
        let mut request = request;
        if let Some(response) = self.probe(&mut request) {
            return response;
        }
        match &self.running.runner {
            Runner::Echo => echo::call(request),
            Runner::Classic(classic) => classic.call(request).await,
            Runner::Warm(warm) => warm.call(request).await,
        }
    }

    /// Answers what a watchdog answers itself.
    fn probe(&self, request: &mut Request<Body>) -> Option<Response<Body>> {
        let ready = match (&self.running.runner, request.uri().path()) {
            (_, "/_/health") => true,
            (Runner::Warm(warm), "/_/ready") => warm.ready() > 0,
            (Runner::Classic(classic), "/_/ready") if classic.settings.mode != Mode::Classic => true,
            (_, _) => return None,
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Some(reply::empty(StatusCode::METHOD_NOT_ALLOWED));
        }
        match (&self.running.settings.ready_path, request.uri().path()) {
            (Some(path), "/_/ready") if ready => {
                *request.uri_mut() = path.clone();
                None
            }
            (_, _) if ready => Some(reply::text(StatusCode::OK, "OK")),
            (_, _) => Some(reply::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the function is not ready",
            )),
        }
    }

    /// Begins a call that came in at `arrived`.
    pub(crate) fn begin(self: &Arc<Self>, arrived: Instant) -> Invocation {
        self.stats().start();
        let mut last_call = self.last_call();
        *last_call = arrived.max(*last_call);
        drop(last_call);
        Invocation::new(Arc::clone(self), arrived, self.admit())
    }

    fn admit(&self) -> bool {
        let limit = self.in_flight_max();
        let more = |count: u32| (limit == 0 || count < limit).then_some(count.saturating_add(1));
        let in_flight = &self.running.in_flight;
        in_flight.try_update(SeqCst, SeqCst, more).is_ok()
    }

    /// Zero is no limit.
    pub(crate) fn in_flight_max(&self) -> u32 {
        self.running
            .settings
            .max_inflight
            .saturating_mul(self.replicas().max(1))
    }
}
