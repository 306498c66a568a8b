//! One connection for one callback, by TCP or by TLS over it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::CallbackError;
use super::destination::Destination;
use crate::web::body::Body;

/// Trusts whom the host trusts.
pub(super) fn tls() -> Option<TlsConnector> {
    let mut authorities = RootCertStore::empty();
    let (usable, _) = authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if usable == 0 {
        return None;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(authorities)
        .with_no_client_auth();
    Some(TlsConnector::from(Arc::new(config)))
}

/// Sends the request to the first address that answers, and tells the status of the answer.
pub(super) async fn post(
    addresses: &[SocketAddr],
    destination: &Destination,
    tls: Option<&TlsConnector>,
    request: Request<Body>,
) -> Result<StatusCode, CallbackError> {
    let stream = TcpStream::connect(addresses)
        .await
        .map_err(CallbackError::Connect)?;
    if !destination.is_https {
        return send(stream, request).await;
    }
    let tls = tls.ok_or(CallbackError::NoAuthorities)?;
    let name = ServerName::try_from(destination.host.clone());
    let name = name.map_err(|error| CallbackError::Connect(io::Error::other(error)))?;
    let stream = tls.connect(name, stream).await.map_err(CallbackError::Connect)?;
    send(stream, request).await
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Body>,
) -> Result<StatusCode, CallbackError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    connection.abort();
    Ok(answer?.status())
}
