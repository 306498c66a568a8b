//! The agent tells how it is: a small HTTP server for operators, probes and Prometheus.

mod answer;

use std::{convert::Infallible, io::ErrorKind, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Error, Result, anyhow};
use http_body_util::Full;
use hyper::{Method, Request, Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, oneshot},
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use self::answer::Page;
use crate::report::{Health, Report};

/// Questions wait while the loop is busy; more would only wait longer.
const QUESTIONS_MAX: usize = 16;
/// A probe, a scraper and some people. Whoever comes on top waits in the kernel.
const CONNECTIONS_MAX: usize = 64;
/// The loop turns in milliseconds. One that does not answer for so long hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Without file descriptors there is nothing to do but wait for a connection to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the API asks the loop.
#[derive(Debug)]
pub(crate) enum Question {
    /// Whether all is well.
    Health(oneshot::Sender<Health>),
    /// Everything, or why it could not be read.
    Report(oneshot::Sender<Result<Box<Report>, String>>),
}

/// Takes the address.
///
/// # Errors
/// It is taken already, or not of this host.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        if error.kind() != ErrorKind::AddrInUse {
            return anyhow!("listen on {address} (--api): {error}");
        }
        let port = address.port();
        anyhow!(
            "listen on {address} (--api): the port is in use, maybe by another agent; \
             `ss -ltnp 'sport = :{port}'` tells by whom"
        )
    })
}

/// Answers in the background; the questions come out here.
pub(crate) fn start(listener: TcpListener) -> mpsc::Receiver<Question> {
    let (questions, receiver) = mpsc::channel(QUESTIONS_MAX);
    tokio::spawn(accept_all(listener, questions));
    receiver
}

async fn accept_all(listener: TcpListener, questions: mpsc::Sender<Question>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let questions = questions.clone();
                tokio::spawn(async move {
                    converse(stream, &questions).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "Could not accept a connection to the API");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, questions: &mpsc::Sender<Question>) {
    let service = service_fn(async |request: Request<_>| {
        Ok::<_, Infallible>(respond(request.method(), request.uri().path(), questions).await)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        debug!(%error, "A connection to the API ended early");
    }
}

async fn respond(method: &Method, path: &str, questions: &mpsc::Sender<Question>) -> Response<Full<Bytes>> {
    let page = match answer::page(method, path) {
        Ok(page) => page,
        Err(refusal) => return answer::refusal(refusal),
    };
    let answered = match page {
        Page::Health => ask(questions, Question::Health)
            .await
            .map(|health| answer::health(&health)),
        Page::Live => ask(questions, Question::Health).await.map(|_| answer::live()),
        Page::Metrics => ask(questions, Question::Report)
            .await
            .map(|report| answer::metrics(report.as_deref())),
        Page::Status => ask(questions, Question::Report)
            .await
            .map(|report| answer::status(report.as_deref())),
    };
    answered.unwrap_or_else(|error| answer::unavailable(&error))
}

async fn ask<T>(
    questions: &mpsc::Sender<Question>,
    question: fn(oneshot::Sender<T>) -> Question,
) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    let exchange = async {
        questions
            .send(question(sender))
            .await
            .map_err(|_closed| stopping())?;
        receiver.await.map_err(|_closed| stopping())
    };
    timeout(ANSWER_TIMEOUT, exchange)
        .await
        .with_context(|| format!("the agent's loop has not answered for {ANSWER_TIMEOUT:?}"))?
}

fn stopping() -> Error {
    anyhow!("the agent is stopping")
}

#[cfg(test)]
mod tests;
