//! A Debian at work in namespaces of its own, with its own systemd where that is wanted: no link, sysctl or process of this
//! machine is in its reach, and it ends with this process.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::tree::Tree;

/// How long a system may take from its start to its end, in seconds.
const PATIENCE_S: &str = "180";
/// Runs one script and powers off.
const UNIT: &str = "[Unit]\nAfter=dbus.service\n[Service]\nType=oneshot\nExecStart=/bin/bash /trial.sh\n\
                    StandardOutput=file:/trial.log\nStandardError=inherit\nTimeoutStartSec=150\n\
                    ExecStopPost=/bin/systemctl --no-block poweroff\n";
const UNIT_FILE: &str = "/etc/systemd/system/trial.service";
const WANTED_BY: &str = "/etc/systemd/system/multi-user.target.wants";
/// The last line of a script that went well.
const END: &str = "trial: done";

/// Runs a command in a system that is not booted, and returns what it printed.
///
/// # Errors
///
/// When it ends badly; the error holds what it said.
pub(super) fn run(tree: &Tree, command: &[&str]) -> Result<String> {
    let mut container = container(tree);
    let output = container
        .args(["--pipe", "--"])
        .args(command)
        .output()
        .context("starting systemd-nspawn")?;
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said += &String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{}: {}:\n{said}",
        command.join(" "),
        output.status
    );
    Ok(said)
}

/// Boots a system, has it run a script, and returns what that printed.
///
/// # Errors
///
/// When the script ends badly; the error holds what it said.
pub(super) fn boot(tree: &Tree, script: &str) -> Result<String> {
    for (path, text) in [("/trial.sh", script), (UNIT_FILE, UNIT), ("/trial.log", "")] {
        let path = tree.at(path);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    let wanted = tree.at(WANTED_BY);
    fs::create_dir_all(&wanted).with_context(|| format!("making {}", wanted.display()))?;
    let link = wanted.join("trial.service");
    if !link.is_symlink() {
        std::os::unix::fs::symlink(UNIT_FILE, &link)
            .with_context(|| format!("linking {}", link.display()))?;
    }
    let output = container(tree)
        .arg("--boot")
        .output()
        .context("starting systemd-nspawn")?;
    let said = read(&tree.at("/trial.log"))?;
    if said.lines().last() != Some(END) {
        let console = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<&str> = console.lines().collect();
        let tail = lines[lines.len().saturating_sub(10)..].join("\n");
        bail!("the script has not come to its end:\n{said}\nthe console's last lines:\n{tail}");
    }
    Ok(said)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}

/// Programs of the kernel may be loaded in there, into its own network.
fn container(tree: &Tree) -> Command {
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "--propagation",
            "private",
            "--fork",
            "--kill-child=TERM",
        ])
        .args(["timeout", "--kill-after=10", PATIENCE_S])
        .args(["systemd-nspawn", "--quiet", "--register=no", "--keep-unit"])
        .args(["--private-network", "--capability=all"])
        .arg("--system-call-filter=bpf perf_event_open pidfd_getfd")
        .arg("--directory")
        .arg(tree.root())
        .stdin(Stdio::null());
    command
}
