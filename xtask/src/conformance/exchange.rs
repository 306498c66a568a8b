//! A request and its answer, byte by byte.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use dfaas_testbed::{Response, now, patience};

use super::{table::Piece, want::Got};

/// The longest that an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What a client does with a connection.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) half_close: bool,
    pub(crate) leave: bool,
}

impl Exchange {
    /// Sends all and reads the answer, if it is waited for.
    ///
    /// # Errors
    ///
    /// When nobody listens, or what comes is no whole answer.
    pub(crate) fn with(&self, address: SocketAddr) -> Result<Got> {
        let start = now();
        let mut stream = connect(address)?;
        let mut written = Ok(());
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) if written.is_ok() => written = stream.write_all(text.as_bytes()),
                Piece::Text(_) => {}
                Piece::PauseMs(milliseconds) => thread::sleep(Duration::from_millis(*milliseconds)),
            }
        }
        if self.half_close {
            stream.shutdown(Shutdown::Write)?;
        }
        if self.leave {
            return Ok(Got::default());
        }
        // Who closes before it has read all may have answered.
        let answer = read(&mut stream, self.method()).or_else(|error| {
            written.with_context(|| format!("sending to {address}"))?;
            Err(error)
        })?;
        Ok(got(&answer, start.elapsed()))
    }

    fn method(&self) -> &str {
        let first = self.pieces.iter().find_map(|piece| match piece {
            Piece::Text(text) => text.split(' ').next(),
            Piece::PauseMs(_) => None,
        });
        first.unwrap_or_default()
    }
}

/// Opens a connection on which nothing may take longer than a minute.
pub(crate) fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(Some(patience(TIMEOUT)))?;
    stream.set_write_timeout(Some(patience(TIMEOUT)))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn read(stream: &mut TcpStream, method: &str) -> Result<Response> {
    let mut bytes = Vec::new();
    loop {
        while let Some((response, length)) = Response::read(&bytes, method)? {
            bytes.drain(..length);
            // What changes to another protocol is no interim answer (RFC 9110, section 15.2.2).
            if !response.is_interim() || response.status == 101 {
                return Ok(response);
            }
        }
        let mut more = [0; 65_536];
        let count = stream.read(&mut more).context("waiting for an answer")?;
        if count == 0 {
            ensure!(!bytes.is_empty(), "the connection ended without an answer");
            return Ok(Response::read_last(&bytes, method)?.0);
        }
        bytes.extend_from_slice(&more[..count]);
    }
}

fn got(answer: &Response, took: Duration) -> Got {
    let fields = answer.head.split("\r\n").skip(1);
    let headers = fields.filter_map(|line| line.split_once(':'));
    Got {
        code: answer.status.into(),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect(),
        body: answer.body.clone(),
        took_ms: took.as_millis().try_into().unwrap_or(u64::MAX),
    }
}
