//! A connection that still hears an answer when the other side stopped to listen, and knows whether it was used.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

/// Whether a connection has carried an answer; each answer and each error of the connection has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Use(Arc<AtomicBool>);

impl Use {
    pub(crate) fn note_answer(&self) {
        self.0.store(true, Relaxed);
    }

    pub(crate) fn has_answered(&self) -> bool {
        self.0.load(Relaxed)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Connector(HttpConnector);

impl Connector {
    pub(super) fn new(connector: HttpConnector) -> Self {
        Self(connector)
    }
}

impl Service<Uri> for Connector {
    type Response = Patient;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Patient, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move {
            Ok(Patient {
                stream: connecting.await?,
                used: Use::default(),
                deaf: false,
            })
        })
    }
}

/// Drops what it writes once the other side has closed, so that an answer that came before, as to an upload that is too
/// long, is read.
#[derive(Debug)]
pub(crate) struct Patient {
    stream: TokioIo<TcpStream>,
    used: Use,
    deaf: bool,
}

impl Connection for Patient {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.used.clone())
    }
}

impl Read for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        match ready!(Pin::new(&mut self.stream).poll_write(context, bytes)) {
            Err(error) if is_closed(&error) => {
                self.deaf = true;
                Poll::Ready(Ok(bytes.len()))
            }
            written => Poll::Ready(written),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}
