//! The program HAProxy: found, examined, started.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStderr, Command},
};
use tracing::{debug, warn};

use super::{folder::Folder, sys, version::Version};

/// Where packages put it, should `PATH` not say so.
const FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];
/// `nobody`, by the number that every system gives it.
pub(super) const NOBODY: u32 = 65_534;

/// A HAProxy that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) version: Version,
}

impl Program {
    /// Looks where programs are.
    ///
    /// # Errors
    /// It is there and of no use.
    pub(crate) fn find() -> Result<Option<Self>> {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = env::split_paths(&path).chain(FOLDERS.map(PathBuf::from));
        let found = folders
            .map(|folder| folder.join("haproxy"))
            .find(|file| file.is_file());
        found.map(|file| Self::at(&file)).transpose()
    }

    /// Takes the program at a path.
    ///
    /// # Errors
    /// It is not there, does not run, or is too old.
    pub(crate) fn at(path: &Path) -> Result<Self> {
        let shown = path.display();
        let output = std::process::Command::new(path)
            .arg("-v")
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("running {shown} -v"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = Version::of_output(&text).with_context(|| format!("running {shown} -v"))?;
        if version < Version::MIN {
            bail!(
                "{shown} is HAProxy {version}; {} or later is needed",
                Version::MIN
            );
        }
        Ok(Self {
            path: path.to_owned(),
            version,
        })
    }

    /// Starts it, as nobody if that is possible.
    pub(super) fn start(&self, folder: &Folder) -> io::Result<Child> {
        if folder.belongs_to_nobody() {
            match self.command(folder).uid(NOBODY).gid(NOBODY).spawn() {
                Ok(child) => return Ok(child),
                Err(error) => {
                    debug!(%error, "HAProxy cannot be started as nobody; it gets this process's rights")
                }
            }
        }
        self.command(folder).spawn()
    }

    fn command(&self, folder: &Folder) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("-db").arg("-f").arg(folder.configuration());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // The terminal's Ctrl-C is for the agent, which ends HAProxy in order.
        command.process_group(0).kill_on_drop(true);
        sys::tie_to_parent(&mut command);
        command
    }
}

/// Logs what HAProxy says; returns its first alert when it has ended.
pub(super) async fn listen(stderr: ChildStderr) -> Option<String> {
    let mut lines = BufReader::new(stderr).lines();
    let mut first = None;
    while let Ok(Some(line)) = lines.next_line().await {
        // `[ALERT]    (4711) : text`
        let text = line.split_once(" : ").map_or(line.as_str(), |(_, text)| text);
        if line.starts_with("[NOTICE]") {
            debug!(text, "HAProxy says");
        } else if !line.is_empty() {
            warn!(text, "HAProxy says");
            first.get_or_insert_with(|| text.to_owned());
        }
    }
    first
}
