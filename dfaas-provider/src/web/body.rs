//! The one body type of requests and responses, so that no path has to box it.

use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::run::function::invocation::Invocation;
use crate::web::spool::Input;

/// Handed out again and again for downloads; large enough to fill a socket buffer in few writes.
const BLOCK_BYTES: usize = 64 * 1024;
/// How much of a download without a known length goes into a chunk: no multiple or part of a segment.
const CHUNK_BYTES: usize = 1000;
/// Whoever sends fewer bytes a second than these runs out of time.
const RATE_MIN: u64 = 100;
static BLOCK: [u8; BLOCK_BYTES] = pattern();

#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the body is longer than the {0} bytes allowed")]
    TooLong(u64),
    #[error("the body comes too slowly; the longest silence is {0:?}")]
    Silent(Duration),
    #[error(transparent)]
    Connection(#[from] hyper::Error),
    #[error("read what was kept of the request: {0}")]
    Kept(#[from] io::Error),
}

/// How long the sender of a body may keep silent: what has come buys time, up to the longest silence.
#[derive(Debug)]
struct Patience {
    silence: Duration,
    /// What is left of the time.
    left: Duration,
    wait: Option<Wait>,
}

#[derive(Debug)]
struct Wait {
    begun: Instant,
    end: Pin<Box<Sleep>>,
}

#[derive(Debug)]
enum Payload {
    Whole(Bytes),
    Passed {
        incoming: Incoming,
        left: u64,
        limit: u64,
        patience: Patience,
    },
    Blocks {
        left: u64,
    },
    Chunks {
        left: u64,
    },
    Lines(mpsc::Receiver<Bytes>),
    /// Read in small pieces: what was just written is in the page cache.
    Kept {
        file: File,
        left: u64,
        _room: Arc<OwnedSemaphorePermit>,
    },
}

/// A body, and the invocation that ends when it has been sent or dropped.
#[derive(Debug)]
pub(crate) struct Body {
    payload: Payload,
    invocation: Option<Invocation>,
    turn: Option<TaskTrackerToken>,
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self::whole(Bytes::new())
    }

    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Payload::Whole(bytes.into()).into()
    }

    /// Passes on what comes in, up to `limit` bytes.
    pub(crate) fn passed(incoming: Incoming, limit: u64) -> Self {
        Self::passed_within(incoming, limit, Duration::MAX)
    }

    /// Passes on what comes in, up to `limit` bytes, as long as it never pauses for so long.
    pub(crate) fn passed_within(incoming: Incoming, limit: u64, silence: Duration) -> Self {
        Payload::Passed {
            incoming,
            left: limit,
            limit,
            patience: Patience {
                silence,
                left: silence,
                wait: None,
            },
        }
        .into()
    }

    /// Makes up `length` bytes.
    pub(crate) fn blocks(length: u64) -> Self {
        Payload::Blocks { left: length }.into()
    }

    /// Makes up `length` bytes and does not tell how many they will be.
    pub(crate) fn chunks(length: u64) -> Self {
        Payload::Chunks { left: length }.into()
    }

    pub(crate) fn lines(lines: mpsc::Receiver<Bytes>) -> Self {
        Payload::Lines(lines).into()
    }

    /// What was kept of a request.
    pub(crate) fn kept(input: Input) -> Self {
        match input {
            Input::Memory(bytes) => Self::whole(bytes),
            Input::File { file, length, room } => Payload::Kept {
                file,
                left: length,
                _room: room,
            }
            .into(),
        }
    }

    /// Keeps a warm process from being ended before the body is sent.
    pub(crate) fn hold_turn(&mut self, turn: TaskTrackerToken) {
        self.turn = Some(turn);
    }

    pub(crate) fn hold(&mut self, invocation: Invocation) {
        self.invocation = Some(invocation);
    }
}

impl From<Payload> for Body {
    fn from(payload: Payload) -> Self {
        Self {
            payload,
            invocation: None,
            turn: None,
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(self.payload.poll(context));
        if frame.is_none() {
            self.invocation = None;
            self.turn = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.payload {
            Payload::Whole(bytes) => bytes.is_empty(),
            Payload::Passed { incoming, .. } => incoming.is_end_stream(),
            Payload::Blocks { left } | Payload::Kept { left, .. } => *left == 0,
            Payload::Chunks { .. } | Payload::Lines(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.payload {
            Payload::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Payload::Passed { incoming, .. } => incoming.size_hint(),
            Payload::Blocks { left } | Payload::Kept { left, .. } => SizeHint::with_exact(*left),
            Payload::Chunks { .. } | Payload::Lines(_) => SizeHint::default(),
        }
    }
}

impl Payload {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let data = match self {
            Self::Whole(bytes) if bytes.is_empty() => None,
            Self::Whole(bytes) => Some(std::mem::take(bytes)),
            Self::Passed {
                incoming,
                left,
                limit,
                patience,
            } => {
                let Poll::Ready(frame) = Pin::new(incoming).poll_frame(context) else {
                    let error = ready!(patience.poll(context));
                    return Poll::Ready(Some(Err(error)));
                };
                let before = *left;
                let frame = frame.map(|frame| within(frame?, left, *limit));
                patience.earn(before - *left);
                return Poll::Ready(frame);
            }
            Self::Blocks { left: 0 } | Self::Chunks { left: 0 } => None,
            Self::Blocks { left } => Some(made_up(left, BLOCK_BYTES)),
            Self::Chunks { left } => Some(made_up(left, CHUNK_BYTES)),
            Self::Lines(lines) => ready!(lines.poll_recv(context)),
            Self::Kept { left: 0, .. } => None,
            Self::Kept { file, left, .. } => return Poll::Ready(Some(read(file, left))),
        };
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }
}

impl Patience {
    /// Ends when it is over. Most bodies come at once, and cost no timer.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<BodyError> {
        let left = self.left;
        let wait = self.wait.get_or_insert_with(|| Wait {
            begun: Instant::now(),
            end: Box::pin(sleep(left)),
        });
        ready!(wait.end.as_mut().poll(context));
        Poll::Ready(BodyError::Silent(self.silence))
    }

    fn earn(&mut self, bytes: u64) {
        let Some(wait) = self.wait.take() else { return };
        let earned = Duration::from_millis(bytes.saturating_mul(1000) / RATE_MIN);
        let left = self.left.saturating_sub(wait.begun.elapsed());
        self.left = left.saturating_add(earned).min(self.silence);
    }
}

fn read(file: &mut File, left: &mut u64) -> Result<Frame<Bytes>, BodyError> {
    let mut block = vec![0; BLOCK_BYTES];
    let length = file.read(&mut block)?;
    *left = match length {
        0 => 0,
        length => left.saturating_sub(length as u64),
    };
    block.truncate(length);
    Ok(Frame::data(block.into()))
}

fn made_up(left: &mut u64, most: usize) -> Bytes {
    let length = most.min(usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= length as u64;
    Bytes::from_static(&BLOCK[..length])
}

fn within(frame: Frame<Bytes>, left: &mut u64, limit: u64) -> Result<Frame<Bytes>, BodyError> {
    let length = frame.data_ref().map_or(0, |data| data.len() as u64);
    *left = left.checked_sub(length).ok_or(BodyError::TooLong(limit))?;
    Ok(frame)
}

/// A period of 251, a prime, so that a lost or repeated page changes the text.
const fn pattern() -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    let mut at = 0;
    while at < BLOCK_BYTES {
        block[at] = (at % 251) as u8;
        at += 1;
    }
    block
}
