//! The built-in function `builtin:echo`: the quickest answer the platform can give, for benchmarks.

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};

use hyper::body::Body as _;

use crate::body::Body;
use crate::reply;

const GREETING: &[u8] = b"echo\n";

const DOWNLOAD_BYTES_MAX: u64 = 1 << 30;

/// Answers with the request's body, or with `?size=N` bytes, or with a short text.
pub(crate) fn call(request: Request<Body>) -> Response<Body> {
    let body = match download(request.uri().query()) {
        Some(Err(message)) => return reply::text(StatusCode::BAD_REQUEST, message),
        Some(Ok(length)) => Body::blocks(length),
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

fn download(query: Option<&str>) -> Option<Result<u64, String>> {
    let size = query?.split('&').find_map(|pair| pair.strip_prefix("size="))?;
    Some(match size.parse() {
        Ok(length) if length <= DOWNLOAD_BYTES_MAX => Ok(length),
        Ok(_) | Err(_) => Err(format!(
            "size is {size:?}; ask for a number of bytes from 0 to {DOWNLOAD_BYTES_MAX}"
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_of_bytes() {
        check(None, None);
        check(Some("x=1"), None);
        check(Some("size=0"), Some(Some(0)));
        check(Some("x=1&size=10"), Some(Some(10)));
        check(Some("size=1073741824"), Some(Some(DOWNLOAD_BYTES_MAX)));
        check(Some("size=1073741825"), Some(None));
        check(Some("size=-1"), Some(None));
    }

    #[track_caller]
    fn check(query: Option<&str>, want: Option<Option<u64>>) {
        assert_eq!(download(query).map(Result::ok), want);
    }
}
