//! Bytes that may be a request, a place to send them to, and what came of it.

use std::{io::ErrorKind, time::Duration};

use anyhow::{Context as _, Error, Result, bail, ensure};
use dfaas_testbed::{Response, now, patience};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Builder,
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::front_ends::FrontEnd;

/// Stands for what is different in each attempt, so that an answer for somebody else is noticed.
pub(crate) const MARKER: &[u8] = b"MARKER!!";
/// The function that they ask for, and get where they get any.
const NEAR: &str = "near";
/// So many at once: what is waited for in some is done in others.
const ATTEMPTS_AT_ONCE: usize = 512;
/// Between two writes: long enough for the first to have been looked at.
const PAUSE: Duration = Duration::from_millis(15);
/// How long more may come where all is well so far.
const QUIET: Duration = Duration::from_millis(200);
/// How long something may take where it is not.
const PATIENCE: Duration = Duration::from_secs(3);
const READ_BYTES: usize = 16 * 1024;

/// Bytes to be sent, and what may come of it.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    /// Alternatives, split by `|`: the status codes of all answers in order, where `refused` is any error, and `part`
    /// of an answer; or `closed` or `waits` where there is none; or `unclear` what is no answer at all.
    pub(crate) allowed: &'static str,
    /// How many of the bytes go with the first write.
    pub(crate) split: usize,
}

/// What came of an attempt.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) attempt: Attempt,
    pub(crate) marker: String,
    pub(crate) received: Vec<u8>,
    is_closed: bool,
    /// What went wrong besides.
    error: Option<Error>,
}

impl Attempt {
    /// The same for another function than `near`.
    pub(crate) fn of(self, function: &str) -> Self {
        let near = format!("/function/{NEAR}");
        let bytes = replaced(
            &self.bytes,
            near.as_bytes(),
            format!("/function/{function}").as_bytes(),
        );
        Self {
            split: bytes.len(),
            bytes,
            ..self
        }
    }

    /// The same, with a pause behind each of its bytes but the last in turn.
    pub(crate) fn splits(&self) -> impl Iterator<Item = Self> {
        (1..self.bytes.len()).map(|split| Self {
            split,
            ..self.clone()
        })
    }

    /// Whether these answers, or none, are among what may come.
    fn allows(&self, outcome: &[String]) -> bool {
        self.allowed.split('|').any(|alternative| {
            let words: Vec<&str> = alternative.split_whitespace().collect();
            let is_met = |(word, seen): (&&str, &String)| match *word {
                "refused" => seen.starts_with(['4', '5']),
                word => word == seen,
            };
            words.len() == outcome.len() && words.iter().zip(outcome).all(is_met)
        })
    }

    async fn make(self, front_end: FrontEnd, marker: String) -> Seen {
        let mut seen = Seen {
            attempt: self,
            marker,
            received: Vec::new(),
            is_closed: false,
            error: None,
        };
        seen.error = seen.send(&front_end).await.err();
        seen
    }
}

impl Seen {
    async fn send(&mut self, front_end: &FrontEnd) -> Result<()> {
        let connected = timeout(patience(PATIENCE), TcpStream::connect(front_end.address)).await;
        let mut stream = connected.context("connecting")??;
        stream.set_nodelay(true)?;
        let bytes = replaced(&self.attempt.bytes, MARKER, self.marker.as_bytes());
        let (first, second) = bytes.split_at(self.attempt.split);
        // Who is refused early may find the connection closed, and has an answer all the same.
        let mut sent = stream.write_all(first).await;
        if !second.is_empty() && sent.is_ok() {
            sleep(patience(PAUSE)).await;
            sent = stream.write_all(second).await;
        }
        self.is_closed = sent.is_err();
        let start = now();
        while start.elapsed() < patience(PATIENCE) {
            let is_over = match timeout(patience(QUIET), self.receive(&mut stream)).await {
                Ok(is_end) => is_end?,
                Err(_) => self.is_over(start.elapsed()),
            };
            if is_over {
                break;
            }
        }
        Ok(())
    }

    /// Whether no more need be waited for when nothing came for a while. A wait is told from a slow answer by waiting.
    fn is_over(&self, elapsed: Duration) -> bool {
        let is_enough = !self.received.is_empty() || elapsed > 2 * patience(QUIET);
        is_enough && self.attempt.allows(&self.outcome())
    }

    /// Takes what comes next, and tells whether it was the end.
    async fn receive(&mut self, stream: &mut TcpStream) -> Result<bool> {
        let mut bytes = [0; READ_BYTES];
        match stream.read(&mut bytes).await {
            Ok(0) => self.is_closed = true,
            Ok(length) => self.received.extend_from_slice(&bytes[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => self.is_closed = true,
            Err(error) => return Err(error.into()),
        }
        Ok(self.is_closed)
    }

    /// All whole answers, interim ones left out, and what came behind them.
    pub(crate) fn answers(&self) -> Result<(Vec<Response>, &[u8])> {
        let mut answers = Vec::new();
        let mut rest = &self.received[..];
        while let Some((response, length)) = self.next(rest)? {
            rest = &rest[length..];
            if !response.is_interim() {
                answers.push(response);
            }
        }
        Ok((answers, rest))
    }

    fn next(&self, rest: &[u8]) -> Result<Option<(Response, usize)>> {
        if rest.is_empty() {
            return Ok(None);
        }
        let next = Response::read(rest, "GET")?;
        // Without a length, the end of the connection ends the answer.
        let last = || {
            self.is_closed
                .then(|| Response::read_last(rest, "GET").ok())
                .flatten()
        };
        Ok(next.or_else(last))
    }

    fn outcome(&self) -> Vec<String> {
        let Ok((answers, rest)) = self.answers() else {
            return vec!["unclear".to_owned()];
        };
        let mut words: Vec<String> = answers.iter().map(|answer| answer.status.to_string()).collect();
        if !rest.is_empty() {
            words.push("part".to_owned());
        } else if words.is_empty() {
            words.push(if self.is_closed { "closed" } else { "waits" }.to_owned());
        }
        words
    }

    /// That what came is what may come.
    pub(crate) fn check_outcome(&self) -> Result<()> {
        if let Some(error) = &self.error {
            bail!("{error:#}");
        }
        let outcome = self.outcome();
        let allowed = self.attempt.allowed;
        ensure!(
            self.attempt.allows(&outcome),
            "{}, not {allowed}",
            outcome.join(" ")
        );
        Ok(())
    }
}

/// Makes all attempts, many at once, and returns what came of each.
pub(crate) fn make_all(front_end: &FrontEnd, attempts: Vec<Attempt>) -> Vec<Seen> {
    let make = || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let places = std::sync::Arc::new(Semaphore::new(ATTEMPTS_AT_ONCE));
            let mut running = JoinSet::new();
            for (number, attempt) in attempts.into_iter().enumerate() {
                let place = places.clone().acquire_owned().await.unwrap();
                let front_end = front_end.clone();
                running.spawn(async move {
                    let seen = attempt.make(front_end, format!("m{number:07}")).await;
                    drop(place);
                    seen
                });
            }
            running.join_all().await
        })
    };
    front_end.from.on_thread(make).unwrap()
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::new();
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        match rest.strip_prefix(from) {
            Some(behind) => {
                replaced.extend_from_slice(to);
                rest = behind;
            }
            None => {
                replaced.push(*first);
                rest = tail;
            }
        }
    }
    replaced
}
