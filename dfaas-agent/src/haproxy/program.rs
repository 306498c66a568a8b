//! The program HAProxy: found, examined, started.

use std::{
    env,
    fmt::{self, Display, Formatter},
    io,
    net::TcpListener,
    os::fd::AsRawFd,
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
/// A user of its own, who shares files and processes with no other daemon. systemd's table of numbers leaves 65520 to 65533 to
/// nobody (https://systemd.io/UIDS-GIDS).
pub(super) const USER: u32 = 65_533;

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

    /// Finds the one without which nothing goes.
    ///
    /// # Errors
    /// It is not there, or of no use.
    pub(crate) fn needed() -> Result<Self> {
        Self::find()?.with_context(|| {
            format!(
                "there is no program haproxy on this host, and --data-plane haproxy is nothing without it: install \
                 HAProxy {} or later, or name it with --haproxy",
                Version::MIN
            )
        })
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

    /// Starts it without any privilege, and as a user of its own if that is possible.
    pub(super) fn start(&self, folder: &Folder, listeners: &[TcpListener]) -> io::Result<Child> {
        if folder.has_own_user() {
            match self.command(folder, listeners, Some(USER)).spawn() {
                Ok(child) => return Ok(child),
                Err(error) => {
                    warn!(
                        %error,
                        "HAProxy cannot be started as a user of its own, and stays root without capabilities (it takes \
                         CAP_SETUID and CAP_SETGID)"
                    )
                }
            }
        }
        self.command(folder, listeners, None).spawn()
    }

    fn command(&self, folder: &Folder, listeners: &[TcpListener], user: Option<u32>) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("-db").arg("-f").arg(folder.configuration());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // The terminal's Ctrl-C is for the agent, which ends HAProxy in order.
        command.process_group(0);
        // It would tell the agent's supervisor that it is ready.
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC");
        // A change of the user undoes the tie, so it comes first.
        sys::take_privileges(&mut command, user);
        if !folder.is_kept() {
            command.kill_on_drop(true);
            sys::tie_to_parent(&mut command);
        }
        for listener in listeners {
            sys::hand_down(&mut command, listener.as_raw_fd());
        }
        command
    }
}

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} is version {}", self.path.display(), self.version)
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
