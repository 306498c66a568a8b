//! How the process of a function is started: its command, its environment and its home.

use std::path::PathBuf;
use std::process::Command;

use crate::wire::Pairs;

const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variable that names the directory of a function's secrets.
const SECRETS_VARIABLE: &str = "secret_mount_path";

#[derive(Debug)]
pub(crate) struct Launch {
    words: Vec<String>,
    environment: Pairs,
    home: PathBuf,
}

impl Launch {
    /// Gives the process its own variables and the few every process needs, none of the platform's others.
    pub(crate) fn new(
        words: Vec<String>,
        variables: &Pairs,
        home: PathBuf,
        secrets: Option<PathBuf>,
    ) -> Self {
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
        }
    }

    pub(crate) fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
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
