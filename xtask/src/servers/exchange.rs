//! A connection on which exactly the given bytes are sent, and all that comes back, with its times.

use std::{
    fmt::{self, Display},
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result};
use dfaas_testbed::{Namespace, get, now};

/// After so long without a byte a server is taken to have said all: longer than any pause of the applications.
const QUIET: Duration = Duration::from_millis(700);
/// However often a server sends something, listening ends after so long.
const LISTEN_MAX: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);
const BLOCK_BYTES: usize = 64 * 1024;

/// How a client reaches a function.
pub(super) struct Way<'a> {
    pub(super) from: &'a Namespace,
    pub(super) server: SocketAddr,
    pub(super) function: &'a str,
}

/// What a client saw of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// All that came, without lines that differ from second to second.
    pub(super) text: String,
    pub(super) end: End,
    /// From each request to the moment at which something came for it, and to the last byte.
    pub(super) times: Vec<Duration>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    #[default]
    Open,
    Closed,
    Reset,
}

/// A connection.
pub(super) struct Exchange {
    stream: TcpStream,
    function: String,
    received: Vec<u8>,
    seen: Seen,
}

impl Way<'_> {
    /// Whether the function answers at all.
    pub(super) fn is_served(&self) -> bool {
        let path = format!("/function/{}", self.function);
        get(self.from, self.server, &path).is_ok_and(|answer| answer.status == 200)
    }

    /// A request for the function: the line's rest, the fields with their ends, and the body.
    pub(super) fn request(&self, method: &str, query: &str, version: &str, fields: &str) -> Vec<u8> {
        let function = self.function;
        format!("{method} /function/{function}{query} HTTP/{version}\r\nHost: node\r\n{fields}\r\n")
            .into_bytes()
    }

    pub(super) fn connect(&self) -> Result<Exchange> {
        let server = self.server;
        let stream = self
            .from
            .on_thread(|| TcpStream::connect_timeout(&server, CONNECT))?
            .with_context(|| format!("connecting to {server}"))?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(CONNECT))?;
        Ok(Exchange {
            stream,
            function: format!("/function/{}", self.function),
            received: Vec::new(),
            seen: Seen::default(),
        })
    }
}

impl Exchange {
    /// Sends bytes; a server that has ended is noticed when listened to.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        if self.stream.write_all(bytes).is_err() && self.seen.end == End::Open {
            self.seen.end = End::Reset;
        }
    }

    pub(super) fn close_half(&self) {
        // Whoever has been reset already is told so when it listens.
        let _reset = self.stream.shutdown(Shutdown::Write);
    }

    /// Takes all that comes until nothing does, or until this many bytes of it have come.
    pub(super) fn listen(&mut self, enough: impl Fn(&[u8]) -> bool) -> Result<()> {
        let start = now();
        let from = self.received.len();
        let mut first = None;
        let mut last = Duration::ZERO;
        self.stream.set_read_timeout(Some(QUIET))?;
        let mut block = vec![0; BLOCK_BYTES];
        while start.elapsed() < LISTEN_MAX && !enough(&self.received[from..]) {
            match self.stream.read(&mut block) {
                Ok(0) => {
                    self.seen.end = End::Closed;
                    break;
                }
                Ok(count) => {
                    last = start.elapsed();
                    first.get_or_insert(last);
                    self.received.extend_from_slice(&block[..count]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.seen.end = End::Reset;
                    break;
                }
            }
        }
        self.seen.times.extend(first);
        self.seen.times.push(last);
        Ok(())
    }

    /// How it went so far, without what came.
    pub(super) fn seen(&self) -> Seen {
        self.seen.clone()
    }

    /// What came since the beginning.
    pub(super) fn received(&self) -> &[u8] {
        &self.received
    }

    pub(super) fn finish(mut self) -> Seen {
        let text = String::from_utf8_lossy(&self.received).replace(&self.function, "/function/NAME");
        let lines = text.split_inclusive('\n').filter(|line| !is_of_the_second(line));
        self.seen.text = lines.map(lower_name).collect();
        self.seen
    }
}

/// Whether a line says what time it is.
fn is_of_the_second(line: &str) -> bool {
    let name = line.split_once(':').map(|(name, _)| name);
    name.is_some_and(|name| name.eq_ignore_ascii_case("date"))
}

/// Names of fields are the same in capitals and without (RFC 9110, section 5.1).
fn lower_name(line: &str) -> String {
    match line.split_once(": ") {
        Some((name, value)) if !name.contains(' ') => format!("{}: {value}", name.to_ascii_lowercase()),
        _ => line.to_owned(),
    }
}

impl Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Reset => "reset",
        })
    }
}
