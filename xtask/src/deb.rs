//! The package for Debian and its children: built, and tried in a system of its own.

mod machine;
mod package;
mod tree;
mod trial;
mod units;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, ensure};

use self::package::Package;
pub(crate) use self::units::check as check_units;
use crate::{ebpf, report::Report, setup, shell};

/// Programs that only this task needs, and the packages that have them.
const TOOLS: &[(&str, &[&str])] = &[
    ("dpkg-deb", &["dpkg"]),
    ("readelf", &["binutils"]),
    ("gzip", &["gzip"]),
];
/// The same for the tests.
const TEST_TOOLS: &[(&str, &[&str])] = &[
    ("debootstrap", &["debootstrap"]),
    ("systemd-analyze", &["systemd"]),
    ("systemd-nspawn", &["systemd-container"]),
    ("tar", &["tar"]),
];
/// The same for programs that are to run on arm64.
const ARM64_TOOLS: &[(&str, &[&str])] = &[("aarch64-linux-gnu-gcc", &["gcc-aarch64-linux-gnu"])];
/// What a package ships.
const PROGRAMS: [&str; 2] = ["dfaas-agent", "dfaas-provider"];
const PROFILE: &str = "dist";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Install, run, remove and purge the package in a Debian of its own (needs root and a Debian mirror)
    #[arg(long)]
    test: bool,
    /// For which processors the package is
    #[arg(long, value_enum, default_value_t = Architecture::Amd64)]
    arch: Architecture,
    /// Take the programs of `cargo build`, which are quick to make, ten times as large, and not for users
    #[arg(long)]
    dev: bool,
}

/// Processors, by Debian's names.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Architecture {
    Amd64,
    /// Built by a cross compiler, and not tried here
    Arm64,
}

impl Architecture {
    fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    fn is_of_this_machine(self) -> bool {
        self.target().starts_with(std::env::consts::ARCH)
    }
}

/// Builds the package, and tries it where that is asked for.
///
/// # Errors
///
/// When something does not compile or cannot be packed. What fails in the tests is printed and makes the exit code.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.test {
        shell::need_root("deb --test")?;
        ensure!(
            args.arch.is_of_this_machine(),
            "--test runs the programs, and {} are not for this machine",
            args.arch.name()
        );
        setup::install(TEST_TOOLS)?;
    }
    setup::install(TOOLS)?;
    units::check()?;
    ebpf::build()?;
    let programs = build(args)?;
    // Man pages and completions are told by the programs themselves, so by some that run here.
    let native = if args.arch.is_of_this_machine() {
        programs.clone()
    } else {
        build(&Args {
            test: false,
            arch: Architecture::Amd64,
            dev: true,
        })?
    };
    let compression = if args.dev { "-Zgzip" } else { "-Zxz" };
    let package = Package::make(args.arch, &programs, &native, compression)?;
    println!("{package}");
    let mut report = Report::default();
    if args.test {
        trial::run(&mut report, &package);
        println!("{report}");
    }
    Ok(report.exit_code())
}

/// Compiles the programs and returns the folder that has them.
fn build(args: &Args) -> Result<PathBuf> {
    let mut cargo = shell::cargo();
    cargo.args(["build", "--bins"]);
    for program in PROGRAMS {
        cargo.args(["--package", program]);
    }
    let profile = if args.dev { "debug" } else { PROFILE };
    if !args.dev {
        cargo.args(["--profile", PROFILE]);
    }
    let mut folder = target_folder();
    if !args.arch.is_of_this_machine() {
        prepare_cross(&mut cargo, args.arch)?;
        folder.push(args.arch.target());
    }
    shell::run(&mut cargo).context("building the programs")?;
    Ok(folder.join(profile))
}

/// Installs a cross compiler and has cargo use it.
fn prepare_cross(cargo: &mut Command, arch: Architecture) -> Result<()> {
    ensure!(
        arch == Architecture::Arm64,
        "for {} there is no cross compiler here",
        arch.name()
    );
    setup::install(ARM64_TOOLS)?;
    shell::run(Command::new("rustup").args(["--quiet", "target", "add", arch.target()]))
        .context("adding the standard library of arm64")?;
    cargo
        .args(["--target", arch.target()])
        .env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
            "aarch64-linux-gnu-gcc",
        )
        .env("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc");
    Ok(())
}

fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| shell::workspace().join("target"), PathBuf::from)
}

/// Where packages and their tests are kept.
fn folder() -> PathBuf {
    target_folder().join("deb")
}

/// Begins an empty folder.
fn anew(folder: &Path) -> Result<()> {
    let _absent = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))
}
