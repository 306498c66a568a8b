//! Makes the calls that wait, and tells their results.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Counts, Job};
use crate::calls::callback::Callbacks;
use crate::calls::invoke;
use crate::platform::Platform;
use crate::web::body::Body;
use crate::web::spool::Input;
use crate::web::stamp::Stamp;

/// Calls that run at once; each may be a process.
const WORKERS: usize = 4;

/// Results that are being told at once; a silent server must not keep calls from being made.
const REPORTS_MAX: usize = 64;

const FUNCTION_STATUS: HeaderName = HeaderName::from_static("x-function-status");
const FUNCTION_NAME: HeaderName = HeaderName::from_static("x-function-name");

/// The end of the queue that makes calls.
#[derive(Debug)]
pub(crate) struct Worker {
    jobs: mpsc::Receiver<Job>,
    restored: Vec<Job>,
    callbacks: Arc<Callbacks>,
    counts: Arc<Counts>,
}

impl Worker {
    pub(super) fn new(
        jobs: mpsc::Receiver<Job>,
        restored: Vec<Job>,
        callbacks: Arc<Callbacks>,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            jobs,
            restored,
            callbacks,
            counts,
        }
    }

    /// Makes calls as they come until it is asked to stop, and then finishes those it has begun. Calls that were not
    /// finished when the future is dropped stay on disk.
    pub(crate) async fn run(mut self, platform: Arc<Platform>, stop: CancellationToken) {
        let workers = Arc::new(Semaphore::new(WORKERS));
        let reports = Arc::new(Semaphore::new(REPORTS_MAX));
        let mut running = JoinSet::new();
        let mut restored = std::mem::take(&mut self.restored).into_iter();
        loop {
            let begin = async {
                let turn = Arc::clone(&workers).acquire_owned().await.ok()?;
                let job = match restored.next() {
                    Some(job) => job,
                    None => self.jobs.recv().await?,
                };
                Some((turn, job))
            };
            let Some(Some((turn, job))) = stop.run_until_cancelled(begin).await else {
                break;
            };
            let attempt = Attempt {
                platform: Arc::clone(&platform),
                callbacks: Arc::clone(&self.callbacks),
                counts: Arc::clone(&self.counts),
                reports: Arc::clone(&reports),
            };
            running.spawn(attempt.work(job, turn));
            while running.try_join_next().is_some() {}
        }
        let waiting = self.counts.waiting.load(Relaxed) as usize;
        if waiting > running.len() {
            info!(
                calls = waiting - running.len(),
                "Kept asynchronous calls for the next start"
            );
        }
        while running.join_next().await.is_some() {}
    }
}

struct Attempt {
    platform: Arc<Platform>,
    callbacks: Arc<Callbacks>,
    counts: Arc<Counts>,
    reports: Arc<Semaphore>,
}

impl Attempt {
    /// Makes a call; others may have the turn while its result is told.
    async fn work(self, job: Job, turn: OwnedSemaphorePermit) {
        match self.call(&job).await {
            Ok(response) => self.report(&job, response, turn).await,
            Err(error) => warn!(function = job.head().name, %error, "Could not make an asynchronous call"),
        }
        job.done();
    }

    async fn call(&self, job: &Job) -> anyhow::Result<Response<Body>> {
        let request = job.request()?;
        let stamp = Stamp::again(request.headers());
        let name = &job.head().name;
        Ok(match self.platform.find(name) {
            Some(function) => invoke::call(&self.platform, function, request, stamp).await,
            None => {
                let mut response = invoke::unknown(name);
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                stamp.mark_response(response.headers_mut(), &self.platform.node().name);
                response
            }
        })
    }

    /// Reads a result to its end, for the function's sake too, and tells it.
    async fn report(&self, job: &Job, response: Response<Body>, turn: OwnedSemaphorePermit) {
        let (mut head, body) = response.into_parts();
        let spool = self.platform.node().host.spool();
        let kept = spool.keep(body).await;
        drop(turn);
        let Some(callback) = &job.head().callback else {
            return;
        };
        let input = kept.unwrap_or_else(|error| {
            head.status = StatusCode::SERVICE_UNAVAILABLE;
            Input::Memory(format!("read the function's answer: {error}\n").into())
        });
        let name = &job.head().name;
        invoke::unframe(&mut head.headers);
        head.headers.insert(CONTENT_LENGTH, input.length().into());
        head.headers
            .insert(FUNCTION_STATUS, HeaderValue::from(head.status.as_u16()));
        if let Ok(name) = HeaderValue::try_from(name) {
            head.headers.insert(FUNCTION_NAME, name);
        }
        // It is never closed.
        let _turn = self.reports.acquire().await;
        if let Err(error) = self.callbacks.tell(callback, &head.headers, &input).await {
            self.counts.callbacks_failed.fetch_add(1, Relaxed);
            warn!(function = name, %error, "Lost the result of an asynchronous call");
        }
    }
}
