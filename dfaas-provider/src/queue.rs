//! Calls that are answered at once and made later, from a bounded queue in memory.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Uri};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::warn;

use crate::body::Body;
use crate::client::{self, HttpClient};
use crate::invoke;
use crate::platform::Platform;
use crate::reply;
use crate::stamp::Stamp;

pub(crate) const PREFIX: &str = "/async-function/";

/// As many as one node can be expected to work off within minutes.
const JOBS_MAX: usize = 1024;

/// What NATS, OpenFaaS's queue, takes by default.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Bounds the bodies of all waiting calls.
const TOTAL_BYTES_MAX: usize = 64 << 20;

/// Calls that run at once; each may be a process.
const WORKERS: usize = 4;

const PART: &str = "proxy";
const CALLBACK_URL: HeaderName = HeaderName::from_static("x-callback-url");
const FUNCTION_STATUS: HeaderName = HeaderName::from_static("x-function-status");
const FUNCTION_NAME: HeaderName = HeaderName::from_static("x-function-name");

#[derive(Debug, thiserror::Error)]
enum EnqueueError {
    #[error("X-Callback-Url is {0:?}; give an absolute http:// URL")]
    Callback(String),
    #[error(
        "the request is longer than the {BODY_BYTES_MAX} bytes an asynchronous call may have; call /function/ instead"
    )]
    TooLong,
    #[error("read the request: {0}")]
    Read(Box<dyn std::error::Error + Send + Sync>),
    #[error("the queue is full with {JOBS_MAX} calls or {TOTAL_BYTES_MAX} bytes; try again later")]
    Full,
    #[error("the platform is stopping; call another node")]
    Stopping,
}

impl EnqueueError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Callback(_) | Self::Read(_) => StatusCode::BAD_REQUEST,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Full | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

#[derive(Debug)]
struct Job {
    name: String,
    head: Parts,
    body: Bytes,
    callback: Option<Uri>,
    _room: OwnedSemaphorePermit,
}

/// The end of the queue that takes calls.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
}

/// The end of the queue that makes calls.
#[derive(Debug)]
pub(crate) struct Worker {
    jobs: mpsc::Receiver<Job>,
}

pub(crate) fn new() -> (Queue, Worker) {
    let (sender, jobs) = mpsc::channel(JOBS_MAX);
    (
        Queue {
            jobs: sender,
            room: Arc::new(Semaphore::new(TOTAL_BYTES_MAX)),
        },
        Worker { jobs },
    )
}

impl Queue {
    /// Takes the call that the path `/async-function/{name}[/path]` names.
    pub(crate) async fn take(
        &self,
        platform: &Arc<Platform>,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let stamp = Stamp::new(request.headers());
        let (name, _) = invoke::target(request.uri().path(), PREFIX);
        let mut response = if request.method() != Method::POST {
            reply::internal(
                PART,
                reply::text(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "asynchronous calls are made by POST",
                ),
            )
        } else if platform.find(name).is_none() {
            invoke::unknown(name)
        } else {
            match self.enqueue(name.to_owned(), peer, request, &stamp).await {
                Ok(()) => reply::empty(StatusCode::ACCEPTED),
                Err(error) => reply::internal(PART, reply::text(error.status(), error)),
            }
        };
        stamp.mark_response(response.headers_mut(), &platform.node().name);
        response
    }

    async fn enqueue(
        &self,
        name: String,
        peer: SocketAddr,
        request: Request<Incoming>,
        stamp: &Stamp,
    ) -> Result<(), EnqueueError> {
        let callback = callback(request.headers())?;
        let (mut head, incoming) = request.into_parts();
        let body = Limited::new(incoming, BODY_BYTES_MAX)
            .collect()
            .await
            .map_err(read_error)?
            .to_bytes();
        let room = u32::try_from(body.len()).map_err(|_| EnqueueError::TooLong)?;
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(room)
            .map_err(|_| EnqueueError::Full)?;
        head.uri = invoke::inner_uri(&head.uri, PREFIX);
        invoke::unframe(&mut head.headers);
        head.headers.insert(CONTENT_LENGTH, body.len().into());
        invoke::forward(&mut head.headers, peer);
        stamp.mark_request(&mut head.headers);
        self.jobs
            .try_send(Job {
                name,
                head,
                body,
                callback,
                _room: room,
            })
            .map_err(|error| match error {
                TrySendError::Full(_) => EnqueueError::Full,
                TrySendError::Closed(_) => EnqueueError::Stopping,
            })
    }
}

impl Worker {
    /// Makes calls as they come, until the future is dropped.
    pub(crate) async fn run(mut self, platform: Arc<Platform>) {
        let workers = Arc::new(Semaphore::new(WORKERS));
        let client = client::client();
        let mut running = tokio::task::JoinSet::new();
        while let Some(job) = self.jobs.recv().await {
            let Ok(turn) = Arc::clone(&workers).acquire_owned().await else {
                return;
            };
            let (platform, client) = (Arc::clone(&platform), client.clone());
            running.spawn(async move {
                work(&platform, &client, job).await;
                drop(turn);
            });
            while running.try_join_next().is_some() {}
        }
    }
}

async fn work(platform: &Arc<Platform>, client: &HttpClient, job: Job) {
    let stamp = Stamp::new(&job.head.headers);
    let call_id = stamp.call_id.clone();
    let response = match platform.find(&job.name) {
        Some(function) => {
            let request = Request::from_parts(job.head, Body::whole(job.body));
            invoke::call(platform, function, request, stamp).await
        }
        None => {
            let mut response = invoke::unknown(&job.name);
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            stamp.mark_response(response.headers_mut(), &platform.node().name);
            response
        }
    };
    if let Err(error) = finish(client, &job.name, job.callback, response).await {
        warn!(function = job.name, ?call_id, %error, "Lost the result of an asynchronous call");
    }
}

/// Reports a result, or reads it to its end, for the function's sake.
async fn finish(
    client: &HttpClient,
    name: &str,
    callback: Option<Uri>,
    response: Response<Body>,
) -> anyhow::Result<()> {
    let Some(callback) = callback else {
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        return Ok(());
    };
    let (mut head, body) = response.into_parts();
    invoke::unframe(&mut head.headers);
    head.headers
        .insert(FUNCTION_STATUS, HeaderValue::from(head.status.as_u16()));
    head.headers.insert(FUNCTION_NAME, HeaderValue::try_from(name)?);
    let mut report = Request::post(callback).body(body)?;
    report.headers_mut().extend(head.headers);
    let answer = client.request(report).await?;
    anyhow::ensure!(
        answer.status().is_success(),
        "the callback answered {}",
        answer.status()
    );
    Ok(())
}

fn callback(headers: &HeaderMap) -> Result<Option<Uri>, EnqueueError> {
    let Some(value) = headers.get(CALLBACK_URL) else {
        return Ok(None);
    };
    let uri = Uri::try_from(value.as_bytes()).ok();
    match uri.filter(|uri| uri.scheme_str() == Some("http") && uri.host().is_some()) {
        Some(uri) => Ok(Some(uri)),
        None => Err(EnqueueError::Callback(
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )),
    }
}

fn read_error(error: Box<dyn std::error::Error + Send + Sync>) -> EnqueueError {
    match error.is::<LengthLimitError>() {
        true => EnqueueError::TooLong,
        false => EnqueueError::Read(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callbacks_are_absolute_http_urls() {
        check("http://127.0.0.1:9/done?x=1", true);
        check("https://example.com/", false);
        check("/relative", false);
        check("example.com", false);
        check("", false);
    }

    #[track_caller]
    fn check(url: &'static str, want: bool) {
        let headers = HeaderMap::from_iter([(CALLBACK_URL, HeaderValue::from_static(url))]);
        assert_eq!(callback(&headers).is_ok(), want, "{url:?}");
    }
}
