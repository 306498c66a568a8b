//! The base image: a Debian of this machine's release with all that a node's image installs, so that no registry and no
//! mirror is needed inside of a build.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    engine::folder,
    images::{BASE, NODE_FILE},
};
use crate::shell;

/// Makes the archive of the base, unless there is one of the same packages already.
///
/// # Errors
///
/// When debootstrap fails, which fetches packages from a mirror.
pub(crate) fn make() -> Result<()> {
    let file = shell::workspace().join(NODE_FILE);
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let release = Release::of_this_machine()?;
    let wanted = format!("{} {}", release.codename, packages(&text)?.join(","));
    let (archive, made_of) = (archive(), folder().join("base.txt"));
    if archive.is_file() && fs::read_to_string(&made_of).is_ok_and(|had| had == wanted) {
        println!("docker: {} is there already", archive.display());
        return Ok(());
    }
    let tree = folder().join("base");
    let _absent = fs::remove_dir_all(&tree);
    fs::create_dir_all(&tree).with_context(|| format!("making {}", tree.display()))?;
    println!("docker: making {BASE} of {wanted}");
    debootstrap(&release, &packages(&text)?, &tree)?;
    let mut tar = Command::new("tar");
    tar.args(["--create", "--exclude=./var/cache/apt/archives/*.deb", "--file"]);
    shell::run(tar.arg(&archive).arg("--directory").arg(&tree).arg("."))?;
    fs::remove_dir_all(&tree).with_context(|| format!("removing {}", tree.display()))?;
    fs::write(&made_of, wanted).with_context(|| format!("writing {}", made_of.display()))
}

/// Where the archive is.
pub(crate) fn archive() -> PathBuf {
    folder().join("base.tar")
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

/// The packages that a dockerfile installs.
fn packages(dockerfile: &str) -> Result<Vec<&str>> {
    let (_, rest) = dockerfile
        .split_once("apt-get install")
        .context("the dockerfile installs nothing")?;
    let (list, _) = rest.split_once("&&").unwrap_or((rest, ""));
    let words = list.split_whitespace();
    Ok(words
        .filter(|word| !word.starts_with('-') && *word != "\\")
        .collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_of_a_dockerfile_are_read() {
        let text = "RUN apt-get update \\\n    && apt-get install --no-install-recommends -y \\\n        curl tini \\\n    && rm -rf /x\n";
        assert_eq!(packages(text).unwrap(), ["curl", "tini"]);
        assert!(packages("FROM x\n").is_err());
    }

    #[test]
    fn the_node_has_an_init_and_the_functions_programs() {
        let text = fs::read_to_string(shell::workspace().join(NODE_FILE)).unwrap();
        let packages = packages(&text).unwrap();
        for package in ["figlet", "haproxy", "perl", "tesseract-ocr", "tini"] {
            assert!(packages.contains(&package), "{packages:?}");
        }
    }
}
