//! The built-in function `builtin:echo`: the quickest answer the platform can give, for benchmarks.

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};

use hyper::body::Body as _;

use crate::web::body::Body;
use crate::web::reply;

const GREETING: &[u8] = b"echo\n";

const DOWNLOAD_BYTES_MAX: u64 = 1 << 30;

/// Answers with the request's body, or with `?size=N` bytes, or with `?chunked=N` bytes without telling their number
/// first, or with nothing but `?status=N`, or with a short text.
pub(crate) fn call(request: Request<Body>) -> Response<Body> {
    let answer = match wanted(request.uri().query()) {
        Err(message) => return reply::text(StatusCode::BAD_REQUEST, message),
        Ok(wanted) => wanted,
    };
    let body = match answer {
        Some(Wanted::Size(length)) => Body::blocks(length),
        Some(Wanted::Chunked(length)) => Body::chunks(length),
        Some(Wanted::Status(status)) => return reply::empty(status),
        None if request.body().is_end_stream() => Body::whole(bytes::Bytes::from_static(GREETING)),
        None => return sent_back(request),
    };
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn sent_back(request: Request<Body>) -> Response<Body> {
    let (mut head, body) = request.into_parts();
    let mut response = Response::new(body);
    let content_type = head
        .headers
        .remove(CONTENT_TYPE)
        .unwrap_or(HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// What a caller asks for in the query.
#[derive(Debug, PartialEq)]
enum Wanted {
    Size(u64),
    Chunked(u64),
    Status(StatusCode),
}

fn wanted(query: Option<&str>) -> Result<Option<Wanted>, String> {
    let pairs = query.unwrap_or_default().split('&');
    let first = pairs
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(name, value)| match name {
            "size" => Some(length(name, value).map(Wanted::Size)),
            "chunked" => Some(length(name, value).map(Wanted::Chunked)),
            "status" => Some(status(value).map(Wanted::Status)),
            _ => None,
        });
    first.transpose()
}

fn length(name: &str, value: &str) -> Result<u64, String> {
    let length = value.parse().ok().filter(|&length| length <= DOWNLOAD_BYTES_MAX);
    length.ok_or_else(|| {
        format!("{name} is {value:?}; ask for a number of bytes from 0 to {DOWNLOAD_BYTES_MAX}")
    })
}

/// A status below 200 is not an answer.
fn status(value: &str) -> Result<StatusCode, String> {
    let code = value
        .parse()
        .ok()
        .filter(|code: &StatusCode| code.as_u16() >= 200);
    code.ok_or_else(|| format!("status is {value:?}; ask for a code from 200 to 999"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_of_bytes() {
        check(None, Ok(None));
        check(Some("x=1"), Ok(None));
        check(Some("size=0"), Ok(Some(Wanted::Size(0))));
        check(Some("x=1&size=10"), Ok(Some(Wanted::Size(10))));
        check(Some("chunked=10"), Ok(Some(Wanted::Chunked(10))));
        check(
            Some("size=1073741824"),
            Ok(Some(Wanted::Size(DOWNLOAD_BYTES_MAX))),
        );
        check(Some("size=1073741825"), Err(()));
        check(Some("chunked=1073741825"), Err(()));
        check(Some("size=-1"), Err(()));
    }

    #[test]
    fn a_status_is_one_of_an_answer() {
        check(
            Some("status=204"),
            Ok(Some(Wanted::Status(StatusCode::NO_CONTENT))),
        );
        check(Some("status=100"), Err(()));
        check(Some("status=199"), Err(()));
        check(Some("status=1000"), Err(()));
    }

    #[track_caller]
    fn check(query: Option<&str>, want: Result<Option<Wanted>, ()>) {
        assert_eq!(wanted(query).map_err(drop), want);
    }
}
