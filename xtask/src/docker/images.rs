//! The images: a base and the programs are imported, the node is built of them.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use super::{
    base,
    engine::{Engine, folder},
};
use crate::shell;

pub(crate) const BASE: &str = "dfaas-base";
pub(crate) const NODE_FILE: &str = "docker/dfaas-node.dockerfile";
const PROGRAMS: &str = "dfaas-programs";
/// What the builder's image does to build.
const BUILD_SCRIPT: &str = "docker/files/build_programs.sh";
/// As the builder's image has them.
const PROGRAMS_FOLDER: &str = "programs";

/// Puts the programs of a node into the folder from which [`build_node`] takes them.
///
/// # Errors
///
/// When they are not built, or cannot be.
pub(crate) fn programs(is_release: bool) -> Result<()> {
    let to = programs_folder();
    fs::create_dir_all(&to).with_context(|| format!("making {}", to.display()))?;
    if is_release {
        return shell::run(Command::new(shell::workspace().join(BUILD_SCRIPT)).arg(&to));
    }
    for name in ["dfaas-agent", "dfaas-provider"] {
        let program = dfaas_testbed::binary(name)?;
        shell::run(Command::new("strip").arg("-o").arg(to.join(name)).arg(program))?;
    }
    Ok(())
}

/// Imports base and programs, and builds the node's image by its dockerfile.
///
/// # Errors
///
/// When a step of it fails.
pub(crate) fn build_node(engine: &Engine) -> Result<()> {
    let (archive, folder) = (base::archive(), folder());
    engine.shell(&format!("docker import '{}' {BASE}", archive.display()))?;
    engine.shell(&format!(
        "tar --create --directory '{}' {PROGRAMS_FOLDER} | docker import - {PROGRAMS}",
        folder.display()
    ))?;
    engine.shell(&format!(
        "docker build --network none --tag dfaas-node:latest --build-arg BASE={BASE} \
         --build-arg BINARIES={PROGRAMS} --file {NODE_FILE} ."
    ))?;
    let size = engine.shell("docker image inspect --format '{{.Size}}' dfaas-node")?;
    let bytes: u64 = size.trim().parse().context("the image's size")?;
    println!("docker: dfaas-node has {} MB", bytes / 1_000_000);
    Ok(())
}

fn programs_folder() -> PathBuf {
    folder().join(PROGRAMS_FOLDER)
}
