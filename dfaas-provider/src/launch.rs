//! How the process of a function is started: its command, its environment and its home.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::wire::Pairs;

const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variable that names the directory of a function's secrets.
const SECRETS_VARIABLE: &str = "secret_mount_path";

/// How long a call waits for others to end; a call may wait for one that it made itself.
const SLOT_PATIENCE: Duration = Duration::from_secs(10);

/// Bounds how many calls have a process at the same time, over all functions of the node.
#[derive(Clone, Debug)]
pub(crate) struct Slots(Arc<Semaphore>);

impl Slots {
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }
}

/// Where the process of a function lives and what it may use.
#[derive(Debug)]
pub(crate) struct Homes {
    pub(crate) home: PathBuf,
    /// The directory of its secrets, if it has any.
    pub(crate) secrets: Option<PathBuf>,
    pub(crate) slots: Slots,
}

#[derive(Debug)]
pub(crate) struct Launch {
    words: Vec<String>,
    environment: Pairs,
    home: PathBuf,
    slots: Slots,
}

impl Launch {
    /// Gives the process its own variables and the few every process needs, none of the platform's others.
    pub(crate) fn new(words: Vec<String>, variables: &Pairs, homes: Homes) -> Self {
        let Homes { home, secrets, slots } = homes;
        let path = std::env::var("PATH").unwrap_or(PATH_DEFAULT.to_owned());
        let mut environment = Pairs::from([
            ("PATH".to_owned(), path),
            ("HOME".to_owned(), home.display().to_string()),
            ("fprocess".to_owned(), words.join(" ")),
        ]);
        environment.extend(variables.clone());
        if let Some(secrets) = secrets {
            environment.insert(SECRETS_VARIABLE.to_owned(), secrets.display().to_string());
        }
        Self {
            words,
            environment,
            home,
            slots,
        }
    }

    pub(crate) fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Waits for its turn to start a process for a call; there is none if the node stays too busy.
    pub(crate) async fn slot(&self) -> Option<SemaphorePermit<'_>> {
        timeout(SLOT_PATIENCE, self.slots.0.acquire()).await.ok()?.ok()
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.program());
        command
            .args(self.words.iter().skip(1))
            .env_clear()
            .envs(&self.environment)
            .current_dir(&self.home);
        command
    }
}
