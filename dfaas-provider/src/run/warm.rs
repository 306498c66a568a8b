//! Functions that are long-lived HTTP servers behind local ports, as under the of-watchdog's http mode.

mod state;
mod supervisor;
mod tunnel;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::header::HeaderName;
use hyper::http::uri::{Authority, Scheme};
use hyper::{Request, Response, StatusCode, Uri};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use self::state::{States, Turn};
use self::supervisor::{Replica, Shared};
use crate::go_duration;
use crate::run::function_log::FunctionLog;
use crate::run::launch::Launch;
use crate::run::settings::Settings;
use crate::web::body::Body;
use crate::web::client::{self, ClientError, HttpClient};
use crate::web::reply;
use crate::web::spool::SpoolError;

const PART: &str = "of-watchdog";
/// How long a call that failed waits to tell why.
const NOTE_PATIENCE: Duration = Duration::from_millis(50);

const TIMEOUT: HeaderName = HeaderName::from_static("x-timeout");

#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("the function's process is down and will be started again: {0}; see its log")]
    Down(String),
    #[error("the function was stopped")]
    Stopped,
    #[error("call the function's process at {address}: {source}{note}")]
    Upstream {
        address: SocketAddr,
        source: ClientError,
        /// What became of the process.
        note: String,
    },
    #[error("make the request to the function's process: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("read the request: {0}")]
    Spool(#[from] SpoolError),
}

impl CallError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Down(_) | Self::Stopped => StatusCode::SERVICE_UNAVAILABLE,
            Self::Spool(error) => error.status(),
            Self::Upstream { .. } | Self::Request(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Processes that are kept running, until this is dropped or stopped.
#[derive(Debug)]
pub(crate) struct Warm {
    shared: Arc<Shared>,
    settings: Arc<Settings>,
    client: HttpClient,
    processes: Mutex<Processes>,
}

#[derive(Debug)]
struct Processes {
    replicas: Vec<Replica>,
    /// Their supervisors.
    running: TaskTracker,
    /// The supervisors of those before, whose port these wait for.
    before: Option<TaskTracker>,
}

impl Warm {
    pub(crate) fn new(
        launch: Launch,
        settings: Arc<Settings>,
        log: Arc<FunctionLog>,
        before: Option<TaskTracker>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared::new(launch, &settings, log)),
            settings,
            client: client::client(),
            processes: Mutex::new(Processes {
                replicas: Vec::new(),
                running: closed_tracker(),
                before,
            }),
        }
    }

    /// Runs so many processes, or one if the function chose its port itself. Needs the runtime.
    pub(crate) fn scale(&self, replicas: u32) {
        let wanted = match self.shared.fixed {
            Some(_) => replicas.min(1),
            None => replicas,
        };
        if wanted < replicas {
            let text = format!("runs once, not {replicas} times: it listens on a port of its own");
            self.shared.log.push(std::process::id(), text);
        }
        let mut processes = self.lock();
        let processes = &mut *processes;
        let replicas = &mut processes.replicas;
        self.shared.states.set_stopped(wanted == 0);
        replicas
            .drain(replicas.len().min(wanted as usize)..)
            .for_each(|replica| replica.stop(&self.shared));
        if wanted == 0 && self.shared.fixed.is_some() {
            processes.before = Some(std::mem::replace(&mut processes.running, closed_tracker()));
        }
        while replicas.len() < wanted as usize {
            replicas.push(Replica::start(
                &self.shared,
                &processes.running,
                processes.before.clone(),
            ));
        }
    }

    /// Ends the processes of a version that is replaced. The next one waits for what is given, if its port is the same.
    pub(crate) fn retire(&self) -> Option<TaskTracker> {
        self.shared.fixed?;
        self.scale(0);
        self.lock().before.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Processes> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fixed_port(&self) -> Option<u16> {
        self.shared.fixed.map(|address| address.port())
    }

    /// The processes that run now.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.shared.launch.processes()
    }

    pub(crate) fn ready(&self) -> usize {
        self.shared.states.ready()
    }

    /// Passes a call on. A limit of zero is none, and a caller may ask for a lower one.
    pub(crate) async fn call(&self, request: Request<Body>) -> Response<Body> {
        let limit = asked_limit(self.settings.exec_timeout, &request);
        let answer = match limit {
            Duration::ZERO => Ok(self.pass_on(request).await),
            limit => tokio::time::timeout(limit, self.pass_on(request)).await,
        };
        match answer {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => reply::internal(PART, reply::text(error.status(), error)),
            Err(_) => {
                let note = self.shared.states.note();
                let text = format!("the function gave no answer within {limit:?}{note}");
                reply::internal(PART, reply::text(StatusCode::GATEWAY_TIMEOUT, text))
            }
        }
    }

    async fn pass_on(&self, mut request: Request<Body>) -> Result<Response<Body>, CallError> {
        let (address, turn) = self.turn().await?;
        *request.uri_mut() = upstream_uri(address, request.uri())?;
        *request.version_mut() = hyper::Version::HTTP_11;
        let protocol = client::upgrade(request.headers());
        client::strip_hop_by_hop(request.headers_mut());
        if self.settings.buffer_request {
            request = self.whole(request).await?;
        }
        let caller = protocol.map(|protocol| {
            client::ask_upgrade(request.headers_mut(), protocol);
            hyper::upgrade::on(&mut request)
        });
        let response = client::send(&self.client, request).await;
        let response = match response {
            Ok(response) => response,
            Err(source) => {
                // Its supervisor hears of the end of a process at the same time.
                tokio::time::sleep(NOTE_PATIENCE).await;
                let note = self.shared.states.note();
                return Err(CallError::Upstream {
                    address,
                    source,
                    note,
                });
            }
        };
        Ok(match caller {
            Some(caller) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                tunnel::open(caller, response, turn, self.shared.launch.clone())
            }
            Some(_) | None => answer(response, turn),
        })
    }

    /// Reads the request to its end, for functions that need its length first.
    async fn whole(&self, request: Request<Body>) -> Result<Request<Body>, CallError> {
        let (mut head, body) = request.into_parts();
        let input = self.shared.launch.spool().keep(body).await?;
        head.headers
            .insert(hyper::header::CONTENT_LENGTH, input.length().into());
        Ok(Request::from_parts(head, Body::kept(input)))
    }

    async fn turn(&self) -> Result<(SocketAddr, TaskTrackerToken), CallError> {
        match self.shared.states.turn().await {
            Turn::Ready(address, token) => Ok((address, token)),
            Turn::Down(reason) => Err(CallError::Down(reason)),
            Turn::Stopped => Err(CallError::Stopped),
        }
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        self.scale(0);
    }
}

/// A tracker that can be waited for; it takes tasks all the same.
fn closed_tracker() -> TaskTracker {
    let tracker = TaskTracker::new();
    tracker.close();
    tracker
}

fn answer(mut response: Response<hyper::body::Incoming>, turn: TaskTrackerToken) -> Response<Body> {
    client::strip_hop_by_hop(response.headers_mut());
    response.map(|incoming| {
        let mut body = Body::passed(incoming, u64::MAX);
        body.hold_turn(turn);
        body
    })
}

/// `X-Timeout` lowers a limit and never raises it.
fn asked_limit(limit: Duration, request: &Request<Body>) -> Duration {
    let asked = request
        .headers()
        .get(TIMEOUT)
        .and_then(|value| value.to_str().ok());
    match asked.and_then(|text| go_duration::parse(text).ok()) {
        Some(asked) if !limit.is_zero() => asked.min(limit).max(Duration::from_nanos(1)),
        Some(_) | None => limit,
    }
}

fn upstream_uri(address: SocketAddr, uri: &Uri) -> Result<Uri, hyper::http::Error> {
    let mut parts = uri.clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::try_from(address.to_string())?);
    Ok(Uri::from_parts(parts)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_may_lower_the_limit_only() {
        check(10, "1", 1);
        check(10, "20", 10);
        check(10, "soon", 10);
        check(0, "1", 0);
    }

    #[test]
    fn path_and_query_are_kept() {
        let uri = upstream_uri("127.0.0.1:80".parse().unwrap(), &Uri::from_static("/a?b=c")).unwrap();
        assert_eq!(uri, "http://127.0.0.1:80/a?b=c");
    }

    #[track_caller]
    fn check(limit: u64, header: &str, want: u64) {
        let request = Request::builder()
            .header(TIMEOUT, header)
            .body(Body::empty())
            .unwrap();
        assert_eq!(
            asked_limit(Duration::from_secs(limit), &request),
            Duration::from_secs(want)
        );
    }
}
