//! The folder of one HAProxy: its configuration, its map, its socket.

use std::{
    env, fs,
    io::ErrorKind,
    os::unix::{
        fs::{DirBuilderExt, chown},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result};
use rustix::{
    net::sockopt::socket_peercred,
    process::{Pid, Signal, geteuid, kill_process},
};

use super::{
    commands,
    configuration::{self, MAP_NAME, Settings},
    program::USER,
    rows::Rows,
};
use crate::run_folder::{VARIABLE, base};

const PREFIX: &str = "dfaas-haproxy-";

/// A folder that is private to HAProxy. It goes when it is dropped, unless its HAProxy is to outlive the agent.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    has_own_user: bool,
    is_kept: bool,
}

impl Folder {
    /// Makes one, and takes away those that agents which were killed have left.
    pub(super) fn new() -> Result<Self> {
        // Who is not root finds no place in /run.
        let base = base();
        Self::within(&base).or_else(|error| match env::var_os(VARIABLE) {
            Some(_) => Err(error),
            None => Self::within(&env::temp_dir()),
        })
    }

    /// The folder of a HAProxy that outlives agents: the next one finds it by this name.
    pub(super) fn kept(name: &str) -> Result<Self> {
        let base = base();
        remove_dead(&base, name);
        match Self::make(base.join(format!("{PREFIX}{name}"))) {
            Ok(mut folder) => {
                folder.is_kept = true;
                Ok(folder)
            }
            Err(_) => Self::new(),
        }
    }

    pub(super) fn within(base: &Path) -> Result<Self> {
        remove_dead(base, "");
        let mut number = [0; 4];
        // Without randomness the process id has to do.
        let _short = rustix::rand::getrandom(&mut number, rustix::rand::GetRandomFlags::empty());
        let name = format!("{PREFIX}{}-{:08x}", process::id(), u32::from_ne_bytes(number));
        Self::make(base.join(name))
    }

    fn make(path: PathBuf) -> Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path.parent().unwrap_or(&path))
            .with_context(|| format!("making {}", path.display()))?;
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
            made => made.with_context(|| format!("making {}", path.display()))?,
        }
        let has_own_user = geteuid().is_root() && chown(&path, Some(USER), Some(USER)).is_ok();
        Ok(Self {
            path,
            has_own_user,
            is_kept: false,
        })
    }

    /// Whether its HAProxy outlives the agent.
    pub(super) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Whether HAProxy was started with these settings.
    pub(super) fn holds(&self, settings: &Settings) -> bool {
        let text = fs::read_to_string(self.configuration());
        text.is_ok_and(|text| text == configuration::text(settings))
    }

    /// Takes it away when it is dropped, whatever it was made for.
    pub(super) fn leave(&mut self) {
        self.is_kept = false;
    }

    pub(super) fn has_own_user(&self) -> bool {
        self.has_own_user
    }

    pub(super) fn configuration(&self) -> PathBuf {
        self.path.join("haproxy.cfg")
    }

    pub(super) fn map(&self) -> PathBuf {
        self.path.join(MAP_NAME)
    }

    pub(super) fn control(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// Writes what HAProxy reads when it starts.
    pub(super) fn fill(&self, settings: &Settings, rows: &Rows) -> Result<()> {
        for (path, text) in [
            (self.map(), commands::file(rows)),
            (self.configuration(), configuration::text(settings)),
        ] {
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            // Nobody is left to be told; the next start takes away what stays.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Ends what agents have left that are gone, but for what has one of these names, and tells which that was.
pub(super) fn clean(busy: &[String]) -> Vec<String> {
    let mut told = Vec::new();
    let entries = fs::read_dir(base()).into_iter().flatten().flatten();
    for entry in entries {
        let file = entry.file_name();
        let Some(name) = file.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
            continue;
        };
        let path = entry.path();
        let process = listener(&path);
        // Others end with their agent, and have its process's number in their names.
        let is_kept =
            !name.starts_with(|first: char| first.is_ascii_digit()) || name.matches('-').count() > 1;
        if busy.iter().any(|busy| busy == name) || (process.is_some() && !is_kept) {
            continue;
        }
        if let Some(process) = process {
            let _ended = kill_process(process, Signal::TERM);
            told.push(format!("HAProxy, process {}", process.as_raw_nonzero()));
        }
        if fs::remove_dir_all(&path).is_ok() {
            told.push(path.display().to_string());
        }
    }
    told
}

/// The process that listens at the socket in a folder, as the kernel knows it.
fn listener(folder: &Path) -> Option<Pid> {
    let stream = UnixStream::connect(folder.join("control.sock")).ok()?;
    Some(socket_peercred(stream).ok()?.pid)
}

/// Removes folders whose socket nobody listens on, but for the one of a name.
fn remove_dead(base: &Path, kept: &str) {
    let kept = format!("{PREFIX}{kept}");
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with(PREFIX) && name != kept
    }) {
        let path = entry.path();
        let answer = UnixStream::connect(path.join("control.sock"));
        if answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
            let _gone_or_foreign = fs::remove_dir_all(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::PermissionsExt, net::UnixListener};

    use super::*;
    use crate::haproxy::Entrance;

    #[test]
    fn a_folder_is_private_and_goes_with_its_owner() {
        let base = tempfile::tempdir().unwrap();
        let folder = Folder::within(base.path()).unwrap();
        let mode = fs::metadata(&folder.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let settings = Settings {
            entrances: vec![Entrance::Address("127.0.0.1:1".parse().unwrap())],
            functions_port: 2,
            control: folder.control(),
            map: folder.map(),
        };
        let rows = Rows::from([("a".to_owned(), "b".to_owned())]);
        folder.fill(&settings, &rows).unwrap();
        assert_eq!(fs::read_to_string(folder.map()).unwrap(), "a b\n");
        drop(folder);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_killed_agents_left_is_removed() {
        let base = tempfile::tempdir().unwrap();
        let (live, dead) = (
            base.path().join("dfaas-haproxy-1"),
            base.path().join("dfaas-haproxy-2"),
        );
        let listen = |path: &Path| {
            fs::create_dir(path).unwrap();
            UnixListener::bind(path.join("control.sock")).unwrap()
        };
        let _listens = listen(&live);
        drop(listen(&dead));
        let _folder = Folder::within(base.path()).unwrap();
        assert!(live.exists() && !dead.exists());
    }
}
