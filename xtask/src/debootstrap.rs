//! Debian systems of this machine's release, made from a mirror once and kept as archives.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::shell;

/// Makes an archive of a system with some packages, unless there is one of the same packages already.
///
/// # Errors
///
/// When debootstrap fails, which fetches packages from a mirror.
pub(crate) fn make(archive: &Path, packages: &[&str]) -> Result<()> {
    let release = Release::of_this_machine()?;
    let wanted = format!("{} {}", release.codename, packages.join(","));
    let made_of = archive.with_extension("txt");
    if archive.is_file() && fs::read_to_string(&made_of).is_ok_and(|had| had == wanted) {
        println!("debootstrap: {} is there already", archive.display());
        return Ok(());
    }
    let tree = archive.with_extension("");
    let _absent = fs::remove_dir_all(&tree);
    fs::create_dir_all(&tree).with_context(|| format!("making {}", tree.display()))?;
    println!("debootstrap: making {} of {wanted}", archive.display());
    debootstrap(&release, packages, &tree)?;
    let mut tar = Command::new("tar");
    tar.args(["--create", "--exclude=./var/cache/apt/archives/*.deb", "--file"]);
    shell::run(tar.arg(archive).arg("--directory").arg(&tree).arg("."))?;
    fs::remove_dir_all(&tree).with_context(|| format!("removing {}", tree.display()))?;
    fs::write(&made_of, wanted).with_context(|| format!("writing {}", made_of.display()))
}

fn debootstrap(release: &Release, packages: &[&str], tree: &Path) -> Result<()> {
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", &format!("--include={}", packages.join(","))]);
    if release.is_ubuntu {
        command.arg("--components=main,universe");
    }
    let output = command.arg(&release.codename).arg(tree).output();
    let output = output.context("starting debootstrap")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(5)..].join("\n");
    ensure!(output.status.success(), "debootstrap: {}:\n{tail}", output.status);
    Ok(())
}

/// Debian or Ubuntu, and which.
struct Release {
    codename: String,
    is_ubuntu: bool,
}

impl Release {
    /// Programs that were built here need the same C library there.
    fn of_this_machine() -> Result<Self> {
        const FILE: &str = "/etc/os-release";
        let text = fs::read_to_string(FILE).context(FILE)?;
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.trim_matches('"').to_owned())
        };
        let codename = value("VERSION_CODENAME=")
            .with_context(|| format!("{FILE} has no VERSION_CODENAME: this is neither Debian nor Ubuntu"))?;
        let is_ubuntu = value("ID=").is_some_and(|id| id == "ubuntu");
        Ok(Self { codename, is_ubuntu })
    }
}
