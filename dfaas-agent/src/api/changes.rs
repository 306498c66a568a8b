//! Where changes are asked for. The API knows no users and any program of the host reaches it, as do pages in a browser; the
//! kernel says who is at the other end of a Unix socket.
//!
//! The socket has an abstract name with the API's address in it (unix(7)): it is found wherever the API is, through a
//! container's network too, and nothing of it is left when the agent is killed.

use std::{
    io,
    net::SocketAddr,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as Name, UnixListener, UnixStream},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustix::process::geteuid;
use tokio::{net, time::timeout};

const ROOT: u32 = 0;
/// An answer is a line.
const ANSWER_BYTES_MAX: usize = 4096;

/// Takes the name for the API at an address.
pub(super) fn bind(api: SocketAddr) -> io::Result<UnixListener> {
    let listener = UnixListener::bind_addr(&name(api)?)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Whether who is at the other end may change anything: root, and whose the agent is.
pub(super) fn is_owner(stream: &net::UnixStream) -> bool {
    let user = stream.peer_cred().map(|other| other.uid());
    user.is_ok_and(|user| user == ROOT || user == geteuid().as_raw())
}

/// Asks the agent whose API is at an address, with this as the body of a PUT.
///
/// # Errors
/// There is no agent, somebody else has taken its name, or it does not answer in time.
pub(crate) async fn ask(
    api: SocketAddr,
    path: &str,
    body: String,
    patience: Duration,
) -> Result<(StatusCode, Bytes)> {
    let stream = UnixStream::connect_addr(&name(api)?)
        .with_context(|| format!("no agent takes changes for the API at {api}"))?;
    stream.set_nonblocking(true)?;
    let stream = net::UnixStream::from_std(stream)?;
    if !is_owner(&stream) {
        bail!(
            "what takes changes for the API at {api} is another user's; ask as the agent's user, or as root"
        );
    }
    timeout(patience, exchange(stream, path, body))
        .await
        .with_context(|| format!("the agent has not answered within {patience:?}"))?
}

async fn exchange(stream: net::UnixStream, path: &str, body: String) -> Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::PUT)
        .uri(path)
        .header("host", "agent")
        .body(Full::new(Bytes::from(body)))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?;
    Ok((status, body.to_bytes()))
}

fn name(api: SocketAddr) -> io::Result<Name> {
    Name::from_abstract_name(format!("dfaas-agent/{api}"))
}
