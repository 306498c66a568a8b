//! The agent tells how it is: a small HTTP server for operators, probes and Prometheus.

mod answer;
pub(crate) mod changes;

use std::{
    convert::Infallible, io::ErrorKind, net::SocketAddr, os::unix::net::UnixListener, sync::Arc,
    time::Duration,
};

use anyhow::{Context, Error, Result, anyhow};
use dfaas_control::{Explanation, FunctionName, StrategyKind, SwitchError};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{self, TcpListener},
    sync::{Semaphore, mpsc, oneshot},
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use self::answer::{Page, Refusal};
use crate::report::{Health, Report};

/// Questions wait while the loop is busy; more would only wait longer.
const QUESTIONS_MAX: usize = 16;
/// A probe, a scraper and some people. Whoever comes on top waits in the kernel.
const CONNECTIONS_MAX: usize = 64;
/// The loop turns in milliseconds. One that does not answer for so long hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// More than the longest name of a strategy.
const NAME_BYTES_MAX: usize = 64;
/// Without file descriptors there is nothing to do but wait for a connection to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the API asks the loop.
#[derive(Debug)]
pub(crate) enum Question {
    /// Whether all is well.
    Health(oneshot::Sender<Health>),
    /// Everything, or why it could not be read.
    Report(oneshot::Sender<Result<Box<Report>, String>>),
    /// Why requests for a function go where they go, if it is known.
    Explain(FunctionName, oneshot::Sender<Option<Explanation>>),
    /// Which strategy decides.
    Strategy(oneshot::Sender<StrategyKind>),
    /// Whether another strategy can take over.
    Switch(StrategyKind, oneshot::Sender<Result<(), SwitchError>>),
}

/// Where the agent is asked.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// For everybody who reaches it.
    questions: std::net::TcpListener,
    /// For who may change something.
    changes: UnixListener,
}

/// Takes the address, and the name for changes that goes with it.
///
/// # Errors
/// It is taken already, or not of this host.
pub(crate) fn bind(address: SocketAddr) -> Result<Listeners> {
    let questions = bind_questions(address)?;
    let changes = changes::bind(questions.local_addr()?)
        .with_context(|| format!("take changes for the API at {address}: another agent has its name"))?;
    Ok(Listeners { questions, changes })
}

fn bind_questions(address: SocketAddr) -> Result<std::net::TcpListener> {
    let bound = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|error| {
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
///
/// # Errors
/// The listener cannot be watched.
pub(crate) fn start(listeners: Listeners) -> Result<mpsc::Receiver<Question>> {
    let listener = TcpListener::from_std(listeners.questions).context("listening (--api)")?;
    let changes = net::UnixListener::from_std(listeners.changes).context("listening for changes")?;
    let (questions, receiver) = mpsc::channel(QUESTIONS_MAX);
    let accept = async move || Ok((listener.accept().await?.0, false));
    tokio::spawn(accept_all(accept, questions.clone()));
    let accept = async move || {
        let (stream, _) = changes.accept().await?;
        let may_change = changes::is_owner(&stream);
        Ok((stream, may_change))
    };
    tokio::spawn(accept_all(accept, questions));
    Ok(receiver)
}

/// Converses with all who come, and may change something or not.
async fn accept_all<S>(
    accept: impl AsyncFn() -> std::io::Result<(S, bool)>,
    questions: mpsc::Sender<Question>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        match accept().await {
            Ok((stream, may_change)) => {
                let questions = questions.clone();
                tokio::spawn(async move {
                    converse(stream, may_change, &questions).await;
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

async fn converse<S>(stream: S, may_change: bool, questions: &mpsc::Sender<Question>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(if request.method() == Method::PUT {
            change(may_change, request, questions).await
        } else {
            respond(request.method(), request.uri().path(), questions).await
        })
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
        Page::Strategy => ask(questions, Question::Strategy)
            .await
            .map(|strategy| answer::text(StatusCode::OK, strategy)),
        Page::Explanation(name) => ask(questions, |sender| Question::Explain(name, sender))
            .await
            .map(answer::explanation),
        Page::Status => ask(questions, Question::Report)
            .await
            .map(|report| answer::status(report.as_deref())),
    };
    answered.unwrap_or_else(|error| answer::unavailable(&error))
}

/// Changes the strategy.
async fn change<B>(
    may_change: bool,
    request: Request<B>,
    questions: &mpsc::Sender<Question>,
) -> Response<Full<Bytes>>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match answer::page(&Method::GET, request.uri().path()) {
        Ok(Page::Strategy) => {}
        Ok(_) => return answer::refusal(Refusal::Method),
        Err(refusal) => return answer::refusal(refusal),
    }
    if !may_change {
        return answer::text(
            StatusCode::FORBIDDEN,
            "only root and the agent's user change the strategy, by `dfaas-agent strategy NAME` on its host",
        );
    }
    let body = timeout(
        HEAD_TIMEOUT,
        Limited::new(request.into_body(), NAME_BYTES_MAX).collect(),
    )
    .await;
    let Ok(Ok(body)) = body else {
        return answer::text(StatusCode::BAD_REQUEST, "the body is not the name of a strategy");
    };
    let kind = match String::from_utf8_lossy(&body.to_bytes())
        .trim()
        .parse::<StrategyKind>()
    {
        Ok(kind) => kind,
        Err(error) => return answer::text(StatusCode::BAD_REQUEST, error),
    };
    match ask(questions, |sender| Question::Switch(kind, sender)).await {
        Ok(Ok(())) => answer::text(
            StatusCode::ACCEPTED,
            format_args!(
                "{kind} takes over within four periods, until the agent is started anew: --strategy is what lasts"
            ),
        ),
        Ok(Err(error)) => answer::text(StatusCode::CONFLICT, error),
        Err(error) => answer::unavailable(&error),
    }
}

async fn ask<T>(
    questions: &mpsc::Sender<Question>,
    question: impl FnOnce(oneshot::Sender<T>) -> Question,
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
