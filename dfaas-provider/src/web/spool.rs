//! Requests that are kept until they are whole: small ones in memory, larger ones in a file without a name.

use std::fs::File;
use std::io::{self, Seek};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Body as _;
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::state::files::{self, FileError};
use crate::web::body::{Body, BodyError};

/// A longer request goes to a file.
const MEMORY_BYTES_MAX: usize = 128 << 10;

/// What the files of all waiting requests are counted in.
const UNIT_BYTES: u64 = 1 << 20;

/// 16 GiB in all: sixteen requests of the length that is allowed by default.
const UNITS_MAX: usize = 16 << 10;

#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("keep the request in a file: {0}; free space in the state directory")]
    File(#[from] io::Error),
    #[error("this node keeps as many waiting requests as it may; try again later")]
    Full,
}

impl SpoolError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Body(BodyError::TooLong(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyError::Silent(_)) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyError::Connection(_)) => StatusCode::BAD_REQUEST,
            Self::Body(BodyError::Kept(_)) | Self::File(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Where requests are kept.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
    room: Arc<Semaphore>,
}

/// A whole request.
#[derive(Debug)]
pub(crate) enum Input {
    Memory(Bytes),
    File {
        file: File,
        length: u64,
        /// Frees the room with the file.
        room: Arc<OwnedSemaphorePermit>,
    },
}

impl Spool {
    pub(crate) fn open(state: &Path) -> Result<Self, FileError> {
        let directory = state.join("spool");
        files::create_directory(&directory)?;
        Ok(Self {
            directory,
            room: Arc::new(Semaphore::new(UNITS_MAX)),
        })
    }

    /// Reads a request to its end.
    pub(crate) async fn keep(&self, mut body: Body) -> Result<Input, SpoolError> {
        let expected = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::with_capacity(expected.min(MEMORY_BYTES_MAX));
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            bytes.extend_from_slice(&data);
            if bytes.len() > MEMORY_BYTES_MAX {
                return self.keep_in_file(&bytes, body).await;
            }
        }
        Ok(Input::Memory(bytes.freeze()))
    }

    async fn keep_in_file(&self, begun: &[u8], mut body: Body) -> Result<Input, SpoolError> {
        let mut room = self.take_room()?;
        let mut length = begun.len() as u64;
        let mut file = tokio::fs::File::from_std(tempfile::tempfile_in(&self.directory)?);
        file.write_all(begun).await?;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            length += data.len() as u64;
            while length > room.num_permits() as u64 * UNIT_BYTES {
                room.merge(self.take_room()?);
            }
            file.write_all(&data).await?;
        }
        file.flush().await?;
        let mut file = file.into_std().await;
        file.rewind()?;
        Ok(Input::File {
            file,
            length,
            room: Arc::new(room),
        })
    }

    fn take_room(&self) -> Result<OwnedSemaphorePermit, SpoolError> {
        Arc::clone(&self.room)
            .try_acquire_owned()
            .map_err(|_| SpoolError::Full)
    }
}

impl Input {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }

    /// The same once more, from its beginning.
    pub(crate) fn again(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Memory(bytes) => Self::Memory(bytes.clone()),
            Self::File { file, length, room } => {
                let mut file = file.try_clone()?;
                file.rewind()?;
                Self::File {
                    file,
                    length: *length,
                    room: Arc::clone(room),
                }
            }
        })
    }

    /// What a process reads it from: nothing, a pipe that is to be filled, or the file itself.
    pub(crate) fn stdio(&self) -> io::Result<Stdio> {
        Ok(match self {
            Self::Memory(bytes) if bytes.is_empty() => Stdio::null(),
            Self::Memory(_) => Stdio::piped(),
            Self::File { file, .. } => file.try_clone()?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[tokio::test]
    async fn short_requests_stay_in_memory() {
        let state = tempfile::tempdir().unwrap();
        let spool = Spool::open(state.path()).unwrap();
        let kept = spool.keep(Body::blocks(MEMORY_BYTES_MAX as u64)).await.unwrap();
        assert!(matches!(kept, Input::Memory(_)));
        assert_eq!(kept.length(), MEMORY_BYTES_MAX as u64);
    }

    #[tokio::test]
    async fn long_requests_lie_in_a_file_and_free_their_room() {
        let state = tempfile::tempdir().unwrap();
        let spool = Spool::open(state.path()).unwrap();
        let kept = spool.keep(Body::blocks(3_000_000)).await.unwrap();
        let Input::File { file, .. } = &kept else {
            panic!("{kept:?}");
        };
        let mut file = file.try_clone().unwrap();
        assert_eq!(file.read_to_end(&mut Vec::new()).unwrap(), 3_000_000);
        assert_eq!(spool.room.available_permits(), UNITS_MAX - 3);
        drop(kept);
        assert_eq!(spool.room.available_permits(), UNITS_MAX);
    }
}
