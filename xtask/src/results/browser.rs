//! Reports of HTML, opened in a browser without a screen.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::shell;

/// What Debian and what others call it.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// How long a page may take, in seconds.
const LONGEST_S: &str = "120";

/// The browser of this system, if it has one.
pub(super) fn find() -> Option<PathBuf> {
    NAMES.iter().find_map(|name| shell::find(name))
}

/// Opens a page and draws it into a PNG of this width and height.
///
/// # Errors
///
/// When the browser does not end well, draws nothing, or tells of anything in its console.
pub(super) fn open(browser: &Path, page: &Path, picture: &Path, size: (u32, u32)) -> Result<()> {
    let page = fs::canonicalize(page).with_context(|| format!("finding {}", page.display()))?;
    let profile = tempfile::tempdir().context("making a profile of the browser")?;
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=5", LONGEST_S])
        .arg(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
        .args(["--enable-logging=stderr", "--log-level=0"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={},{}", size.0, size.1))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null());
    let output = command
        .output()
        .with_context(|| format!("starting {}", shell::text(&command)))?;
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{}: {}: {}",
        shell::text(&command),
        output.status,
        log.trim()
    );
    let told = console(&log);
    if !told.is_empty() {
        bail!("{}: the browser complains: {}", page.display(), told.join("; "));
    }
    ensure!(
        picture.exists(),
        "{}: the browser drew nothing: {}",
        page.display(),
        log.trim()
    );
    Ok(())
}

/// Makes sure that a page's error would be seen.
///
/// # Errors
///
/// When it is not.
pub(super) fn sees_errors(browser: &Path, folder: &Path) -> Result<()> {
    let page = folder.join("faulty.html");
    fs::write(
        &page,
        "<!DOCTYPE html><title>f</title><script>nothing.at.all()</script>",
    )
    .with_context(|| format!("writing {}", page.display()))?;
    match open(browser, &page, &folder.join("faulty.png"), (200, 200)) {
        Err(error) if error.to_string().contains("nothing is not defined") => Ok(()),
        Err(error) => Err(error.context("opening a page that is wrong on purpose")),
        Ok(()) => bail!("the browser does not tell of a page's error"),
    }
}

/// What a page's console has, errors or not; a report has nothing to say there.
fn console(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains(":CONSOLE")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_is_told_from_the_browsers_own_log() {
        let log = "[7:9:1130/031503.1:ERROR:dbus/bus.cc:408] Failed to connect to the bus\n\
                   [7:7:1130/031503.2:INFO:CONSOLE:1] \"Uncaught ReferenceError: x is not defined\", source: file:///r.html (1)\n\
                   9 bytes written to file r.png\n";
        let told = console(log);
        assert!(
            told.len() == 1 && told[0].contains("x is not defined"),
            "{told:?}"
        );
    }
}
