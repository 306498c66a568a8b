//! What building and testing needs from the system, installed where it is missing.

use std::process::Command;

use anyhow::Result;

use crate::{packages, shell, toolchain::Toolchain};

/// Programs, and the packages that have them: the first that the system knows is taken.
const TOOLS: &[(&str, &[&str])] = &[
    ("ip", &["iproute2"]),
    ("tc", &["iproute2"]),
    ("nft", &["nftables"]),
    ("ethtool", &["ethtool"]),
    ("bpftool", &["bpftool", "linux-tools-generic"]),
    ("tcpdump", &["tcpdump"]),
    ("unshare", &["util-linux"]),
    ("nsenter", &["util-linux"]),
    ("mount", &["mount"]),
    ("sysctl", &["procps"]),
    ("haproxy", &["haproxy"]),
    ("curl", &["curl"]),
    ("wrk", &["wrk"]),
    ("ab", &["apache2-utils"]),
    ("python3", &["python3"]),
    ("figlet", &["figlet"]),
    ("shasum", &["perl"]),
    ("tesseract", &["tesseract-ocr"]),
    ("docker-compose", &["docker-compose"]),
    // libFuzzer is built from its sources.
    ("c++", &["g++"]),
];

/// What only measuring needs.
const BENCH_TOOLS: &[(&str, &[&str])] = &[("nginx", &["nginx-light", "nginx"])];

/// What only tests need.
pub(crate) const TEST_TOOLS: &[(&str, &[&str])] = &[("systemd-analyze", &["systemd"])];

/// What opens reports in tests. Not all systems have one, and some have it in another way than as a package.
const BROWSER: &[(&str, &[&str])] = &[("chromium", &["chromium"])];

/// Installs whatever is missing.
///
/// # Errors
///
/// When something is missing and cannot be installed.
pub(crate) fn run() -> Result<()> {
    bench_tools()?;
    install(TEST_TOOLS)?;
    if let Err(error) = install(BROWSER) {
        println!("setup: {error:#}; reports are not opened in a browser");
    }
    let toolchain = Toolchain::ready()?;
    let programs = TOOLS.len() + BENCH_TOOLS.len() + TEST_TOOLS.len() + BROWSER.len();
    println!("setup: {programs} programs and {toolchain}");
    Ok(())
}

/// Installs the programs that are missing.
///
/// # Errors
///
/// When one is missing and cannot be installed.
pub(crate) fn tools() -> Result<()> {
    install(TOOLS)
}

/// Installs the programs that are missing, those for measuring too.
///
/// # Errors
///
/// When one is missing and cannot be installed.
pub(crate) fn bench_tools() -> Result<()> {
    install(&[TOOLS, BENCH_TOOLS].concat())
}

/// Installs those of these programs that are missing.
///
/// # Errors
///
/// When one is missing and cannot be installed.
pub(crate) fn install(tools: &[(&str, &[&str])]) -> Result<()> {
    let missing = tools.iter().filter(|(program, _)| shell::find(program).is_none());
    let missing: Vec<&[&str]> = missing.map(|(_, packages)| *packages).collect();
    if missing.is_empty() {
        return Ok(());
    }
    packages::update();
    let mut chosen: Vec<String> = missing.into_iter().map(known_package).collect();
    chosen.dedup();
    packages::install(&chosen)
}

/// Makes sure of the formatter and the linter of the cargo that runs this task.
///
/// # Errors
///
/// When one is missing and rustup cannot add it.
pub(crate) fn lints() -> Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if shell::output(shell::cargo().args([subcommand, "--version"])).is_err() {
            println!("setup: adding {component}");
            shell::run(Command::new("rustup").args(["component", "add", component]))?;
        }
    }
    Ok(())
}

fn known_package(names: &[&str]) -> String {
    let known = names.iter().find(|name| packages::candidate(name).is_some());
    (*known.unwrap_or(&names[0])).to_owned()
}
