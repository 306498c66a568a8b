//! Calls whose answer begins with the process and goes on with what it writes, as in the of-watchdog's streaming mode.

use std::os::fd::OwnedFd;
use std::process::{ChildStdin, Stdio};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use hyper::header::HeaderValue;
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::{CallError, Classic, describe, environment, run, within};
use crate::run::launch::Slot;
use crate::web::body::Body;
use crate::web::reply;

/// What the forking modes of the of-watchdog say of their output.
pub(super) const CONTENT_TYPE_DEFAULT: HeaderValue = HeaderValue::from_static("application/octet-stream");

const CHUNK_BYTES: usize = 32 << 10;
const CHUNKS_IN_FLIGHT: usize = 4;

/// Answers as soon as the process runs. It is killed when its caller leaves or its time is up.
pub(super) async fn call(classic: &Classic, request: Request<Body>) -> Result<Response<Body>, CallError> {
    let slot = classic.launch.slot().await.ok_or(CallError::Busy)?;
    let (head, body) = request.into_parts();
    let started = classic.launch.command().and_then(|mut command| {
        if classic.settings.cgi_headers {
            command.envs(environment::variables(&head, body.size_hint().exact()));
        }
        command.stdin(Stdio::piped());
        run::start(&classic.launch, command, classic.settings.combine_output)
    });
    let started = started.map_err(|source| CallError::Start {
        program: classic.launch.program().to_owned(),
        source,
    })?;
    let (chunks, output) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let work = converse(classic.clone(), started, body, chunks, slot);
    let detached = classic.launch.clone();
    tokio::spawn(async move { detached.detached().finish(work).await });
    let content_type = classic.settings.content_type.clone();
    let mut response = reply::typed(
        StatusCode::OK,
        content_type.unwrap_or(CONTENT_TYPE_DEFAULT),
        Bytes::new(),
    );
    *response.body_mut() = Body::lines(output);
    Ok(response)
}

async fn converse(
    classic: Classic,
    started: run::Started,
    body: Body,
    chunks: mpsc::Sender<Bytes>,
    slot: Slot,
) {
    let run::Started {
        mut process,
        input,
        output,
        errors,
    } = started;
    let pid = process.id();
    let caller = chunks.clone();
    let talk = async {
        // What the process leaves unread of its input does not hold its output back.
        let write = async {
            copy(output, chunks).await;
            run::note_errors(errors, pid, &classic.log).await
        };
        tokio::select! {
            written = write => written,
            never = feed(input, body) => match never {},
        }
    };
    let memory = run::Memory::of(classic.launch.isolation());
    let run = async {
        tokio::select! {
            talked = talk => talked?,
            error = memory.exceeded(pid) => return Err(error),
        }
        let status = process.wait().await?;
        memory.check(status)?;
        Ok::<_, CallError>(status)
    };
    let ended = tokio::select! {
        ended = within(classic.settings.exec_timeout, run) => ended,
        () = caller.closed() => None,
    };
    let text = match ended {
        Some(Ok(status)) if status.success() => return drop(slot),
        Some(Ok(status)) => describe(status),
        Some(Err(error)) => error.to_string(),
        None => "killed: its time was up, or its caller left".to_owned(),
    };
    classic.log.push(pid, text);
}

async fn copy(mut output: pipe::Receiver, chunks: mpsc::Sender<Bytes>) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK_BYTES);
        match output.read_buf(&mut buffer).await {
            Ok(1..) if chunks.send(buffer.split().freeze()).await.is_ok() => {}
            Ok(_) | Err(_) => return,
        }
    }
}

async fn feed(input: Option<ChildStdin>, mut body: Body) -> std::convert::Infallible {
    let pipe = input.map(|input| pipe::Sender::from_owned_fd(OwnedFd::from(input)));
    if let Some(Ok(mut pipe)) = pipe {
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            if pipe.write_all(&data).await.is_err() {
                break;
            }
        }
    }
    std::future::pending().await
}
