//! `/system/logs`: a function's lines as JSON, one a line, now and as they come.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Request, Response, StatusCode};
use jiff::Timestamp;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{mpsc, watch};

use super::{is_read, method_not_allowed, query_value};
use crate::platform::Platform;
use crate::run::function_log::Line;
use crate::state::name::{FunctionName, NameError};
use crate::web::body::Body;
use crate::web::reply;
use crate::web::server::Stage;
use crate::wire::LogMessage;

/// Lines on their way to a follower; the log itself keeps those behind them.
const LINES_IN_FLIGHT: usize = 16;

/// A reader that is gone is noticed by writing. An empty line between two JSON texts means nothing.
const HEARTBEAT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
enum QueryError {
    #[error("name: {0}; ask for /system/logs?name=FUNCTION")]
    Name(#[from] NameError),
    #[error("instance is {0:?}, and every line of a function comes from this node; leave it out")]
    Instance(String),
    #[error("tail is {0:?}; give a number of lines, or -1 for all of them")]
    Tail(String),
    #[error("since is {text:?}: {source}; give a time as in 2026-01-02T15:04:05Z")]
    Since { text: String, source: jiff::Error },
    #[error("follow is {0:?}, not true or false")]
    Follow(String),
}

struct Query {
    function: FunctionName,
    tail: usize,
    since: Option<Timestamp>,
    follow: bool,
}

pub(super) fn read(
    platform: &Platform,
    stage: watch::Receiver<Stage>,
    request: &Request<Incoming>,
) -> Response<Body> {
    if !is_read(request.method()) {
        return method_not_allowed("GET");
    }
    let query = match Query::of(request) {
        Ok(query) => query,
        Err(error) => return reply::text(StatusCode::UNPROCESSABLE_ENTITY, error),
    };
    let function = match platform.get(&query.function) {
        Ok(function) => function,
        Err(error) => return reply::text(error.status(), error),
    };
    let (lines, live) = function.log().read(query.since, query.tail);
    let body = match query.follow {
        true => following(query.function, lines, live, stage),
        false => Body::whole(
            lines
                .iter()
                .map(|line| message(&query.function, line))
                .collect::<Vec<_>>()
                .concat(),
        ),
    };
    let mut response = Response::new(body);
    let content_type = HeaderValue::from_static("application/x-ndjson");
    response
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, content_type);
    response
}

impl Query {
    fn of(request: &Request<Incoming>) -> Result<Self, QueryError> {
        let value = |name| query_value(request, name).filter(|value| !value.is_empty());
        let namespace = value("namespace").unwrap_or_default();
        if let Some(instance) = value("instance") {
            return Err(QueryError::Instance(instance));
        }
        Ok(Self {
            function: FunctionName::new(&value("name").unwrap_or_default(), &namespace)?,
            tail: value("tail").map_or(Ok(usize::MAX), tail)?,
            since: value("since").map(since).transpose()?,
            follow: value("follow").map_or(Ok(false), follow)?,
        })
    }
}

fn tail(text: String) -> Result<usize, QueryError> {
    match text.parse::<i64>() {
        Ok(lines) => Ok(usize::try_from(lines).unwrap_or(usize::MAX)),
        Err(_) => Err(QueryError::Tail(text)),
    }
}

fn since(text: String) -> Result<Timestamp, QueryError> {
    text.parse().map_err(|source| QueryError::Since { text, source })
}

fn follow(text: String) -> Result<bool, QueryError> {
    match text.as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(QueryError::Follow(text)),
    }
}

/// Sends lines until the reader leaves, the function's log ends or the server stops.
fn following(
    function: FunctionName,
    lines: Vec<Arc<Line>>,
    mut live: broadcast::Receiver<Arc<Line>>,
    mut stage: watch::Receiver<Stage>,
) -> Body {
    let (sender, receiver) = mpsc::channel(LINES_IN_FLIGHT);
    tokio::spawn(async move {
        let reader = sender.clone();
        let send = async {
            for line in lines {
                sender.send(message(&function, &line)).await?;
            }
            loop {
                match tokio::time::timeout(HEARTBEAT, live.recv()).await {
                    Ok(Ok(line)) => sender.send(message(&function, &line)).await?,
                    Ok(Err(RecvError::Lagged(_))) => {}
                    Ok(Err(RecvError::Closed)) => return Ok::<_, mpsc::error::SendError<Bytes>>(()),
                    Err(_) => sender.send(Bytes::from_static(b"\n")).await?,
                }
            }
        };
        tokio::select! {
            _ = send => {}
            () = reader.closed() => {}
            _ = stage.wait_for(|stage| *stage > Stage::Serving) => {}
        }
    });
    Body::lines(receiver)
}

fn message(function: &FunctionName, line: &Line) -> Bytes {
    let message = LogMessage {
        name: &function.name,
        namespace: &function.namespace,
        instance: &line.instance,
        timestamp: line.timestamp,
        text: &line.text,
    };
    let mut json = serde_json::to_vec(&message).expect("strings and a time are JSON");
    json.push(b'\n');
    json.into()
}
