//! The tasks of this workspace: `cargo xtask --help`.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "tasks tell the user what they do")]

mod bench;
mod build;
mod chaos;
mod conformance;
mod deb;
mod debootstrap;
mod demo;
mod docker;
mod ebpf;
mod emulate;
mod fuzz;
mod interrupt;
mod linker;
mod packages;
mod readme;
mod report;
mod results;
mod servers;
mod setup;
mod shell;
mod suite;
mod test;
mod tidy;
mod toolchain;
mod vmtest;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, shows and tests DFaaS.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Installs what is missing to build and test; quick when nothing is
    Setup,
    /// Builds the eBPF programs and prints the path and size of the object
    BuildEbpf,
    /// Builds the eBPF programs and all crates
    Build(build::Args),
    /// Shows three nodes that share the load of one (needs root)
    Demo(demo::Args),
    /// Lays a federation as a file says, and asks it or lets you play with it (needs root)
    Emulate(emulate::Args),
    /// Measures the data plane beside nothing, HAProxy and nginx (needs root)
    Bench(bench::Args),
    /// Keeps a federation under all kinds of load, and looks for what is lost or grows (needs root)
    Soak(bench::SoakArgs),
    /// Tries faults of a node under load, and tells what users lose by each (needs root)
    Chaos(chaos::Args),
    /// Checks and tests everything (needs root)
    Test(test::Args),
    /// Tests on kernels 5.10 and 6.1, emulated, over good and bad links (needs root and a Debian mirror)
    Vmtest(vmtest::Args),
    /// Builds and runs three nodes in containers, in an engine of its own (needs root and a Debian mirror)
    DockerTest(docker::Args),
    /// Builds the Debian package, and tries it in a Debian of its own (--test, which needs root and a Debian mirror)
    Deb(deb::Args),
    /// Feeds what reads bytes of strangers with inputs that libFuzzer makes
    Fuzz(fuzz::Args),
    /// Runs the commands of the README that are marked for it against a federation (needs root)
    Readme,
    /// Makes the figures of docs/results.md anew
    Results(results::Args),
    /// Runs the table of what OpenFaaS does against our platform, and the real programs beside it
    Conformance(conformance::Args),
    /// Asks real HTTP servers the same behind the data plane as alone (needs root, Debian, PyPI and npm)
    Servers(servers::Args),
    /// Checks the rules that no other tool checks
    Tidy,
}

fn main() -> ExitCode {
    match run(Args::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup => setup::run(),
        Task::BuildEbpf => ebpf::run(),
        Task::Build(args) => build::run(&args),
        Task::Demo(args) => demo::run(&args),
        Task::Emulate(args) => emulate::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Soak(args) => bench::soak(&args),
        // These say themselves what failed, so that their last line is the sum.
        Task::Chaos(args) => return chaos::run(&args),
        Task::Test(args) => return test::run(&args),
        Task::Vmtest(args) => return vmtest::run(&args),
        Task::DockerTest(args) => return docker::run(&args),
        Task::Conformance(args) => return conformance::run(&args),
        Task::Servers(args) => return servers::run(&args),
        Task::Deb(args) => return deb::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Readme => readme::run(),
        Task::Results(args) => results::run(&args),
        Task::Tidy => tidy::run(),
    }
    .map(|()| ExitCode::SUCCESS)
}
