//! The eBPF programs' object.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::{shell, toolchain::Toolchain};

const TARGET: &str = if cfg!(target_endian = "big") {
    "bpfeb-unknown-none"
} else {
    "bpfel-unknown-none"
};
/// The agent embeds the object from here, whatever the target folder of the other crates is.
const FOLDER: &str = "target/ebpf";
/// BTF is made from full debug information; bpf-linker writes it only when asked to.
/// Its habit of copying in order leaves what is to be moved or filled to calls that go byte by byte.
const FLAGS: &[&str] = &[
    "-Cdebuginfo=2",
    "-Clink-arg=--btf",
    "-Clink-arg=--disable-expand-memcpy-in-order",
];

/// Builds the eBPF programs and prints where they are and how large.
///
/// # Errors
///
/// See [`build`].
pub(crate) fn run() -> Result<()> {
    let object = build()?;
    let size = fs::metadata(&object)
        .with_context(|| format!("looking at {}", object.display()))?
        .len();
    println!("{} ({size} bytes)", object.display());
    Ok(())
}

/// Builds the eBPF programs and returns the path of their object. Cargo decides whether there is anything to do.
///
/// # Errors
///
/// When there is no toolchain for them or they do not compile.
pub(crate) fn build() -> Result<PathBuf> {
    let Toolchain { compiler, linker } = Toolchain::ready()?;
    let folder = shell::workspace().join(FOLDER);
    let linker_variable = format!("CARGO_TARGET_{}_LINKER", TARGET.to_uppercase().replace('-', "_"));
    let mut cargo = compiler.cargo();
    cargo
        .current_dir(shell::workspace())
        .args([
            "build",
            "--quiet",
            "--release",
            "--package=dfaas-ebpf",
            "-Zbuild-std=core",
        ])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&folder)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
        .env(linker_variable, linker.path);
    shell::run(&mut cargo).context("building the eBPF programs")?;
    let object = object();
    ensure!(object.is_file(), "cargo made no {}", object.display());
    Ok(object)
}

/// Where the object is once it is built.
pub(crate) fn object() -> PathBuf {
    shell::workspace()
        .join(FOLDER)
        .join(TARGET)
        .join("release/dfaas-ebpf")
}
