//! The HTTP client towards warm functions and gateways.

mod connection;

use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE};
use hyper::header::{PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use self::connection::{Connector, Use};
use crate::web::body::Body;

pub(crate) type HttpClient = Client<Connector, Body>;
pub(crate) type ClientError = hyper_util::client::legacy::Error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Headers that speak of one connection and not of the message.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// A client with a pool of idle connections.
pub(crate) fn client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build(Connector::new(connector))
}

/// Several kept connections may have been closed at the same time.
const REPEATS_MAX: usize = 8;

/// Sends a request, and again if the other side had just closed a kept connection and the request may be repeated.
pub(crate) async fn send(
    client: &HttpClient,
    mut request: Request<Body>,
) -> Result<Response<Incoming>, ClientError> {
    for _ in 0..REPEATS_MAX {
        let again = copy_of(&request);
        match (client.request(request).await, again) {
            (Err(error), Some(again)) if failed_when_reused(&error) => request = again,
            (answer, _) => return answer.inspect(note_answer),
        }
    }
    client.request(request).await.inspect(note_answer)
}

fn note_answer(response: &Response<Incoming>) {
    if let Some(used) = response.extensions().get::<Use>() {
        used.note_answer();
    }
}

/// Repeats only what changes nothing and has no body, as Go's client does.
fn copy_of(request: &Request<Body>) -> Option<Request<Body>> {
    const REPEATED: [Method; 4] = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE];
    let may_repeat = REPEATED.contains(request.method())
        && request.body().is_end_stream()
        && !request.headers().contains_key(UPGRADE);
    may_repeat.then(|| {
        let mut copy = Request::new(Body::empty());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        copy
    })
}

/// A connection that had carried an answer before may have been closed while the request was on its way.
fn failed_when_reused(error: &ClientError) -> bool {
    let mut extensions = hyper::http::Extensions::new();
    if let Some(connected) = error.connect_info() {
        connected.get_extras(&mut extensions);
    }
    extensions.get::<Use>().is_some_and(Use::has_answered)
}

pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The protocol that the headers ask to change to, if they do.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case("upgrade"));
    headers.get(UPGRADE).filter(|_| asked).cloned()
}

/// Puts the wish back that [`strip_hop_by_hop`] took away.
pub(crate) fn ask_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}
