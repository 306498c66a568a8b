//! An open-loop load generator: it sends at its rate whether answers come or not.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use rustix::thread::LinkNameSpaceType;
use tokio::{
    runtime::Builder,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    Namespace,
    clock::{now, patience},
    http::{self, Connection, Response},
    namespace,
};

/// A request without an answer after this time is lost.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How many requests may wait for answers: more than the highest rate in use makes in [`TIMEOUT`].
const WAITING_MAX: usize = 20_000;

/// How connections are used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Connections {
    /// Each request opens its own.
    OnePerRequest,
    /// A request takes one that is idle, if there is one.
    KeepAlive,
}

/// Requests at a fixed rate.
#[derive(Clone, Debug)]
pub struct Load {
    /// Who is asked.
    pub server: SocketAddr,
    /// What is asked for.
    pub path: String,
    /// What is sent.
    pub body: Bytes,
    /// Headers besides `Host`.
    pub headers: Vec<(String, String)>,
    /// How many requests a second.
    pub rate_rps: u32,
    /// How connections are used.
    pub connections: Connections,
    /// For how long to send, where it is not stopped before.
    pub at_most: Duration,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it was sent, after the load's start.
    pub sent: Duration,
    /// How long it took to the end of the answer.
    pub latency: Duration,
    /// What came back.
    pub outcome: Outcome,
}

/// What came back for a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// A whole response.
    Answered {
        /// Its status code.
        status: u16,
        /// The node whose platform answered, where a platform did.
        served_by: Option<String>,
    },
    /// Nothing, or not all of it.
    Lost(String),
}

/// A load that is under way. It is stopped when it is dropped.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    samples: Mutex<Vec<Sample>>,
    stop: AtomicBool,
}

impl Load {
    /// Requests to `/function/NAME` of a server, each on its own connection, until stopped.
    pub fn new(server: SocketAddr, function: &str, rate_rps: u32) -> Self {
        Self {
            server,
            path: format!("/function/{function}"),
            body: Bytes::from_static(b"Hello DFaaS world!"),
            headers: Vec::new(),
            rate_rps,
            connections: Connections::OnePerRequest,
            at_most: Duration::from_secs(24 * 3600),
        }
    }

    /// Starts to send from a namespace.
    ///
    /// # Errors
    ///
    /// When no thread can be started there.
    pub fn start(self, from: &Namespace) -> Result<Running> {
        let shared = Arc::new(Shared::default());
        let link = from.network_link();
        let worker = Arc::clone(&shared);
        let thread = thread::Builder::new().name("load".to_owned()).spawn(move || {
            namespace::enter(&link, LinkNameSpaceType::Network)?;
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(self.send(worker));
            Ok(())
        });
        let thread = Some(thread.context("starting the load")?);
        Ok(Running { shared, thread })
    }

    async fn send(self, shared: Arc<Shared>) {
        let mut ticks = interval(Duration::from_secs(1) / self.rate_rps.max(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let start = now();
        let mut waiting = JoinSet::new();
        let one = Arc::new(Requester {
            load: self,
            idle: Mutex::default(),
            start,
        });
        while !shared.stop.load(Ordering::Relaxed) && start.elapsed() < one.load.at_most {
            ticks.tick().await;
            while waiting.try_join_next().is_some() {}
            if waiting.len() < WAITING_MAX {
                waiting.spawn(Arc::clone(&one).record(Arc::clone(&shared)));
            } else {
                shared.push(one.sample(now(), Outcome::Lost("too many requests wait".to_owned())));
            }
        }
        waiting.join_all().await;
    }
}

impl Shared {
    fn push(&self, sample: Sample) {
        self.samples
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sample);
    }
}

struct Requester {
    load: Load,
    idle: Mutex<Vec<Connection>>,
    start: Instant,
}

impl Requester {
    async fn record(self: Arc<Self>, shared: Arc<Shared>) {
        let sent = now();
        let outcome = match timeout(patience(TIMEOUT), self.request()).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::Lost(format!("{error:#}")),
            Err(_) => Outcome::Lost(format!("no answer within {:?}", patience(TIMEOUT))),
        };
        shared.push(self.sample(sent, outcome));
    }

    fn sample(&self, sent: Instant, outcome: Outcome) -> Sample {
        Sample {
            sent: sent.saturating_duration_since(self.start),
            latency: sent.elapsed(),
            outcome,
        }
    }

    async fn request(&self) -> Result<Outcome> {
        let mut request = Request::post(&self.load.path).header("host", self.load.server.to_string());
        for (name, value) in &self.load.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.load.body.clone()))?;
        let mut connection = self.connection().await?;
        let response = connection.send_request(request).await?;
        let outcome = read(response).await?;
        if self.load.connections == Connections::KeepAlive && !connection.is_closed() {
            self.idle().push(connection);
        }
        Ok(outcome)
    }

    async fn connection(&self) -> Result<Connection> {
        while let Some(mut idle) = self.take_idle() {
            if idle.ready().await.is_ok() {
                return Ok(idle);
            }
        }
        http::connect(self.load.server).await
    }

    fn take_idle(&self) -> Option<Connection> {
        self.idle().pop()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(response: Response) -> Result<Outcome> {
    let status = response.status().as_u16();
    let served_by = response.headers().get("x-served-by");
    let served_by = served_by.and_then(|name| Some(name.to_str().ok()?.to_owned()));
    response.into_body().collect().await.context("reading the body")?;
    Ok(Outcome::Answered { status, served_by })
}

impl Running {
    /// What has come since this was last asked for.
    pub fn samples(&self) -> Vec<Sample> {
        std::mem::take(&mut self.shared.samples.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stops sending, waits for the answers under way, and returns what has come since samples were last asked for.
    ///
    /// # Errors
    ///
    /// When the generator itself went wrong.
    pub fn stop(mut self) -> Result<Vec<Sample>> {
        self.end()?;
        Ok(self.samples())
    }

    /// Waits until all has been sent and answered, and returns what has come since samples were last asked for.
    ///
    /// # Errors
    ///
    /// When the generator itself went wrong.
    pub fn finish(mut self) -> Result<Vec<Sample>> {
        self.join()?;
        Ok(self.samples())
    }

    fn end(&mut self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    fn join(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        thread
            .join()
            .map_err(|_| anyhow!("the load generator panicked"))?
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Who cares for the result has stopped or finished it.
        let _ = self.end();
    }
}
