//! Calls of functions, from either listener.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};

use crate::platform::Platform;
use crate::run::echo;
use crate::run::function::Function;
use crate::web::body::Body;
use crate::web::reply;
use crate::web::stamp::Stamp;
use crate::wire::Scaling;

pub(crate) const PREFIX: &str = "/function/";

const PART: &str = "proxy";
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Calls the function that the path `/function/{name}[/path]` names.
pub(crate) async fn invoke(
    platform: &Arc<Platform>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Response<Body> {
    let stamp = Stamp::new(request.headers());
    let (name, _) = target(request.uri().path(), PREFIX);
    let Some(function) = platform.find(name) else {
        return stamped(platform, stamp, unknown(name));
    };
    if !is_passed(request.method()) {
        return stamped(platform, stamp, method_not_allowed());
    }
    let limit = function
        .request_bytes_max()
        .unwrap_or(platform.node().request_bytes_max);
    if request.body().size_hint().lower() > limit {
        return stamped(platform, stamp, too_long(&function, limit));
    }
    let silence = platform.node().client_timeout;
    let mut request = request.map(|incoming| Body::passed_within(incoming, limit, silence));
    if !function.is_echo() {
        forward(request.headers_mut(), peer);
        *request.uri_mut() = inner_uri(request.uri(), PREFIX);
    }
    call(platform, function, request, stamp).await
}

/// Calls a function with a request whose path is its own.
pub(crate) async fn call(
    platform: &Arc<Platform>,
    function: Arc<Function>,
    request: Request<Body>,
    stamp: Stamp,
) -> Response<Body> {
    let invocation = function.begin(stamp.arrived);
    let mut response = match invocation.is_admitted() {
        false => overloaded(&function),
        true if function.replicas() == 0 => {
            Box::pin(call_stopped(platform, &function, request, &stamp)).await
        }
        true if function.is_echo() => echo::call(request),
        // Boxed, so that the built-in path does not move the state of the others around.
        true => Box::pin(call_process(&function, request, &stamp)).await,
    };
    stamp.mark_response(response.headers_mut(), &platform.node().name);
    invocation.answer(&mut response);
    response
}

async fn call_process(function: &Function, mut request: Request<Body>, stamp: &Stamp) -> Response<Body> {
    stamp.mark_request(request.headers_mut());
    function.call(request).await
}

/// Starts a function that wants to be started by calls.
async fn call_stopped(
    platform: &Arc<Platform>,
    function: &Arc<Function>,
    request: Request<Body>,
    stamp: &Stamp,
) -> Response<Body> {
    let Some(replicas) = function.replicas_on_call() else {
        return stopped(function);
    };
    let (changed, name) = (Arc::clone(platform), function.name().clone());
    let scaling = Scaling {
        service_name: name.name,
        replicas,
        namespace: name.namespace,
    };
    match tokio::task::spawn_blocking(move || changed.scale("", &scaling)).await {
        Ok(Ok(())) => call_process(function, request, stamp).await,
        Ok(Err(error)) => reply::internal(PART, reply::text(error.status(), error)),
        Err(error) => reply::internal(PART, reply::text(StatusCode::INTERNAL_SERVER_ERROR, error)),
    }
}

/// Splits what follows the prefix into a function's name and the rest, which begins with a slash.
pub(crate) fn target<'a>(path: &'a str, prefix: &str) -> (&'a str, &'a str) {
    let path = path.strip_prefix(prefix).unwrap_or_default();
    match path.find('/') {
        Some(slash) => path.split_at(slash),
        None => (path, "/"),
    }
}

/// The URI that the function sees.
pub(crate) fn inner_uri(uri: &Uri, prefix: &str) -> Uri {
    let (_, rest) = target(uri.path(), prefix);
    let inner = match uri.query() {
        Some(query) => format!("{rest}?{query}").parse(),
        None => rest.parse(),
    };
    inner.expect("the end of a path is a path")
}

pub(crate) fn unknown(name: &str) -> Response<Body> {
    let text = format!("there is no function {name:?} on this node; list them with GET /system/functions");
    reply::internal(PART, reply::text(StatusCode::NOT_FOUND, text))
}

fn is_passed(method: &Method) -> bool {
    const PASSED: [Method; 7] = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::HEAD,
    ];
    PASSED.contains(method)
}

/// Tells the function who called, unless a proxy before us did.
pub(crate) fn forward(headers: &mut HeaderMap, peer: SocketAddr) {
    if !headers.contains_key(FORWARDED_FOR)
        && let Ok(value) = HeaderValue::try_from(peer.to_string())
    {
        headers.insert(FORWARDED_FOR, value);
    }
    if !headers.contains_key(FORWARDED_HOST)
        && let Some(host) = headers.get(HOST).cloned()
    {
        headers.insert(FORWARDED_HOST, host);
    }
}

fn stamped(platform: &Platform, stamp: Stamp, mut response: Response<Body>) -> Response<Body> {
    stamp.mark_response(response.headers_mut(), &platform.node().name);
    response
}

fn overloaded(function: &Function) -> Response<Body> {
    let text = format!(
        "Concurrent request limit exceeded. Max concurrent requests: {}",
        function.in_flight_max()
    );
    reply::internal(
        "faas-middleware",
        reply::text(StatusCode::TOO_MANY_REQUESTS, text),
    )
}

fn stopped(function: &Function) -> Response<Body> {
    let name = function.name();
    let text = format!("No endpoints available for: {name}. It has 0 replicas; scale it up to call it");
    reply::internal(PART, reply::text(StatusCode::SERVICE_UNAVAILABLE, text))
}

fn too_long(function: &Function, limit: u64) -> Response<Body> {
    let name = function.name();
    let text = format!(
        "the request to {name} is longer than {limit} bytes; raise its max_request_bytes to allow more"
    );
    reply::internal(PART, reply::text(StatusCode::PAYLOAD_TOO_LARGE, text))
}

fn method_not_allowed() -> Response<Body> {
    let text = "functions take GET, POST, PUT, PATCH, DELETE, OPTIONS and HEAD";
    let mut response = reply::internal(PART, reply::text(StatusCode::METHOD_NOT_ALLOWED, text));
    let allowed = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, OPTIONS, HEAD");
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// A stored request has its body at hand and not the framing it came with.
pub(crate) fn unframe(headers: &mut HeaderMap) {
    crate::web::client::strip_hop_by_hop(headers);
    headers.remove(CONTENT_LENGTH);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_name_and_a_rest() {
        check("/function/x", "x", "/");
        check("/function/x/", "x", "/");
        check("/function/x.ns/a/b", "x.ns", "/a/b");
        check("/function/", "", "/");
        check("/functionx", "", "/");
    }

    #[test]
    fn the_function_sees_its_own_path() {
        for (outer, inner) in [
            ("/function/x", "/"),
            ("/function/x?a=b", "/?a=b"),
            ("/function/x/y%20z?a=/b", "/y%20z?a=/b"),
            ("/function/x//y", "//y"),
        ] {
            assert_eq!(
                inner_uri(&outer.parse().unwrap(), PREFIX)
                    .path_and_query()
                    .unwrap(),
                inner
            );
        }
    }

    #[track_caller]
    fn check(path: &str, name: &str, rest: &str) {
        assert_eq!(target(path, PREFIX), (name, rest));
    }
}
