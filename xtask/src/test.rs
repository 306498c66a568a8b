//! Everything that can be checked, in rings from the quickest to the nearest to life.

use std::{
    fmt,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{build, ebpf, readme, setup, shell, tidy};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only this ring
    #[arg(long, value_enum)]
    ring: Option<Ring>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Ring {
    /// Format, lints, rules, and tests without privileges
    Host,
    /// The eBPF programs on packets made by hand
    Kernel,
    /// Federations in network namespaces, and the commands of the README
    Net,
}

/// What went well and what did not.
#[derive(Clone, Copy, Debug, Default)]
struct Score {
    passed: u64,
    failed: u64,
}

/// Runs the rings.
///
/// # Errors
///
/// When anything fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    shell::need_root("test")?;
    setup::run()?;
    ebpf::build()?;
    let rings = [Ring::Host, Ring::Kernel, Ring::Net];
    let mut total = Score::default();
    let mut summary = Vec::new();
    for ring in rings
        .into_iter()
        .filter(|ring| args.ring.is_none_or(|only| only == *ring))
    {
        let score = ring.run();
        summary.push(format!("ring {ring:?}: {score}").to_lowercase());
        total.add(score);
    }
    for line in summary {
        println!("{line}");
    }
    println!("{total}");
    if total.failed > 0 {
        bail!("{} failed", total.failed);
    }
    Ok(())
}

impl Ring {
    fn run(self) -> Score {
        match self {
            Self::Host => host(),
            Self::Kernel => kernel(),
            Self::Net => net(),
        }
    }
}

fn host() -> Score {
    let mut score = Score::default();
    score.step("format", || {
        shell::run(shell::cargo().args(["fmt", "--all", "--check"]))
    });
    score.step("clippy", || {
        let mut clippy = build::host_crates("clippy");
        shell::run(clippy.args(["--quiet", "--all-targets", "--", "--deny", "warnings"]))
    });
    score.step("tidy", tidy::run);
    let mut others = build::host_crates("test");
    score.tests(others.args(["--exclude", "dfaas-testbed"]));
    score.tests(shell::cargo().args(["test", "--package=dfaas-testbed", "--lib"]));
    score
}

fn kernel() -> Score {
    let mut score = Score::default();
    score.tests(shell::cargo().args(["test", "--package=dfaas-testbed", "--test=kernel"]));
    score
}

fn net() -> Score {
    let mut score = Score::default();
    score.step("build", || {
        shell::run(build::host_crates("build").args(["--quiet", "--bins"]))
    });
    score.tests(shell::cargo().args([
        "test",
        "--package=dfaas-testbed",
        "--test=namespaces",
        "--test=federation",
    ]));
    score.step("readme", || {
        readme::check().map(|blocks| println!("{blocks} blocks of the README work"))
    });
    score
}

impl Score {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    fn step(&mut self, name: &str, step: impl FnOnce() -> Result<()>) {
        println!("test: {name}");
        match step() {
            Ok(()) => self.passed += 1,
            Err(error) => {
                println!("test: {name} failed: {error:#}");
                self.failed += 1;
            }
        }
    }

    /// Runs `cargo test`, shows what it writes, and adds up its results.
    fn tests(&mut self, cargo: &mut Command) {
        cargo.arg("--no-fail-fast").stdout(Stdio::piped());
        println!("test: {}", shell::text(cargo));
        let before = *self;
        match tests(cargo, |line| self.add(Self::read(line))) {
            // It did not compile, for example.
            Ok(false) if self.failed == before.failed => self.failed += 1,
            Ok(_) => {}
            Err(error) => {
                println!("test: {error:#}");
                self.failed += 1;
            }
        }
    }

    /// The numbers of a line such as `test result: ok. 5 passed; 0 failed; 0 ignored`.
    fn read(line: &str) -> Self {
        let Some(("", rest)) = line.split_once("test result: ") else {
            return Self::default();
        };
        let words: Vec<&str> = rest.split_whitespace().collect();
        let before = |name: &str| {
            words
                .windows(2)
                .find(|pair| pair[1].starts_with(name))
                .and_then(|pair| pair[0].parse().ok())
        };
        Self {
            passed: before("passed").unwrap_or(0),
            failed: before("failed").unwrap_or(0),
        }
    }
}

fn tests(cargo: &mut Command, mut see: impl FnMut(&str)) -> Result<bool> {
    let mut child = cargo.spawn().context("starting cargo")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        println!("{line}");
        see(&line);
    }
    Ok(child.wait()?.success())
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_cargo_are_read() {
        check(
            "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
            (5, 0),
        );
        check("test result: FAILED. 4 passed; 2 failed; 0 ignored", (4, 2));
        check("test shares_add_up ... ok", (0, 0));
    }

    #[track_caller]
    fn check(line: &str, want: (u64, u64)) {
        let score = Score::read(line);
        assert_eq!((score.passed, score.failed), want);
    }
}
