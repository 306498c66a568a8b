//! Whether systemd understands the units, by its own judgement.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::{PROGRAMS, anew, folder};
use crate::{setup, shell};

/// The units of the package.
pub(super) const UNITS: [&str; 2] = ["dfaas-agent.service", "dfaas-provider.service"];
/// What all services depend on, without which systemd judges none.
const TARGETS: [&str; 8] = [
    "-.slice",
    "basic.target",
    "multi-user.target",
    "network.target",
    "shutdown.target",
    "sysinit.target",
    "system.slice",
    "umount.target",
];

/// Verifies the units as they lie in the repository.
///
/// # Errors
///
/// What systemd says about them.
pub(crate) fn check() -> Result<()> {
    setup::install(setup::TEST_TOOLS)?;
    let root = folder().join("units");
    anew(&root)?;
    let (units, programs) = (root.join("usr/lib/systemd/system"), root.join("usr/bin"));
    for folder in [&units, &programs] {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    for unit in UNITS {
        let from = shell::workspace().join("packaging/systemd").join(unit);
        fs::copy(&from, units.join(unit)).with_context(|| format!("copying {}", from.display()))?;
    }
    for target in TARGETS {
        fs::write(units.join(target), "[Unit]\n").with_context(|| format!("writing {target}"))?;
    }
    for program in PROGRAMS {
        let program = programs.join(program);
        fs::write(&program, "").with_context(|| format!("writing {}", program.display()))?;
        // Systemd looks only whether it may be run.
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("changing {}", program.display()))?;
    }
    verify(&root, &["--man=no"])
}

/// Verifies the units of a system.
///
/// # Errors
///
/// What systemd says about them: a clean unit is passed in silence.
pub(super) fn verify(root: &Path, options: &[&str]) -> Result<()> {
    let mut analyze = Command::new("systemd-analyze");
    analyze.arg("verify").arg(format!("--root={}", root.display()));
    let output = analyze
        .args(options)
        .args(UNITS)
        .output()
        .context("starting systemd-analyze")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && said.trim().is_empty(),
        "{}",
        said.trim()
    );
    Ok(())
}

/// How exposed a service is by systemd's reckoning: 0 is best, 10 worst.
///
/// # Errors
///
/// When systemd does not tell.
pub(super) fn exposure(root: &Path, unit: &str) -> Result<f64> {
    let mut analyze = Command::new("systemd-analyze");
    analyze
        .args(["security", "--offline=true", "--no-pager"])
        .arg(format!("--root={}", root.display()));
    read_exposure(&shell::output(analyze.arg(unit))?)
        .with_context(|| format!("no exposure is told of {unit}"))
}

/// `→ Overall exposure level for dfaas-agent.service: 3.9 OK`
fn read_exposure(text: &str) -> Option<f64> {
    let line = text
        .lines()
        .find(|line| line.contains("Overall exposure level"))?;
    line.split_once(": ")?.1.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exposure_is_read() {
        let text = "x\n→ Overall exposure level for dfaas-agent.service: 3.9 OK :-)\n";
        assert_eq!(read_exposure(text), Some(3.9));
        assert_eq!(read_exposure("nothing"), None);
    }
}
