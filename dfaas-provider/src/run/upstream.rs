//! A small warm function, to test and to measure the http mode with: `dfaas-provider warm-echo`.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::process;

use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::web::body::Body;

const PID: HeaderName = HeaderName::from_static("x-function-pid");
const PATH: HeaderName = HeaderName::from_static("x-function-path");

/// Answers every request with its body, tells its own process id and the path it saw, dies when it is asked
/// for `/exit`, and says nothing when it is asked for `/hang`.
///
/// # Errors
/// If the port is in use.
pub async fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    tracing::info!(port, "Warm echo is ready");
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(echo)));
    }
}

async fn echo(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    match request.uri().path() {
        "/exit" => process::exit(3),
        "/hang" => std::future::pending().await,
        _ => {}
    }
    let path = request
        .uri()
        .path_and_query()
        .and_then(|path| HeaderValue::try_from(path.as_str()).ok());
    let mut response = Response::new(Body::passed(request.into_body(), u64::MAX));
    let headers = response.headers_mut();
    headers.insert(PID, process::id().into());
    headers.extend(path.map(|path| (PATH, path)));
    Ok(response)
}
