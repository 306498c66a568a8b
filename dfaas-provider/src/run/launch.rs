//! How the process of a function is started: its command, its environment and its home.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::run::detached::Detached;
use crate::run::guard::Guard;
use crate::run::isolation::Isolation;
use crate::run::process::{Process, Register};
use crate::web::spool::Spool;
use crate::wire::Pairs;

const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variable that names the directory of a function's secrets.
const SECRETS_VARIABLE: &str = "secret_mount_path";

/// How long a call waits for others to end; a call may wait for one that it made itself.
const SLOT_PATIENCE: Duration = Duration::from_secs(10);

/// What the processes of all functions of a node share.
#[derive(Debug)]
pub(crate) struct Host {
    /// Bounds how many calls have a process at the same time.
    slots: Arc<Semaphore>,
    slots_per_function: usize,
    guard: Arc<Guard>,
    spool: Spool,
    pub(crate) detached: Detached,
    /// What keeps warm functions running.
    pub(crate) supervisors: Detached,
}

impl Host {
    pub(crate) fn new(slots: usize, guard: Guard, spool: Spool) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(slots)),
            // No function alone stops all others.
            slots_per_function: slots - slots / 4,
            guard: Arc::new(guard),
            spool,
            detached: Detached::default(),
            supervisors: Detached::default(),
        }
    }
}

impl Host {
    pub(crate) fn spool(&self) -> &Spool {
        &self.spool
    }
}

/// The right to run a process for a call.
#[derive(Debug)]
pub(crate) struct Slot {
    _own: OwnedSemaphorePermit,
    _shared: OwnedSemaphorePermit,
}

/// Where the process of a function lives and what it may use.
#[derive(Debug)]
pub(crate) struct Homes {
    pub(crate) home: PathBuf,
    /// The directory of its secrets, if it has any.
    pub(crate) secrets: Option<PathBuf>,
    pub(crate) host: Arc<Host>,
    pub(crate) isolation: Isolation,
}

#[derive(Debug)]
pub(crate) struct Launch {
    words: Vec<String>,
    environment: Pairs,
    home: PathBuf,
    host: Arc<Host>,
    slots: Arc<Semaphore>,
    isolation: Isolation,
    register: Arc<Register>,
}

impl Launch {
    /// Gives the process its own variables and the few every process needs, none of the platform's others.
    pub(crate) fn new(words: Vec<String>, variables: &Pairs, homes: Homes) -> Self {
        let Homes {
            home,
            secrets,
            host,
            isolation,
        } = homes;
        let path = std::env::var("PATH").unwrap_or(PATH_DEFAULT.to_owned());
        let mut environment = Pairs::from([
            ("PATH".to_owned(), path),
            ("HOME".to_owned(), home.display().to_string()),
            ("fprocess".to_owned(), words.join(" ")),
        ]);
        environment.extend(variables.clone());
        if let Some(secrets) = secrets {
            let secrets = isolation.secrets().map_or(secrets, Path::to_owned);
            environment.insert(SECRETS_VARIABLE.to_owned(), secrets.display().to_string());
        }
        Self {
            words,
            environment,
            home,
            slots: Arc::new(Semaphore::new(host.slots_per_function)),
            host,
            isolation,
            register: Arc::default(),
        }
    }

    /// The processes that run now.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.register.list()
    }

    pub(crate) fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    pub(crate) fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Waits for its turn to start a process for a call; there is none if the node stays too busy.
    pub(crate) async fn slot(&self) -> Option<Slot> {
        let both = async {
            Ok::<_, tokio::sync::AcquireError>(Slot {
                _own: Arc::clone(&self.slots).acquire_owned().await?,
                _shared: Arc::clone(&self.host.slots).acquire_owned().await?,
            })
        };
        timeout(SLOT_PATIENCE, both).await.ok()?.ok()
    }

    pub(crate) fn spool(&self) -> &Spool {
        &self.host.spool
    }

    pub(crate) fn supervisors(&self) -> &Detached {
        &self.host.supervisors
    }

    /// Calls that go on without their callers.
    pub(crate) fn detached(&self) -> &Detached {
        &self.host.detached
    }

    /// The function's command, to be completed and started by [`Launch::start`].
    pub(crate) fn command(&self) -> io::Result<Command> {
        let mut command = Command::new(self.find()?);
        command.arg0(self.program()).args(self.words.iter().skip(1));
        command
            .env_clear()
            .envs(&self.environment)
            .current_dir(&self.home);
        Ok(command)
    }

    pub(crate) fn start(&self, command: &mut Command) -> io::Result<Process> {
        Process::spawn(
            command,
            &self.host.guard,
            self.isolation.confinement(),
            &self.register,
        )
    }

    /// Looks for the program in the function's `PATH`. Left to std, a `PATH` that is not the platform's own
    /// would cost a fork.
    fn find(&self) -> io::Result<PathBuf> {
        let program = Path::new(self.program());
        if program.components().count() > 1 {
            return Ok(program.to_owned());
        }
        let path = self.environment.get("PATH").map_or("", String::as_str);
        let mut candidates = std::env::split_paths(path).map(|directory| directory.join(program));
        candidates
            .find(|path| is_executable(path))
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("it is not in the PATH {path}")))
    }
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
