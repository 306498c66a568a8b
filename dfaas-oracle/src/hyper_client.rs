//! hyper's client on a connection that is a run of bytes.

use std::{
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use bytes::{Buf as _, Bytes};
use http_body_util::Empty;
use hyper::{
    Request, Response,
    body::{Body as _, Incoming},
    client::conn::http1,
    rt::{Read, ReadBufCursor, Write},
};

/// hyper's own limit is 100; a head may hold more.
pub(crate) const FIELDS_MAX: usize = 1_000;

/// What a client got of its response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// The whole response has a body of so many bytes.
    Whole(usize),
    /// More has to come.
    Awaited,
    /// This is no response.
    Refused,
}

/// Asks for something, and gets these bytes, which do not end the connection.
pub(crate) fn receive(bytes: &[u8], method: &str) -> Received {
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let mut builder = http1::Builder::new();
    builder.max_headers(FIELDS_MAX).max_buf_size(1 << 20);
    let stream = Stream {
        bytes: Bytes::copy_from_slice(bytes),
        is_asked: false,
    };
    let mut handshake = pin!(builder.handshake(stream));
    let Poll::Ready(Ok((mut sender, connection))) = handshake.as_mut().poll(&mut context) else {
        return Received::Refused;
    };
    let request = Request::builder().method(method).body(Empty::<Bytes>::new());
    let mut connection = pin!(connection);
    let mut answer = pin!(sender.send_request(request.expect("every method given here is one")));
    let mut state = State::Head;
    let mut is_open = true;
    loop {
        woken.0.store(false, Ordering::Relaxed);
        if is_open {
            is_open = connection.as_mut().poll(&mut context).is_pending();
        }
        if let State::Head = state {
            match answer.as_mut().poll(&mut context) {
                Poll::Ready(Ok(response)) => state = State::Body(response, 0),
                Poll::Ready(Err(_)) => return Received::Refused,
                Poll::Pending => {}
            }
        }
        let progress = state.advance(&mut context);
        if progress != Received::Awaited || !woken.0.load(Ordering::Relaxed) {
            return progress;
        }
    }
}

enum State {
    Head,
    Body(Response<Incoming>, usize),
}

impl State {
    fn advance(&mut self, context: &mut Context<'_>) -> Received {
        let Self::Body(response, length) = self else {
            return Received::Awaited;
        };
        loop {
            match Pin::new(response.body_mut()).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => *length += frame.data_ref().map_or(0, Bytes::len),
                Poll::Ready(Some(Err(_))) => return Received::Refused,
                Poll::Ready(None) => return Received::Whole(*length),
                Poll::Pending => return Received::Awaited,
            }
        }
    }
}

/// Whether anything has happened since it was looked at.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A connection that takes all that is written, gives these bytes once something was, and stays open.
struct Stream {
    bytes: Bytes,
    is_asked: bool,
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() || !self.is_asked {
            return Poll::Pending;
        }
        let length = self.bytes.len().min(buffer.remaining());
        buffer.put_slice(&self.bytes[..length]);
        self.bytes.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_asked = true;
        context.waker().wake_by_ref();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_what_was_sent() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        check(&format!("{head}hello"), "GET", Received::Whole(5));
        check(&format!("{head}hell"), "GET", Received::Awaited);
        check(head, "HEAD", Received::Whole(0));
        check("HTTP/1.1 200 OK\r\n\r\nabc", "GET", Received::Awaited);
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "GET",
            Received::Refused,
        );
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\n";
        check(chunked, "GET", Received::Awaited);
        check(&format!("{chunked}A: b\r\n\r\n"), "GET", Received::Whole(3));
    }

    #[track_caller]
    fn check(bytes: &str, method: &str, want: Received) {
        assert_eq!(receive(bytes.as_bytes(), method), want, "{bytes:?}");
    }
}
