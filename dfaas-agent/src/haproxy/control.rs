//! The socket over which HAProxy takes commands: one connection a command.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Pid;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use super::{
    commands,
    configuration::{MAP_NAME, METERS},
    rows::{Rows, UNTIL},
    version::Version,
};

/// HAProxy answers at once; one that does not for so long hangs.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Why HAProxy did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub(super) enum ControlError {
    #[error("no answer at {}: {source}", path.display())]
    Socket { path: PathBuf, source: std::io::Error },
    #[error("no answer at {} within {TIMEOUT:?}", path.display())]
    Timeout { path: PathBuf },
    #[error("HAProxy answers {answer:?} to {command:?}")]
    Refused { command: String, answer: String },
    #[error(
        "HAProxy at {} does not run this agent's configuration: give it the one that `dfaas-agent haproxy-config` prints",
        path.display()
    )]
    Foreign { path: PathBuf },
    #[error("HAProxy {found} is older than {needed}")]
    Old { found: Version, needed: Version },
}

/// What HAProxy says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) pid: u32,
    pub(super) version: Version,
    /// The counters of the stick table, by key.
    pub(super) counts: Vec<(String, u64)>,
}

/// A HAProxy that listens for commands.
#[derive(Clone, Debug)]
pub(super) struct Control {
    path: PathBuf,
}

impl Control {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Who it is, and what it has counted.
    pub(super) async fn read(&self) -> Result<Reading, ControlError> {
        let answer = self.ask(&format!("show info;show table {METERS}")).await?;
        let reading = commands::reading(&answer).ok_or_else(|| self.foreign())?;
        if reading.version < Version::MIN {
            return Err(ControlError::Old {
                found: reading.version,
                needed: Version::MIN,
            });
        }
        Ok(reading)
    }

    /// The process that listens, as the kernel knows it.
    pub(super) async fn process(&self) -> Option<Pid> {
        let stream = UnixStream::connect(&self.path).await.ok()?;
        Pid::from_raw(stream.peer_cred().ok()?.pid()?)
    }

    /// Says until when peers are dealt with, in seconds since 1970.
    pub(super) async fn attend(&self, until: u64) -> Result<(), ControlError> {
        let maps = self.ask("show map").await?;
        let map = commands::map_id(&maps, MAP_NAME).ok_or_else(|| self.foreign())?;
        self.order(&format!("set map #{map} {UNTIL} {until}")).await
    }

    /// Replaces all rows of the map. A request sees the old ones or the new ones, never some of both.
    pub(super) async fn replace(&self, rows: &Rows) -> Result<(), ControlError> {
        let maps = self.ask("show map").await?;
        let map = commands::map_id(&maps, MAP_NAME).ok_or_else(|| self.foreign())?;
        let prepare = format!("prepare map #{map}");
        let answer = self.ask(&prepare).await?;
        let Some(version) = commands::prepared(&answer) else {
            return Err(refused(&prepare, &answer));
        };
        for command in commands::add(map, version, rows) {
            self.order(&command).await?;
        }
        self.order(&format!("commit map @{version} #{map}")).await
    }

    /// A command that has no answer but an error.
    async fn order(&self, command: &str) -> Result<(), ControlError> {
        let answer = self.ask(command).await?;
        if answer.trim().is_empty() {
            Ok(())
        } else {
            Err(refused(command, &answer))
        }
    }

    async fn ask(&self, command: &str) -> Result<String, ControlError> {
        let socket = |source| ControlError::Socket {
            path: self.path.clone(),
            source,
        };
        let exchange = async {
            let mut stream = UnixStream::connect(&self.path).await?;
            stream.write_all(command.as_bytes()).await?;
            stream.write_all(b"\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok(answer)
        };
        timeout(TIMEOUT, exchange)
            .await
            .map_err(|_elapsed| ControlError::Timeout {
                path: self.path.clone(),
            })?
            .map_err(socket)
    }

    fn foreign(&self) -> ControlError {
        ControlError::Foreign {
            path: self.path.clone(),
        }
    }
}

fn refused(command: &str, answer: &str) -> ControlError {
    let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    ControlError::Refused {
        command: first(command),
        answer: first(answer.trim_start()),
    }
}
