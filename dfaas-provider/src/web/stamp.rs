//! The headers that follow a call through the platform.

use std::fmt::Write;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::clock;

pub(crate) const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");
pub(crate) const START_TIME: HeaderName = HeaderName::from_static("x-start-time");
pub(crate) const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");
pub(crate) const DURATION: HeaderName = HeaderName::from_static("x-duration-seconds");

/// A function that has it could claim to be the node that sent the call.
const NODE_TOKEN: HeaderName = HeaderName::from_static("dfaas-node-token");

const UUID_BYTES: usize = 36;
const NANOS_BYTES: usize = 20;

/// A call's identity and when it came in.
#[derive(Debug)]
pub(crate) struct Stamp {
    pub(crate) call_id: HeaderValue,
    pub(crate) start_time: HeaderValue,
    pub(crate) arrived: Instant,
}

impl Stamp {
    /// Keeps the caller's id, if it gave one.
    pub(crate) fn new(headers: &HeaderMap) -> Self {
        let mut text = BytesMut::with_capacity(UUID_BYTES + NANOS_BYTES);
        let call_id = headers.get(CALL_ID).cloned().unwrap_or_else(|| {
            let id = uuid::Builder::from_random_bytes(fastrand::u128(..).to_ne_bytes()).into_uuid();
            header(&mut text, format_args!("{}", id.hyphenated()))
        });
        let start_time = header(&mut text, format_args!("{}", clock::unix_nanos()));
        Self {
            call_id,
            start_time,
            arrived: clock::now(),
        }
    }

    /// Takes up a call that was stamped when it came in; what it took counts from now on.
    pub(crate) fn again(headers: &HeaderMap) -> Self {
        let mut stamp = Self::new(headers);
        if let Some(start_time) = headers.get(START_TIME) {
            stamp.start_time = start_time.clone();
        }
        stamp
    }

    /// Tells the function what the caller will be told, and keeps from it what is between nodes.
    pub(crate) fn mark_request(&self, headers: &mut HeaderMap) {
        headers.remove(NODE_TOKEN);
        headers.insert(CALL_ID, self.call_id.clone());
        headers.insert(START_TIME, self.start_time.clone());
    }

    pub(crate) fn mark_response(self, headers: &mut HeaderMap, node: &HeaderValue) {
        let took = clock::now().saturating_duration_since(self.arrived);
        headers.insert(SERVED_BY, node.clone());
        headers.insert(CALL_ID, self.call_id);
        headers.insert(START_TIME, self.start_time);
        headers.insert(DURATION, duration(took));
    }
}

/// Seconds as Go's `%f` writes them.
pub(crate) fn duration(took: Duration) -> HeaderValue {
    header(&mut BytesMut::new(), format_args!("{:.6}", took.as_secs_f64()))
}

/// Writes into the buffer and splits off what was written, so that one allocation serves several values.
fn header(buffer: &mut BytesMut, text: std::fmt::Arguments<'_>) -> HeaderValue {
    buffer.write_fmt(text).expect("the buffer grows");
    HeaderValue::from_maybe_shared(buffer.split().freeze()).expect("digits and dashes are header text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_call_id_is_kept() {
        let mut headers = HeaderMap::new();
        headers.insert(CALL_ID, HeaderValue::from_static("mine"));
        assert_eq!(Stamp::new(&headers).call_id, "mine");
    }

    #[test]
    fn made_call_ids_differ() {
        let [one, two] = [(); 2].map(|()| Stamp::new(&HeaderMap::new()).call_id);
        assert_eq!(one.len(), UUID_BYTES);
        assert_ne!(one, two);
    }

    #[test]
    fn a_function_is_not_told_the_token_of_a_node() {
        let mut headers = HeaderMap::new();
        headers.insert("DFaaS-Node-Token", HeaderValue::from_static("secret"));
        headers.insert("DFaaS-Node-ID", HeaderValue::from_static("peer"));
        Stamp::new(&headers).mark_request(&mut headers);
        assert!(!headers.contains_key("DFaaS-Node-Token") && headers.contains_key("DFaaS-Node-ID"));
    }

    #[test]
    fn durations_have_six_decimals() {
        assert_eq!(duration(Duration::from_micros(1_000_001)), "1.000001");
    }
}
