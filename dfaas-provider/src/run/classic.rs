//! Functions that are a process for each call, as under the classic watchdog and the forking modes of the of-watchdog:
//! the request's body is the input, what the process writes is the answer, and its exit status says whether it went
//! well.

mod environment;
mod marshal;
mod run;
mod sniff;
mod stream;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Body as _;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};

use self::run::{Finished, Started};
use crate::clock;
use crate::run::function_log::FunctionLog;
use crate::run::launch::Launch;
use crate::run::settings::{Mode, Settings};
use crate::web::body::Body;
use crate::web::reply;
use crate::web::spool::{Input, SpoolError};

const PART: &str = "classic-watchdog";

#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("start {program:?}: {source}; install it on this node or change the function's envProcess")]
    Start { program: String, source: io::Error },
    #[error("read the request: {0}")]
    Request(#[from] SpoolError),
    #[error("the function wrote more than {0} bytes and was killed; raise max_output_bytes to allow more")]
    Output(u64),
    #[error("the function was killed: it took more memory than the {0} bytes of its limits.memory")]
    Memory(u64),
    #[error("run the function: {0}")]
    Process(#[from] io::Error),
    #[error(
        "this node or this function runs as many processes as it may; try again later, or raise --max-processes"
    )]
    Busy,
    #[error("this node is stopping")]
    Stopping,
}

impl CallError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Start { .. } | Self::Process(_) | Self::Memory(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Request(error) => error.status(),
            Self::Output(_) => StatusCode::BAD_GATEWAY,
            Self::Busy | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// What every call of a function uses.
#[derive(Clone, Debug)]
pub(crate) struct Classic {
    pub(crate) launch: Arc<Launch>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) log: Arc<FunctionLog>,
}

impl Classic {
    /// Runs one call, to its end even if the caller leaves.
    pub(crate) async fn call(&self, request: Request<Body>) -> Response<Body> {
        let classic = self.settings.mode == Mode::Classic;
        if classic && matches!(*request.method(), Method::HEAD | Method::OPTIONS) {
            return method_not_allowed();
        }
        let answered = match self.settings.mode {
            Mode::Streaming => stream::call(self, request).await,
            Mode::Classic | Mode::Serializing | Mode::Warm { .. } => self.call_whole(request).await,
        };
        answered.unwrap_or_else(|error| {
            self.log.push(std::process::id(), error.to_string());
            reply::internal(PART, reply::text(error.status(), error))
        })
    }

    /// Reads the whole request before it takes a turn: a slow caller must keep nobody else waiting.
    async fn call_whole(&self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        let (head, body) = request.into_parts();
        let known_length = body.size_hint().exact();
        let mut input = self.launch.spool().keep(body).await?;
        if self.settings.marshal_request {
            input = marshal::request(&head, &input)?;
        }
        let call = Self::finish(self.clone(), head, known_length, input);
        let finished = self.launch.detached().finish(call).await;
        finished.unwrap_or(Err(CallError::Stopping))
    }

    async fn finish(
        self,
        head: Parts,
        known_length: Option<u64>,
        input: Input,
    ) -> Result<Response<Body>, CallError> {
        let _slot = self.launch.slot().await.ok_or(CallError::Busy)?;
        let begun = clock::now();
        let started = self.start(&head, known_length, &input)?;
        let limit = self.settings.exec_timeout;
        let Some(finished) = within(limit, run::to_its_end(started, &self, input)).await else {
            return Ok(self.killed());
        };
        let finished = finished?;
        self.record(&finished, clock::now().saturating_duration_since(begun));
        Ok(self.answer(finished, head.headers.get(CONTENT_TYPE)))
    }

    fn start(&self, head: &Parts, known_length: Option<u64>, input: &Input) -> Result<Started, CallError> {
        let started = self.launch.command().and_then(|mut command| {
            if self.settings.cgi_headers {
                command.envs(environment::variables(head, known_length));
            }
            command.stdin(input.stdio()?);
            run::start(&self.launch, command, self.settings.combine_output)
        });
        started.map_err(|source| CallError::Start {
            program: self.launch.program().to_owned(),
            source,
        })
    }

    fn record(&self, finished: &Finished, took: Duration) {
        let log = &self.log;
        if self.settings.write_debug {
            let text = String::from_utf8_lossy(&finished.output);
            text.lines().for_each(|line| log.push(finished.process, line));
        }
        let length = finished.output.len();
        log.push(
            finished.process,
            format!("Wrote {length} Bytes - Duration: {:.6}s", took.as_secs_f64()),
        );
        if !finished.status.success() {
            log.push(finished.process, describe(finished.status));
        }
    }

    /// Only a success has the type that the function or its caller chose.
    fn answer(&self, finished: Finished, asked: Option<&HeaderValue>) -> Response<Body> {
        let Finished { status, output, .. } = finished;
        if status.success() {
            let content_type = match (&self.settings.content_type, &self.settings.mode) {
                (Some(content_type), _) => Some(content_type.clone()),
                (None, Mode::Classic) => asked.cloned(),
                (None, _) => Some(stream::CONTENT_TYPE_DEFAULT),
            };
            let content_type = content_type.unwrap_or_else(|| sniff::content_type(&output));
            return reply::typed(StatusCode::OK, content_type, output);
        }
        let mut text = describe(status).into_bytes();
        text.push(b'\n');
        if self.settings.mode == Mode::Classic {
            text.extend(output);
        }
        reply::typed(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, text)
    }

    fn killed(&self) -> Response<Body> {
        let (status, text) = match self.settings.mode {
            Mode::Serializing => (StatusCode::INTERNAL_SERVER_ERROR, "signal: killed\n"),
            Mode::Classic | Mode::Streaming | Mode::Warm { .. } => {
                (StatusCode::REQUEST_TIMEOUT, "Killed process.\n")
            }
        };
        reply::internal(PART, reply::typed(status, PLAIN, text))
    }
}

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Gives up after `limit`, if it is not zero.
async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    match limit {
        Duration::ZERO => Some(work.await),
        limit => tokio::time::timeout(limit, work).await.ok(),
    }
}

/// Describes an exit as Go does.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(9)) => "signal: killed".to_owned(),
        (None, Some(15)) => "signal: terminated".to_owned(),
        (None, signal) => format!("signal: {}", signal.unwrap_or_default()),
    }
}

fn method_not_allowed() -> Response<Body> {
    let text = "this function takes GET, POST, PUT, PATCH and DELETE";
    let mut response = reply::internal(PART, reply::text(StatusCode::METHOD_NOT_ALLOWED, text));
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE"));
    response
}
