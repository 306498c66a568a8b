//! Kernels of the distribution, fetched from the mirror that this machine uses.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::shell;

/// A kernel to test with.
pub(crate) struct Kernel {
    /// As one names it on the command line.
    pub(crate) name: &'static str,
    /// The release of Debian that has it.
    suite: &'static str,
    /// Matches its packages.
    package: &'static str,
}

/// The floor, and the oldest release that is not end of life.
pub(crate) const ALL: &[Kernel] = &[
    Kernel {
        name: "5.10",
        suite: "bullseye",
        package: "^linux-image-5\\.10\\.[0-9-]*-cloud-amd64$",
    },
    Kernel {
        name: "6.1",
        suite: "bookworm",
        package: "^linux-image-6\\.1\\.[0-9-]*-cloud-amd64$",
    },
];

/// What `--kernel` takes.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|kernel| kernel.name).collect()
}

impl Kernel {
    /// Where its files are kept.
    pub(crate) fn folder(&self) -> PathBuf {
        shell::workspace().join("target/vmtest").join(self.name)
    }

    /// Where its modules are, once it is fetched.
    pub(crate) fn modules(&self) -> PathBuf {
        self.folder().join("root/lib/modules")
    }

    /// The boot image; fetched once.
    ///
    /// # Errors
    ///
    /// When the mirror does not have it.
    pub(crate) fn fetch(&self) -> Result<PathBuf> {
        let root = self.folder().join("root");
        if let Some(image) = image_in(&root.join("boot")) {
            return Ok(image);
        }
        println!("vmtest: fetching a kernel of {}", self.suite);
        self.update()?;
        let package = self.newest()?;
        let folder = self.folder();
        shell::run(
            self.apt("apt-get")
                .args(["download", "-qq", &package])
                .current_dir(&folder),
        )?;
        let archive = first(&folder, "deb").context("apt-get download left no package")?;
        shell::run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&root))?;
        image_in(&root.join("boot")).with_context(|| format!("{package} has no boot/vmlinuz-*"))
    }

    /// Fetches the lists of the suite, apart from the system's own.
    fn update(&self) -> Result<()> {
        let folder = self.folder();
        for part in ["lists/partial", "cache/archives/partial"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        }
        let sources = folder.join("sources.list");
        let line = format!("deb {} {} main\n", mirror()?, self.suite);
        fs::write(&sources, line).with_context(|| format!("writing {}", sources.display()))?;
        shell::run(self.apt("apt-get").args(["update", "-qq"]))
    }

    fn newest(&self) -> Result<String> {
        let found = shell::output(
            self.apt("apt-cache")
                .args(["search", "--names-only", self.package]),
        )?;
        let newest = found
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .max_by_key(|name| numbers(name));
        newest
            .map(str::to_owned)
            .with_context(|| format!("{} has no package {}", self.suite, self.package))
    }

    fn apt(&self, program: &str) -> Command {
        let folder = self.folder();
        let mut apt = Command::new(program);
        for (name, part) in [
            ("Dir::Etc::SourceList", "sources.list"),
            ("Dir::State::Lists", "lists"),
            ("Dir::Cache", "cache"),
        ] {
            apt.arg("-o")
                .arg(format!("{name}={}", folder.join(part).display()));
        }
        apt.args([
            "-o",
            "Dir::Etc::SourceParts=/dev/null",
            "-o",
            "APT::Sandbox::User=root",
        ]);
        apt
    }
}

/// The Debian mirror that apt is set up with.
fn mirror() -> Result<String> {
    let targets = shell::output(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]))?;
    let mirror = targets
        .lines()
        .map(|uri| uri.trim_end_matches('/'))
        .find(|uri| uri.ends_with("/debian"));
    mirror
        .map(str::to_owned)
        .context("apt knows no Debian mirror; these kernels come from Debian")
}

fn image_in(folder: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    files.into_iter().find(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("vmlinuz-"))
    })
}

fn first(folder: &Path, ending: &str) -> Result<PathBuf> {
    let files = fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    let mut found = files.flatten().map(|entry| entry.path());
    let first = found.find(|path| path.extension().is_some_and(|extension| extension == ending));
    ensure!(first.is_some(), "{} has no .{ending}", folder.display());
    first.context("just seen")
}

/// The numbers in a name, to compare versions by.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|character: char| !character.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(numbers("linux-image-6.1.0-9-cloud-amd64") < numbers("linux-image-6.1.0-50-cloud-amd64"));
    }
}
