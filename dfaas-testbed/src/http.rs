//! A plain HTTP client for what is asked now and then.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, runtime::Builder, time::timeout};

use crate::{Namespace, patience};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// Its body.
    pub body: Bytes,
}

/// Asks for a path of a server that a namespace reaches.
///
/// # Errors
///
/// When there is no answer in time.
pub fn get(namespace: &Namespace, server: SocketAddr, path: &str) -> Result<Answer> {
    let request = Request::get(path)
        .header("host", server.to_string())
        .body(Full::new(Bytes::new()))?;
    let asked = namespace.on_thread(|| -> Result<Answer> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { timeout(patience(TIMEOUT), ask(server, request)).await? })
    })?;
    asked.with_context(|| format!("asking http://{server}{path} in {}", namespace.name()))
}

async fn ask(server: SocketAddr, request: Request<Full<Bytes>>) -> Result<Answer> {
    let mut connection = connect(server).await?;
    let response = connection.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok(Answer {
        status: status.as_u16(),
        body,
    })
}

pub(crate) type Connection = http1::SendRequest<Full<Bytes>>;
pub(crate) type Response = hyper::Response<Incoming>;

/// Opens a connection, served by a task of its own.
pub(crate) async fn connect(server: SocketAddr) -> Result<Connection> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // An error of the connection reaches who waits for the response.
    tokio::spawn(connection);
    Ok(sender)
}

impl Answer {
    /// Whether all is well.
    pub fn is_ok(&self) -> bool {
        self.status == StatusCode::OK.as_u16()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
