//! Calls that are answered at once and made later. They lie on disk until they are made, so that they survive a stop.

mod job;
mod worker;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use self::job::{Head, Job, Kept};
pub(crate) use self::worker::Worker;
use crate::calls::callback::{Callback, CallbackError, Callbacks};
use crate::calls::invoke;
use crate::platform::Platform;
use crate::state::files::{self, FileError};
use crate::web::body::{Body, BodyError};
use crate::web::reply;
use crate::web::stamp::Stamp;

pub(crate) const PREFIX: &str = "/async-function/";

/// As many as one node can be expected to work off within minutes.
const JOBS_MAX: usize = 1024;

/// What NATS, OpenFaaS's queue, takes by default.
const BODY_BYTES_MAX: u32 = 1 << 20;

/// Bounds the bodies of all waiting calls.
const TOTAL_BYTES_MAX: usize = 64 << 20;

const PART: &str = "proxy";
const CALLBACK_URL: HeaderName = HeaderName::from_static("x-callback-url");

#[derive(Debug, thiserror::Error)]
enum EnqueueError {
    #[error(transparent)]
    Callback(#[from] CallbackError),
    #[error("read the request: {0}")]
    Read(#[from] BodyError),
    #[error("the queue is full with {JOBS_MAX} calls or {TOTAL_BYTES_MAX} bytes; try again later")]
    Full,
    #[error("the platform is stopping; call another node")]
    Stopping,
    #[error("keep the call: {0}")]
    Keep(#[from] FileError),
    #[error("keep the call: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl EnqueueError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Read(BodyError::TooLong(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Read(BodyError::Silent(_)) => StatusCode::REQUEST_TIMEOUT,
            Self::Callback(_) | Self::Read(_) => StatusCode::BAD_REQUEST,
            Self::Full | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::Keep(_) | Self::Task(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// What is counted of asynchronous calls.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) waiting: AtomicU64,
    pub(crate) callbacks_failed: AtomicU64,
}

/// The end of the queue that takes calls.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    directory: PathBuf,
    number: Arc<AtomicU64>,
    callbacks: Arc<Callbacks>,
    counts: Arc<Counts>,
    client_timeout: Duration,
}

/// Opens the queue with the calls that were waiting when the platform ended.
pub(crate) fn open(
    state: &Path,
    callbacks: Callbacks,
    client_timeout: Duration,
) -> Result<(Queue, Worker), FileError> {
    let directory = state.join("queue");
    files::create_directory(&directory)?;
    let kept = job::load(&directory)?;
    let (sender, jobs) = mpsc::channel(JOBS_MAX);
    let queue = Queue {
        jobs: sender,
        room: Arc::new(Semaphore::new(TOTAL_BYTES_MAX)),
        number: Arc::new(AtomicU64::new(kept.last().map_or(0, |(number, _)| number + 1))),
        directory,
        callbacks: Arc::new(callbacks),
        counts: Arc::default(),
        client_timeout,
    };
    if !kept.is_empty() {
        tracing::info!(calls = kept.len(), "Took up the asynchronous calls that waited");
    }
    let restored: Vec<Job> = kept.into_iter().map(|(_, kept)| queue.job(kept, None)).collect();
    let worker = Worker::new(
        jobs,
        restored,
        Arc::clone(&queue.callbacks),
        Arc::clone(&queue.counts),
    );
    Ok((queue, worker))
}

impl Queue {
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

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
            let text = "asynchronous calls are made by POST";
            reply::internal(PART, reply::text(StatusCode::METHOD_NOT_ALLOWED, text))
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
        let callback = self.callback(request.headers())?;
        let turn = self.jobs.clone().try_reserve_owned();
        let turn = turn.map_err(|error| match error {
            TrySendError::Full(_) => EnqueueError::Full,
            TrySendError::Closed(_) => EnqueueError::Stopping,
        })?;
        let (mut head, incoming) = request.into_parts();
        let (body, room) = self.read(incoming).await?;
        head.uri = invoke::inner_uri(&head.uri, PREFIX);
        invoke::unframe(&mut head.headers);
        head.headers.insert(CONTENT_LENGTH, body.len().into());
        invoke::forward(&mut head.headers, peer);
        stamp.mark_request(&mut head.headers);
        let kept = Kept {
            path: job::path(&self.directory, self.number.fetch_add(1, Relaxed)),
            head: Head::new(name, &head, callback.as_ref()),
            body,
        };
        let kept = tokio::task::spawn_blocking(move || kept.save()).await??;
        turn.send(self.job(kept, Some(room)));
        Ok(())
    }

    fn job(&self, kept: Kept, room: Option<OwnedSemaphorePermit>) -> Job {
        Job::new(kept, room, Arc::clone(&self.counts))
    }

    /// Takes room for the body before its bytes.
    async fn read(&self, incoming: Incoming) -> Result<(Bytes, OwnedSemaphorePermit), EnqueueError> {
        let exact = incoming.size_hint().exact();
        let most = exact.and_then(|length| u32::try_from(length).ok());
        let most = most.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(most);
        let mut room = room.map_err(|_| EnqueueError::Full)?;
        if exact.is_some_and(|length| length > BODY_BYTES_MAX.into()) {
            return Err(BodyError::TooLong(BODY_BYTES_MAX.into()).into());
        }
        let body = Body::passed_within(incoming, BODY_BYTES_MAX.into(), self.client_timeout);
        let body = body.collect().await?.to_bytes();
        drop(room.split(room.num_permits().saturating_sub(body.len())));
        Ok((body, room))
    }

    fn callback(&self, headers: &HeaderMap) -> Result<Option<Callback>, CallbackError> {
        let value = headers.get(CALLBACK_URL);
        value
            .map(|value| self.callbacks.parse(value.as_bytes()))
            .transpose()
    }
}
