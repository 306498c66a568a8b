//! Functions that are one long-lived HTTP server behind a local port, as under the of-watchdog's http mode.

mod supervisor;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::header::HeaderName;
use hyper::http::uri::{Authority, Scheme};
use hyper::{Request, Response, StatusCode, Uri};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::body::Body;
use crate::client::{self, HttpClient};
use crate::function_log::FunctionLog;
use crate::go_duration;
use crate::launch::Launch;
use crate::reply;

const PART: &str = "of-watchdog";
const TIMEOUT: HeaderName = HeaderName::from_static("x-timeout");

#[derive(Clone, Debug)]
enum State {
    Starting,
    Ready(SocketAddr),
    /// It died several times and is left alone for a while.
    Down {
        reason: String,
    },
}

#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("the function's process is down and will be started again: {0}; see its log")]
    Down(String),
    #[error("the function was scaled to zero")]
    Stopped,
    #[error("call the function's process at {address}: {source}")]
    Upstream {
        address: SocketAddr,
        source: hyper_util::client::legacy::Error,
    },
    #[error("make the request to the function's process: {0}")]
    Request(#[from] hyper::http::Error),
}

impl CallError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Down(_) | Self::Stopped => StatusCode::SERVICE_UNAVAILABLE,
            Self::Upstream { .. } | Self::Request(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// A process that is kept running, until this is dropped or stopped.
#[derive(Debug)]
pub(crate) struct Warm {
    launch: Arc<Launch>,
    fixed: Option<SocketAddr>,
    log: Arc<FunctionLog>,
    client: HttpClient,
    state: Arc<watch::Sender<State>>,
    supervisor: Mutex<Option<AbortHandle>>,
}

impl Warm {
    pub(crate) fn new(launch: Launch, fixed: Option<SocketAddr>, log: Arc<FunctionLog>) -> Self {
        Self {
            launch: Arc::new(launch),
            fixed,
            log,
            client: client::client(),
            state: Arc::new(watch::Sender::new(State::Starting)),
            supervisor: Mutex::default(),
        }
    }

    /// Starts the process, unless it is running. Needs the runtime.
    pub(crate) fn start(&self) {
        let mut supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
        supervisor.get_or_insert_with(|| {
            self.state.send_replace(State::Starting);
            let work = supervisor::keep_running(
                Arc::clone(&self.launch),
                self.fixed,
                Arc::clone(&self.log),
                Arc::clone(&self.state),
            );
            tokio::spawn(work).abort_handle()
        });
    }

    pub(crate) fn stop(&self) {
        let mut supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = supervisor.take() {
            running.abort();
            self.state.send_replace(State::Starting);
        }
    }

    /// Whether another process could not listen while this one does.
    pub(crate) fn holds_port(&self) -> bool {
        self.fixed.is_some()
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(*self.state.borrow(), State::Ready(_))
    }

    /// Passes a call on. A limit of zero is none, and a caller may ask for a lower one.
    pub(crate) async fn call(&self, limit: Duration, request: Request<Body>) -> Response<Body> {
        let limit = asked_limit(limit, &request);
        let answer = match limit {
            Duration::ZERO => Ok(self.pass_on(request).await),
            limit => tokio::time::timeout(limit, self.pass_on(request)).await,
        };
        match answer {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => reply::internal(PART, reply::text(error.status(), error)),
            Err(_) => {
                let text = format!("the function gave no answer within {limit:?}");
                reply::internal(PART, reply::text(StatusCode::GATEWAY_TIMEOUT, text))
            }
        }
    }

    async fn pass_on(&self, mut request: Request<Body>) -> Result<Response<Body>, CallError> {
        let address = self.ready().await?;
        *request.uri_mut() = upstream_uri(address, request.uri())?;
        *request.version_mut() = hyper::Version::HTTP_11;
        client::strip_hop_by_hop(request.headers_mut());
        let response = self.client.request(request).await;
        let mut response = response.map_err(|source| CallError::Upstream { address, source })?;
        client::strip_hop_by_hop(response.headers_mut());
        Ok(response.map(|incoming| Body::passed(incoming, u64::MAX)))
    }

    async fn ready(&self) -> Result<SocketAddr, CallError> {
        let mut states = self.state.subscribe();
        let state = states.wait_for(|state| !matches!(state, State::Starting)).await;
        match &*state.map_err(|_| CallError::Stopped)? {
            State::Ready(address) => Ok(*address),
            State::Down { reason } => Err(CallError::Down(reason.clone())),
            State::Starting => Err(CallError::Stopped),
        }
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        self.stop();
    }
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
