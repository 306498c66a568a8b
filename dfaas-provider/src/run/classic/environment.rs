//! The request as environment variables, as the classic watchdog names them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use hyper::header::{HOST, HeaderName, TRANSFER_ENCODING};
use hyper::http::request::Parts;

/// A kernel passes 2 MiB of arguments and environment by default; headers must not use it up.
const HEADERS_MAX: usize = 100;
const HEADER_BYTES_MAX: usize = 64 * 1024;

type Variable = (String, OsString);

/// Makes the variables of a call whose body is `length` bytes, if it is known.
pub(super) fn variables(head: &Parts, length: Option<u64>) -> Vec<Variable> {
    let length = length.map_or("-1".to_owned(), |length| length.to_string());
    let mut variables = header_variables(head);
    let mut add = |name: &str, value: String| variables.push((name.to_owned(), value.into()));
    add("Http_Method", head.method.to_string());
    add("Http_ContentLength", length.clone());
    add("Http_Content_Length", length);
    add("Http_Path", head.uri.path().to_owned());
    if let Some(query) = head.uri.query().filter(|query| !query.is_empty()) {
        add("Http_Query", query.to_owned());
    }
    if head.headers.contains_key(TRANSFER_ENCODING) {
        add("Http_Transfer_Encoding", "chunked".to_owned());
    }
    if !head.headers.contains_key(HOST)
        && let Some(host) = head.uri.host()
    {
        add("Http_Host", host.to_owned());
    }
    variables
}

/// Takes the first value of each header, until there are too many.
fn header_variables(head: &Parts) -> Vec<Variable> {
    let mut left = HEADER_BYTES_MAX;
    let mut variables = Vec::new();
    for name in head
        .headers
        .keys()
        .filter(|name| is_passed(name))
        .take(HEADERS_MAX)
    {
        let Some(value) = head.headers.get(name) else {
            continue;
        };
        let Some(rest) = left.checked_sub(name.as_str().len() + value.len()) else {
            break;
        };
        left = rest;
        variables.push((variable_name(name), OsString::from_vec(value.as_bytes().to_vec())));
    }
    variables
}

/// A program that honours `HTTP_PROXY` must not take a caller's `Proxy` header for it ("httpoxy").
fn is_passed(name: &HeaderName) -> bool {
    name != "proxy"
}

/// `content-type` becomes `Http_Content_Type`.
fn variable_name(name: &HeaderName) -> String {
    format!("Http_{}", canonical(name, "_"))
}

/// `content-type` becomes `Content-Type`, or with another joint `Content_Type`.
pub(super) fn canonical(name: &HeaderName, joint: &str) -> String {
    let words = name.as_str().split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join(joint)
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use hyper::http::request::Builder;

    use super::*;

    #[test]
    fn headers_become_variables() {
        let request = Request::builder()
            .header("content-type", "a/b")
            .header("x-call-id", "7");
        let made = made(request, None);
        assert!(made.contains(&("Http_Content_Type".to_owned(), "a/b".into())));
        assert!(made.contains(&("Http_X_Call_Id".to_owned(), "7".into())));
    }

    #[test]
    fn the_first_of_several_values_counts() {
        let made = made(Request::builder().header("x-a", "1").header("x-a", "2"), None);
        let values: Vec<_> = made.iter().filter(|(name, _)| name == "Http_X_A").collect();
        assert_eq!(values, [&("Http_X_A".to_owned(), OsString::from("1"))]);
    }

    #[test]
    fn the_proxy_header_is_dropped() {
        let made = made(Request::builder().header("Proxy", "http://evil"), None);
        assert!(
            made.iter()
                .all(|(name, _)| !name.eq_ignore_ascii_case("http_proxy"))
        );
    }

    #[test]
    fn the_request_line_becomes_variables() {
        let made = made(Request::builder().method("PUT").uri("/a/b?x=1&y"), Some(12));
        for (name, value) in [
            ("Http_Method", "PUT"),
            ("Http_Path", "/a/b"),
            ("Http_Query", "x=1&y"),
            ("Http_Content_Length", "12"),
            ("Http_ContentLength", "12"),
        ] {
            assert!(made.contains(&(name.to_owned(), value.into())), "{name}");
        }
    }

    #[test]
    fn large_headers_are_left_out() {
        let half = "a".repeat(HEADER_BYTES_MAX / 2);
        let made = made(Request::builder().header("x-a", &half).header("x-b", &half), None);
        assert!(made.iter().any(|(name, _)| name == "Http_X_A"));
        assert!(made.iter().all(|(name, _)| name != "Http_X_B"));
    }

    fn made(request: Builder, length: Option<u64>) -> Vec<Variable> {
        variables(&request.body(()).unwrap().into_parts().0, length)
    }
}
