//! The OpenFaaS gateway's paths, whole for clients or only those that call functions.

mod alert;
mod functions;
mod logs;
mod namespaces;
mod origin;
mod page;
mod secrets;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::calls::invoke;
use crate::calls::queue::{self, Queue};
use crate::metrics;
use crate::platform::Platform;
use crate::state::name::DEFAULT_NAMESPACE;
use crate::web::auth::{self, Credentials};
use crate::web::body::{Body, BodyError};
use crate::web::reply;
use crate::web::server::{Answer, Stage};

/// Room for a secret of a megabyte, in base64.
const JSON_BYTES_MAX: u64 = 2 << 20;

pub(crate) struct Gateway {
    platform: Arc<Platform>,
    queue: Queue,
    credentials: Option<Credentials>,
    stage: watch::Receiver<Stage>,
}

impl Gateway {
    pub(crate) fn new(
        platform: Arc<Platform>,
        queue: Queue,
        credentials: Option<Credentials>,
        stage: watch::Receiver<Stage>,
    ) -> Self {
        Self {
            platform,
            queue,
            credentials,
            stage,
        }
    }

    async fn call(
        &self,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Request<Incoming>> {
        let path = request.uri().path();
        if path.starts_with(invoke::PREFIX) {
            Ok(invoke::invoke(&self.platform, peer, request).await)
        } else if path.starts_with(queue::PREFIX) {
            Ok(Box::pin(self.queue.take(&self.platform, peer, request)).await)
        } else if path == "/healthz" {
            Ok(health(request.method()))
        } else {
            Err(request)
        }
    }

    async fn administer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        if path == "/metrics" {
            return self.metrics(request.method());
        }
        if path == "/" {
            return page::redirect();
        }
        let is_page = path == page::PATH;
        let rest = match path.strip_prefix("/system/") {
            Some(rest) => rest,
            None if is_page => "",
            None => return not_found(path),
        };
        if let Some(refusal) = self.refusal(request.headers()) {
            return refusal;
        }
        if is_page {
            return page::show(&self.platform);
        }
        let patience = self.platform.node().client_timeout;
        let rest = rest.to_owned();
        let (collection, name) = rest.split_once('/').unwrap_or((&rest, ""));
        match (collection, name) {
            ("info", "") => info(request.method()),
            ("alert", "") => alert::take(self.platform(), request, patience).await,
            ("telemetry", "") => self.telemetry(request.method()),
            ("functions", "") => functions::collection(self.platform(), request, patience).await,
            ("function", name) => functions::one(&self.platform, name, &request).await,
            ("scale-function", name) => {
                functions::scale(self.platform(), name.to_owned(), request, patience).await
            }
            ("secrets", "") => secrets::collection(self.platform(), request, patience).await,
            ("namespaces", "") => namespaces::list(&self.platform, request.method()),
            ("namespace", name) => namespaces::one(self.platform(), name.to_owned(), request, patience).await,
            ("logs", "") => logs::read(&self.platform, self.stage.clone(), &request),
            (_, _) => not_found(request.uri().path()),
        }
    }

    fn refusal(&self, headers: &HeaderMap) -> Option<Response<Body>> {
        let refused = origin::check(headers, self.credentials.is_some());
        refused.or_else(|| {
            let credentials = self.credentials.as_ref()?;
            (!credentials.accept(headers)).then(auth::refusal)
        })
    }

    fn telemetry(&self, method: &Method) -> Response<Body> {
        if !is_read(method) {
            return method_not_allowed("GET");
        }
        let functions = self.platform.all();
        let (mut replicas, mut calls) = (0_u64, 0_u64);
        for function in &functions {
            replicas += u64::from(function.replicas());
            calls += function.stats().finished();
        }
        let telemetry = serde_json::json!({
            "functions": functions.len(),
            "replicas": replicas,
            "invocations": calls,
            "namespaces": self.platform.namespaces.list().len(),
        });
        reply::json(StatusCode::OK, &telemetry)
    }

    fn platform(&self) -> Arc<Platform> {
        Arc::clone(&self.platform)
    }

    fn metrics(&self, method: &Method) -> Response<Body> {
        if !is_read(method) {
            return method_not_allowed("GET");
        }
        let functions = self.platform.all();
        let mut text = metrics::text(functions.iter().map(|function| &**function));
        text.push_str(&metrics::queue(self.queue.counts()));
        reply::typed(
            StatusCode::OK,
            HeaderValue::from_static(metrics::CONTENT_TYPE),
            text,
        )
    }
}

/// The whole surface.
#[derive(Clone)]
pub(crate) struct Whole(pub(crate) Arc<Gateway>);

impl Answer for Whole {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        match self.0.call(peer, request).await {
            Ok(response) => response,
            Err(request) => Box::pin(self.0.administer(request)).await,
        }
    }
}

/// Calls of functions and nothing else.
#[derive(Clone)]
pub(crate) struct FunctionsOnly(pub(crate) Arc<Gateway>);

impl Answer for FunctionsOnly {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        match self.0.call(peer, request).await {
            Ok(response) => response,
            Err(request) => not_found(request.uri().path()),
        }
    }
}

fn health(method: &Method) -> Response<Body> {
    match is_read(method) {
        true => reply::empty(StatusCode::OK),
        false => method_not_allowed("GET"),
    }
}

#[derive(Serialize)]
struct Version {
    sha: &'static str,
    release: &'static str,
    commit_message: &'static str,
}

const VERSION: Version = Version {
    sha: "",
    release: env!("CARGO_PKG_VERSION"),
    commit_message: "",
};

/// `faas-cli version` reads every part of this without looking whether it is there.
fn info(method: &Method) -> Response<Body> {
    if !is_read(method) {
        return method_not_allowed("GET");
    }
    let info = serde_json::json!({
        "provider": { "provider": "dfaas", "version": VERSION, "orchestration": "process" },
        "version": VERSION,
        "arch": std::env::consts::ARCH,
    });
    reply::json(StatusCode::OK, &info)
}

fn not_found(path: &str) -> Response<Body> {
    let text = format!("there is no {path} here; functions are called at /function/NAME");
    reply::text(StatusCode::NOT_FOUND, text)
}

fn method_not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = reply::text(
        StatusCode::METHOD_NOT_ALLOWED,
        format_args!("this path takes {allowed}"),
    );
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn namespace_in_query(request: &Request<Incoming>) -> String {
    or_default(&query_value(request, "namespace").unwrap_or_default()).to_owned()
}

fn or_default(namespace: &str) -> &str {
    match namespace {
        "" => DEFAULT_NAMESPACE,
        namespace => namespace,
    }
}

/// The value of a query parameter, decoded.
fn query_value(request: &Request<Incoming>, name: &str) -> Option<String> {
    let pairs = request
        .uri()
        .query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(key, _)| *key == name)?;
    Some(decode(value))
}

/// Decodes percent signs and pluses; what is no code stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            (_, _) => None,
        };
        rest = match code {
            Some((high, low)) => {
                bytes.push(high * 16 + low);
                &tail[2..]
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                tail
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

/// Reads JSON that must not come more slowly than other requests.
async fn read_json<T: DeserializeOwned>(
    request: Request<Incoming>,
    patience: Duration,
) -> Result<T, Response<Body>> {
    let body = Body::passed_within(request.into_body(), JSON_BYTES_MAX, patience);
    let body = body.collect().await.map_err(|error| {
        let status = match error {
            BodyError::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Silent(_) => StatusCode::REQUEST_TIMEOUT,
            BodyError::Connection(_) | BodyError::Kept(_) => StatusCode::BAD_REQUEST,
        };
        reply::text(status, format_args!("read the request: {error}"))
    })?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| {
        let text = format!("the request's body is not the JSON expected: {error}");
        reply::text(StatusCode::BAD_REQUEST, text)
    })
}

/// Runs what writes files on a thread where it may block.
async fn blocking(work: impl FnOnce() -> Response<Body> + Send + 'static) -> Response<Body> {
    match tokio::task::spawn_blocking(work).await {
        Ok(response) => response,
        Err(error) => reply::text(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        check("2026-01-02T15%3A04%3A05%2B02%3A00", "2026-01-02T15:04:05+02:00");
        check("a+b", "a b");
        check("100%", "100%");
        check("%zz%4", "%zz%4");
        check("%C3%A9", "é");
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(decode(text), want);
    }
}
