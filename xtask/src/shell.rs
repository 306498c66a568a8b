//! Commands of others: found, run, and their failure told.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

/// Runs a command to its end.
///
/// # Errors
///
/// When it cannot be started or ends badly.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("starting {}", text(command)))?;
    ensure!(status.success(), "{}: {status}", text(command));
    Ok(())
}

/// Runs a command and returns what it wrote.
///
/// # Errors
///
/// When it cannot be started or ends badly; the error holds what it complained about.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("starting {}", text(command)))?;
    if !output.status.success() {
        bail!(
            "{}: {}: {}",
            text(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as one would type it.
pub(crate) fn text(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The full path of a program: in `PATH`, or where system programs are kept out of a user's `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// The cargo that runs this task, with the environment that it was started in: what it tells this program of this package
/// would have crates built again whose build scripts look at it (ring 0.17).
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// The folder of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}

/// Where cargo keeps what it installs.
pub(crate) fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
}

/// Whether this process may do what the kernel lets only root do.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says at once that a task needs root, and how to give it.
///
/// # Errors
///
/// When this process is not root.
pub(crate) fn need_root(task: &str) -> Result<()> {
    ensure!(
        is_root(),
        "{task} makes network namespaces and loads eBPF programs, which only root may: sudo -E env \"PATH=$PATH\" cargo xtask {task}"
    );
    Ok(())
}
