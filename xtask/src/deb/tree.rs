//! A Debian in a folder: made from a mirror, looked at from outside.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{anew, folder};
use crate::{debootstrap, shell};

/// What a host has on which the package is installed, and what the test asks with.
const PACKAGES: [&str; 9] = [
    "curl",
    "dbus",
    "figlet",
    "haproxy",
    "iproute2",
    "libgcc-s1",
    "procps",
    "systemd",
    "systemd-sysv",
];
/// Where users and groups are listed.
const USERS: [&str; 4] = ["etc/passwd", "etc/group", "etc/shadow", "etc/gshadow"];

/// The root of the system.
#[derive(Debug)]
pub(super) struct Tree(PathBuf);

impl Tree {
    /// Unpacks a fresh one.
    ///
    /// # Errors
    ///
    /// When none can be made.
    pub(super) fn new() -> Result<Self> {
        let archive = folder().join("base.tar");
        fs::create_dir_all(folder()).with_context(|| format!("making {}", folder().display()))?;
        debootstrap::make(&archive, &PACKAGES)?;
        let root = folder().join("root");
        anew(&root)?;
        let mut tar = Command::new("tar");
        shell::run(
            tar.arg("--extract")
                .arg("--file")
                .arg(&archive)
                .arg("--directory")
                .arg(&root),
        )?;
        Ok(Self(root))
    }

    pub(super) fn root(&self) -> &Path {
        &self.0
    }

    /// A path of the system as it is seen from outside.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// Everything that has a name in it, and each line of a user or group of that name.
    ///
    /// # Errors
    ///
    /// When something cannot be read.
    pub(super) fn traces_of(&self, name: &str) -> Result<Vec<String>> {
        let mut traces = Vec::new();
        find(&self.0, name, &mut traces)?;
        for file in USERS {
            let path = self.at(file);
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let lines = text.lines().filter(|line| line.contains(name));
            traces.extend(lines.map(|line| format!("{file}: {line}")));
        }
        Ok(traces)
    }
}

fn find(folder: &Path, name: &str, found: &mut Vec<String>) -> Result<()> {
    let context = || format!("reading {}", folder.display());
    for entry in fs::read_dir(folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().contains(name) {
            found.push(path.display().to_string());
        }
        if entry.file_type().with_context(context)?.is_dir() {
            find(&path, name, found)?;
        }
    }
    Ok(())
}
