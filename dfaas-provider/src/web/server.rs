//! Listeners and their connections: HTTP/1.1 over TCP, kept alive, and ended in two steps.

mod lingering;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tracing::{debug, warn};

use self::lingering::Lingering;
use crate::web::body::Body;
use crate::web::reply;

/// Bursts of new connections wait in the kernel rather than being refused.
const BACKLOG: u32 = 4096;

/// More than a server ever has.
const LISTENERS_MAX: u32 = 8;

/// How many callers of functions may be connected. Each costs some 30 KiB; those above wait in the backlog.
pub(crate) const CONNECTIONS_MAX: u32 = 16_384;

/// How many may be connected to the gateway, whose operator must get in when there are too many callers.
pub(crate) const GATEWAY_CONNECTIONS_MAX: u32 = 2048;

/// Some browsers and proxies send more than hyper takes by default.
const HEADERS_MAX: usize = 256;

/// Without file descriptors there is nothing to do but wait for a connection to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a server that stops waits for the next request on a connection, to tell its client that it is the last: a
/// request that is on its way when a connection ends is lost.
const LAST_CALL: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "listen on {address} for {flag}: the port is in use; `ss -ltnp 'sport = :{port}'` tells by whom; \
         stop that, or choose another address with {flag}", port = address.port()
    )]
    InUse { address: SocketAddr, flag: &'static str },
    #[error("listen on {address} for {flag}: {source}; choose another address with {flag}")]
    Other {
        address: SocketAddr,
        flag: &'static str,
        source: io::Error,
    },
}

/// How far a server is on its way to stop.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) enum Stage {
    Serving,
    /// Calls in flight are answered, new ones are not taken.
    Draining,
    /// Connections are dropped, and with them their calls.
    Ending,
}

/// What answers the requests of a listener.
pub(crate) trait Answer: Clone + Send + Sync + 'static {
    fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// Binds the address that was given by `flag`.
pub(crate) fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, BindError> {
    try_bind(address).map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            BindError::InUse { address, flag }
        } else {
            BindError::Other {
                address,
                flag,
                source,
            }
        }
    })
}

fn try_bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A server's listener-independent part: its stage and its connections.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    stage: watch::Receiver<Stage>,
    listening: Arc<Semaphore>,
    open: Arc<Semaphore>,
    client_timeout: Duration,
    most: u32,
}

impl Connections {
    /// At most `most` connections at the same time.
    pub(crate) fn new(stage: watch::Receiver<Stage>, client_timeout: Duration, most: u32) -> Self {
        Self {
            stage,
            client_timeout,
            listening: Arc::new(Semaphore::new(LISTENERS_MAX as usize)),
            open: Arc::new(Semaphore::new(most as usize)),
            most,
        }
    }

    /// Accepts connections and answers their requests, until the server stops.
    pub(crate) fn serve(self, listener: TcpListener, answers: impl Answer) -> impl Future<Output = ()> {
        let permit = Arc::clone(&self.listening).try_acquire_owned();
        async move {
            self.accept_all(listener, answers).await;
            drop(permit);
        }
    }

    async fn accept_all(&self, listener: TcpListener, answers: impl Answer) {
        let mut stage = self.stage.clone();
        let mut stopping = pin!(stage.wait_for(|stage| *stage > Stage::Serving));
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&listener) => accepted,
                _ = &mut stopping => break,
            };
            if let Some((stream, peer, permit)) = accepted {
                self.converse(stream, peer, permit, &answers);
            }
        }
        if let Err(error) = self.take_last(listener, &answers) {
            warn!(%error, "Who had just connected was turned away");
        }
    }

    /// Takes who is in the backlog: they have a connection already, and may have sent a request.
    fn take_last(&self, listener: TcpListener, answers: &impl Answer) -> io::Result<()> {
        let listener = listener.into_std()?;
        while let Ok(permit) = Arc::clone(&self.open).try_acquire_owned() {
            let (stream, peer) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            self.converse(TcpStream::from_std(stream)?, peer, permit, answers);
        }
        Ok(())
    }

    /// Answers what comes over a connection, for as long as it is there.
    fn converse(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
        answers: &impl Answer,
    ) {
        let (stage, answers) = (self.stage.clone(), answers.clone());
        let client_timeout = self.client_timeout;
        tokio::spawn(async move {
            converse(stream, peer, client_timeout, stage, answers).await;
            drop(permit);
        });
    }

    /// Waits until every connection has ended.
    pub(crate) async fn ended(&self) {
        // These semaphores are never closed. Whoever waits for all of one leaves nothing for others.
        let _ = self.listening.acquire_many(LISTENERS_MAX).await;
        let _ = self.open.acquire_many(self.most).await;
    }

    async fn accept(&self, listener: &TcpListener) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.open).acquire_owned().await.ok()?;
        match listener.accept().await {
            Ok((stream, peer)) => Some((stream, peer, permit)),
            Err(error) => {
                warn!(%error, "Could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }
}

fn has_host(request: &Request<Incoming>) -> bool {
    request.version() != Version::HTTP_11
        || request.headers().contains_key(HOST)
        || request.uri().host().is_some()
}

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    client_timeout: Duration,
    mut stage: watch::Receiver<Stage>,
    answers: impl Answer,
) {
    let unread_ms = u32::try_from(client_timeout.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = set_tcp_user_timeout(&stream, unread_ms) {
        debug!(%error, "Left a client all the time it wants to read");
    }
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "Left Nagle's algorithm on");
    }
    let told = stage.clone();
    let service = service_fn(async |request| {
        let mut response = match has_host(&request) {
            true => answers.answer(request, peer).await,
            false => reply::text(
                StatusCode::BAD_REQUEST,
                "the request has no Host (RFC 9112, section 3.2)",
            ),
        };
        if *told.borrow() > Stage::Serving {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        Ok::<_, Infallible>(response)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(client_timeout)
        .max_headers(HEADERS_MAX)
        // A client may close its side behind its request and still wait for the answer.
        .half_close(true)
        .serve_connection(TokioIo::new(Lingering::new(stream)), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut ending = stage.clone();
    let stopping = async {
        drop(stage.wait_for(|stage| *stage > Stage::Serving).await);
        drop(timeout(LAST_CALL, stage.wait_for(|stage| *stage == Stage::Ending)).await);
    };
    let served = tokio::select! {
        biased;
        served = connection.as_mut() => Some(served),
        () = stopping => None,
    };
    let served = match served {
        Some(served) => served,
        None => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                served = connection => served,
                _ = ending.wait_for(|stage| *stage == Stage::Ending) => Ok(()),
            }
        }
    };
    if let Err(error) = served {
        debug!(%error, "A connection ended early");
    }
}
