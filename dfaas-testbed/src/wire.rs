//! A connection on which exactly the given bytes are sent.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::{Namespace, Response, patience};

/// How long an answer, or the next part of one, may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// More than what is read at once on a connection without much delay.
const BLOCK_BYTES: usize = 64 * 1024;
/// What a socket takes without anybody reading at the other end.
const UNREAD_BYTES_MAX: usize = 8 * 1024;

/// A connection on which exactly the given bytes are sent.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    /// What came and belongs to no response yet.
    received: Vec<u8>,
}

impl Wire {
    /// Connects to a server that a namespace reaches.
    ///
    /// # Errors
    ///
    /// When the server refuses or keeps silent.
    pub fn connect(from: &Namespace, server: SocketAddr) -> Result<Self> {
        let connected = from.on_thread(|| TcpStream::connect_timeout(&server, patience(TIMEOUT)))?;
        let stream = connected.with_context(|| format!("connecting to {server} in {}", from.name()))?;
        Self::new(stream)
    }

    /// Connects from an address of the namespace that this thread is in, so that more connections may follow each other
    /// than one address has ports.
    ///
    /// # Errors
    ///
    /// When the server refuses or keeps silent, or no port is free.
    pub fn connect_from(source: Ipv4Addr, server: SocketAddr) -> Result<Self> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &SocketAddr::from((source, 0))).context("taking a port")?;
        connect(&socket, &server).with_context(|| format!("connecting to {server}"))?;
        Self::new(TcpStream::from(socket))
    }

    /// Takes a connection over.
    ///
    /// # Errors
    ///
    /// When it is closed already.
    pub fn new(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience(TIMEOUT)))?;
        stream.set_write_timeout(Some(patience(TIMEOUT)))?;
        Ok(Self {
            stream,
            received: Vec::new(),
        })
    }

    /// The connection itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes.
    ///
    /// # Errors
    ///
    /// When the connection is closed, or nobody takes them.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("sending")
    }

    /// Sends a request and waits for its response, taking what comes meanwhile.
    ///
    /// # Errors
    ///
    /// When there is no whole response in time.
    pub fn ask(&mut self, request: &[u8], method: &str) -> Result<Response> {
        if request.len() <= UNREAD_BYTES_MAX {
            self.send(request)?;
            return self.response(method);
        }
        let mut writer = self.stream.try_clone()?;
        thread::scope(|scope| {
            let sent = scope.spawn(move || writer.write_all(request));
            let response = self.response(method);
            let sent = sent.join().map_err(|_| anyhow!("the sender panicked"))?;
            sent.context("sending").and(response)
        })
    }

    /// Waits for the next response that is not interim.
    ///
    /// # Errors
    ///
    /// When there is no whole response in time.
    pub fn response(&mut self, method: &str) -> Result<Response> {
        loop {
            let response = self.any_response(method)?;
            if !response.is_interim() {
                return Ok(response);
            }
        }
    }

    /// Waits for the next response.
    ///
    /// # Errors
    ///
    /// When there is no whole response in time.
    pub fn any_response(&mut self, method: &str) -> Result<Response> {
        loop {
            if let Some((response, length)) = Response::read(&self.received, method)? {
                self.received.drain(..length);
                return Ok(response);
            }
            if self.receive()? == 0 {
                let (response, length) = Response::read_last(&self.received, method)?;
                self.received.drain(..length);
                return Ok(response);
            }
        }
    }

    /// Takes what comes next; nothing comes at the end.
    ///
    /// # Errors
    ///
    /// When nothing comes in time, or the connection is reset.
    pub fn receive(&mut self) -> Result<usize> {
        let before = self.received.len();
        self.received.resize(before + BLOCK_BYTES, 0);
        let read = self.stream.read(&mut self.received[before..]);
        self.received
            .truncate(before + read.as_ref().copied().unwrap_or(0));
        match read {
            Err(error) if error.kind() == ErrorKind::WouldBlock => bail!(
                "nothing within {:?}, after {}",
                patience(TIMEOUT),
                self.received[..before.min(500)].escape_ascii()
            ),
            read => read.context("receiving"),
        }
    }

    /// Waits for the end of the connection, which must come without any more bytes.
    ///
    /// # Errors
    ///
    /// When something comes before, or no end in time.
    pub fn end(mut self) -> Result<()> {
        if self.received.is_empty() && self.receive()? == 0 {
            return Ok(());
        }
        bail!("more came: {}", self.received.escape_ascii())
    }
}
