//! The packages of Debian and its children.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// Installs packages, or says what to type where this process may not.
///
/// # Errors
///
/// When this system has no apt-get, when this process is not root, or when apt-get fails.
pub(crate) fn install(packages: &[String]) -> Result<()> {
    let names = packages.join(" ");
    if shell::find("apt-get").is_none() {
        bail!("this system has no apt-get; install what these Debian packages hold: {names}");
    }
    if !shell::is_root() {
        bail!(
            "missing; type: sudo apt-get update && sudo apt-get install --no-install-recommends -y {names}"
        );
    }
    println!("setup: installing {names}");
    shell::run(
        apt_get()
            .args(["install", "--no-install-recommends", "-y", "-qq"])
            .args(packages),
    )
    .with_context(|| format!("installing {names}"))
}

/// Fetches the lists of what there is. Harmless to skip where that is not allowed.
pub(crate) fn update() {
    if shell::is_root() && shell::find("apt-get").is_some() {
        println!("setup: fetching the package lists");
        if let Err(error) = shell::run(apt_get().args(["update", "-qq"])) {
            println!("setup: {error:#}; going on with the lists there are");
        }
    }
}

/// The version of a package that could be installed.
pub(crate) fn candidate(package: &str) -> Option<String> {
    let policy = shell::output(Command::new("apt-cache").args(["policy", package])).ok()?;
    let version = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

/// The names of packages that match an expression.
pub(crate) fn names(expression: &str) -> Vec<String> {
    let found = shell::output(Command::new("apt-cache").args(["search", "--names-only", expression]));
    let lines = found.unwrap_or_default();
    lines
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    // Without it dpkg draws its progress into logs, whatever -qq says.
    command.arg("--option=Dpkg::Use-Pty=0");
    command
}
