//! Answers of the API: from a report to a response.

use std::fmt::Display;

use dfaas_control::{Explanation, FunctionName};
use http_body_util::Full;
use hyper::{
    Method, Response, StatusCode,
    body::Bytes,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};

use crate::{
    metrics,
    report::{Health, Report},
};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// https://prometheus.io/docs/instrumenting/exposition_formats/
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) type Answer = Response<Full<Bytes>>;

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Health,
    Live,
    Metrics,
    Status,
    Strategy,
    Explanation(FunctionName),
}

/// Why there is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Path,
    Method,
}

/// The page that is asked for.
pub(super) fn page(method: &Method, path: &str) -> Result<Page, Refusal> {
    let page = match path {
        "/healthz" => Page::Health,
        "/livez" => Page::Live,
        "/metrics" => Page::Metrics,
        "/status" => Page::Status,
        "/strategy" => Page::Strategy,
        path => {
            let name = path.strip_prefix("/explain/").ok_or(Refusal::Path)?;
            Page::Explanation(FunctionName::new(name).map_err(|_not_a_name| Refusal::Path)?)
        }
    };
    let is_read = method == Method::GET || method == Method::HEAD;
    is_read.then_some(page).ok_or(Refusal::Method)
}

pub(super) fn refusal(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Path => {
            let pages = "there are /healthz, /livez, /metrics, /status, /strategy and /explain/<function>\n";
            answer(StatusCode::NOT_FOUND, TEXT, pages.to_owned())
        }
        Refusal::Method => {
            let mut refused = answer(
                StatusCode::METHOD_NOT_ALLOWED,
                TEXT,
                "only GET, and PUT for /strategy\n".to_owned(),
            );
            refused
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            refused
        }
    }
}

pub(super) fn health(health: &Health) -> Answer {
    let status = if health.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    answer(status, TEXT, health.to_string())
}

pub(super) fn live() -> Answer {
    answer(StatusCode::OK, TEXT, "ok\n".to_owned())
}

pub(super) fn metrics(report: Result<&Report, &String>) -> Answer {
    match report {
        Ok(report) => answer(StatusCode::OK, METRICS, metrics::encode(report)),
        Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
    }
}

pub(super) fn status(report: Result<&Report, &String>) -> Answer {
    let text = report.map_err(String::clone);
    match text.and_then(|report| serde_json::to_string(report).map_err(|error| error.to_string())) {
        Ok(text) => answer(StatusCode::OK, JSON, text + "\n"),
        Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
    }
}

pub(super) fn explanation(explanation: Option<Explanation>) -> Answer {
    match explanation {
        Some(explanation) => answer(StatusCode::OK, TEXT, explanation.to_string()),
        None => text(StatusCode::NOT_FOUND, "no node known here runs this function"),
    }
}

/// A line.
pub(super) fn text(status: StatusCode, line: impl Display) -> Answer {
    answer(status, TEXT, format!("{line}\n"))
}

pub(super) fn unavailable(error: &anyhow::Error) -> Answer {
    answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{error:#}\n"))
}

fn answer(status: StatusCode, kind: &'static str, text: String) -> Answer {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind)
        .header(CACHE_CONTROL, "no-store")
        .body(Full::from(text))
        .expect("these headers are visible ASCII")
}
