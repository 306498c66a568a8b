//! All crates and the eBPF programs.

use std::process::Command;

use anyhow::Result;

use crate::{ebpf, shell};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Build with optimizations
    #[arg(long)]
    release: bool,
}

/// Builds everything.
///
/// # Errors
///
/// When a tool is missing or something does not compile.
pub(crate) fn run(args: &Args) -> Result<()> {
    ebpf::build()?;
    let mut cargo = host_crates("build");
    if args.release {
        cargo.arg("--release");
    }
    shell::run(&mut cargo)
}

/// A cargo command on every crate that is built for this machine.
pub(crate) fn host_crates(subcommand: &str) -> Command {
    let mut cargo = shell::cargo();
    cargo.args([subcommand, "--workspace", "--exclude", "dfaas-ebpf"]);
    cargo
}
