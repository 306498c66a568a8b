//! Functions that are a process for each call, as under the classic watchdog: the request's body is the
//! input, what the process writes is the answer, and its exit status says whether it went well.

mod environment;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;

use crate::body::{Body, BodyError};
use crate::clock;
use crate::function_log::FunctionLog;
use crate::launch::Launch;
use crate::process::Process;
use crate::reply;
use crate::settings::Settings;

const PART: &str = "classic-watchdog";

#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("start {program:?}: {source}; install it on this node or change the function's envProcess")]
    Start { program: String, source: io::Error },
    #[error("read the request: {0}")]
    Request(#[from] BodyError),
    #[error("the function wrote more than {0} bytes and was killed; raise max_output_bytes to allow more")]
    Output(u64),
    #[error("run the function: {0}")]
    Process(#[from] io::Error),
}

impl CallError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Start { .. } | Self::Process(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Request(BodyError::TooLong(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Request(BodyError::Silent(_)) => StatusCode::REQUEST_TIMEOUT,
            Self::Request(BodyError::Connection(_)) => StatusCode::BAD_REQUEST,
            Self::Output(_) => StatusCode::BAD_GATEWAY,
        }
    }
}

struct Finished {
    process: u32,
    status: ExitStatus,
    output: Vec<u8>,
}

/// The ends of a process that the platform keeps.
struct Started {
    process: Process,
    input: Option<ChildStdin>,
    output: pipe::Receiver,
    errors: Option<pipe::Receiver>,
}

/// Runs one call. Dropping the future kills the process and everything it started.
pub(crate) async fn call(
    launch: &Launch,
    settings: &Settings,
    log: &FunctionLog,
    request: Request<Body>,
) -> Response<Body> {
    if matches!(*request.method(), Method::HEAD | Method::OPTIONS) {
        return method_not_allowed();
    }
    let content_type = answer_type(settings, &request);
    let Some(_slot) = launch.slot().await else {
        return busy();
    };
    let arrived = clock::now();
    match within(settings.exec_timeout, run(launch, settings, log, request)).await {
        None => killed(),
        Some(Err(error)) => {
            log.push(std::process::id(), error.to_string());
            reply::internal(PART, reply::text(error.status(), error))
        }
        Some(Ok(finished)) => {
            record(
                log,
                settings,
                &finished,
                clock::now().saturating_duration_since(arrived),
            );
            answer(finished, content_type)
        }
    }
}

async fn run(
    launch: &Launch,
    settings: &Settings,
    log: &FunctionLog,
    request: Request<Body>,
) -> Result<Finished, CallError> {
    let (head, body) = request.into_parts();
    let refused = |source| CallError::Start {
        program: launch.program().to_owned(),
        source,
    };
    let mut command = launch.command().map_err(refused)?;
    command.envs(environment::variables(&head, body.size_hint().exact()));
    let stdin = if body.is_end_stream() {
        Stdio::null()
    } else {
        Stdio::piped()
    };
    command.stdin(stdin);
    let started = start(launch, command, settings.combine_output).map_err(refused)?;
    let Started {
        mut process,
        input,
        output,
        errors,
    } = started;
    let pid = process.id();
    let ((), output, (), status) = tokio::try_join!(
        feed(input, body),
        collect(output, settings.output_bytes_max),
        note_errors(errors, pid, log),
        async { Ok(process.wait().await?) },
    )?;
    Ok(Finished {
        process: pid,
        status,
        output,
    })
}

fn start(launch: &Launch, mut command: Command, combined: bool) -> io::Result<Started> {
    let (output, writer) = io::pipe()?;
    let errors = match combined {
        true => {
            command.stderr(writer.try_clone()?);
            None
        }
        false => {
            let (errors, writer) = io::pipe()?;
            command.stderr(writer);
            Some(receiver(errors)?)
        }
    };
    command.stdout(writer);
    let mut process = launch.start(&mut command)?;
    let input = process.take_input();
    Ok(Started {
        process,
        input,
        output: receiver(output)?,
        errors,
    })
}

fn receiver(reader: io::PipeReader) -> io::Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd(OwnedFd::from(reader))
}

/// Writes the whole request to the process, which need not read it.
async fn feed(input: Option<ChildStdin>, mut body: Body) -> Result<(), CallError> {
    let mut pipe = input
        .map(|input| pipe::Sender::from_owned_fd(OwnedFd::from(input)))
        .transpose()?;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if let Some(open) = &mut pipe
            && open.write_all(&data).await.is_err()
        {
            pipe = None;
        }
    }
    Ok(())
}

async fn collect(output: pipe::Receiver, limit: u64) -> Result<Vec<u8>, CallError> {
    let mut collected = Vec::new();
    let length = output
        .take(limit.saturating_add(1))
        .read_to_end(&mut collected)
        .await?;
    match length as u64 > limit {
        true => Err(CallError::Output(limit)),
        false => Ok(collected),
    }
}

async fn note_errors(errors: Option<pipe::Receiver>, pid: u32, log: &FunctionLog) -> Result<(), CallError> {
    match errors {
        Some(errors) => Ok(log.copy(pid, "stderr: ", errors).await?),
        None => Ok(()),
    }
}

/// Gives up after `limit`, if it is not zero.
async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    match limit {
        Duration::ZERO => Some(work.await),
        limit => tokio::time::timeout(limit, work).await.ok(),
    }
}

fn record(log: &FunctionLog, settings: &Settings, finished: &Finished, took: Duration) {
    if settings.write_debug {
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

fn answer(finished: Finished, content_type: HeaderValue) -> Response<Body> {
    if finished.status.success() {
        return reply::typed(StatusCode::OK, content_type, finished.output);
    }
    let mut text = describe(finished.status).into_bytes();
    text.push(b'\n');
    text.extend(finished.output);
    reply::typed(StatusCode::INTERNAL_SERVER_ERROR, content_type, text)
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

fn answer_type(settings: &Settings, request: &Request<Body>) -> HeaderValue {
    let asked = request.headers().get(CONTENT_TYPE);
    settings
        .content_type
        .as_ref()
        .or(asked)
        .cloned()
        .unwrap_or(HeaderValue::from_static("text/plain"))
}

fn killed() -> Response<Body> {
    let text = Bytes::from_static(b"Killed process.\n");
    let response = reply::typed(
        StatusCode::REQUEST_TIMEOUT,
        HeaderValue::from_static("text/plain; charset=utf-8"),
        text,
    );
    reply::internal(PART, response)
}

fn busy() -> Response<Body> {
    let text = "this node runs as many processes as it may; try again later, or raise its --max-processes";
    reply::internal(PART, reply::text(StatusCode::SERVICE_UNAVAILABLE, text))
}

fn method_not_allowed() -> Response<Body> {
    let text = "this function takes GET, POST, PUT, PATCH and DELETE";
    let mut response = reply::internal(PART, reply::text(StatusCode::METHOD_NOT_ALLOWED, text));
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE"));
    response
}
