//! Answers of the platform itself, as plain text or JSON.

use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::web::body::Body;

/// Says which part of the platform made an answer, so that it is not taken for the function's.
pub(crate) const INTERNAL: HeaderName = HeaderName::from_static("x-openfaas-internal");

pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Ends the text with a line break, for people who read it in a terminal.
pub(crate) fn text(status: StatusCode, text: impl std::fmt::Display) -> Response<Body> {
    typed(
        status,
        HeaderValue::from_static("text/plain; charset=utf-8"),
        format!("{text}\n"),
    )
}

pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => typed(status, HeaderValue::from_static("application/json"), bytes),
        Err(error) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            format_args!("write the answer: {error}"),
        ),
    }
}

/// Marks an answer as made by `part` of the platform.
pub(crate) fn internal(part: &'static str, mut response: Response<Body>) -> Response<Body> {
    response
        .headers_mut()
        .insert(INTERNAL, HeaderValue::from_static(part));
    response
}

pub(crate) fn typed(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<bytes::Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
