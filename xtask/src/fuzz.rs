//! Fuzzing: libFuzzer feeds the targets of `fuzz/` what it finds by watching which code runs.
//!
//! The stable compiler can count what runs, so no nightly and no `cargo-fuzz` is needed; the folder has the layout
//! that `cargo fuzz run TARGET` expects, for who has both. There is no address sanitizer: nothing here is unsafe.

mod connection;

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail, ensure};

use crate::shell;

/// Each target, its dictionary, and the longest input that makes sense.
const TARGETS: [(&str, Option<&str>, usize); 4] = [
    ("request", Some("http.dict"), 2_048),
    ("response", Some("http.dict"), 4_096),
    ("message", Some("json.dict"), 4_096),
    ("packet", None, 128),
];

/// What makes LLVM count: the flags of `cargo fuzz` without its sanitizer.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Clink-dead-code -Ccodegen-units=1";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For how long, shared by the targets
    #[arg(long, default_value_t = 4.0, value_name = "N")]
    minutes: f64,
    /// Only this one: request, response, message or packet; or the model of a connection with the real programs (root)
    #[arg(value_parser = NAMES)]
    target: Option<String>,
    /// The first seed of the model of a connection; with `--minutes 0` it is the only one
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
}

/// The targets, and what is no target of libFuzzer's.
const NAMES: [&str; 5] = ["request", "response", "message", "packet", CONNECTION];
/// The model of a connection.
const CONNECTION: &str = "connection";

/// Builds the targets and runs them, one after the other.
///
/// # Errors
///
/// When a target cannot be built, or finds something; the error says where its input is.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.target.as_deref() == Some(CONNECTION) {
        return connection::run(args.minutes, args.seed);
    }
    ensure!(
        args.minutes > 0.0 && args.minutes.is_finite(),
        "{} minutes are no time",
        args.minutes
    );
    let wanted = |name: &str| args.target.as_ref().is_none_or(|only| only == name);
    let targets: Vec<_> = TARGETS.iter().filter(|(name, _, _)| wanted(name)).collect();
    let binaries = build()?;
    let seconds = (args.minutes * 60.0 / targets.len() as f64).ceil() as u64;
    for (name, dictionary, length_max) in targets {
        let mut fuzzer = Command::new(binaries.join(name));
        if let Some(dictionary) = dictionary {
            fuzzer.arg(format!("-dict={}", folder().join(dictionary).display()));
        }
        fuzzer.arg(format!("-max_len={length_max}"));
        run_target(name, &mut fuzzer, seconds)?;
    }
    Ok(())
}

fn run_target(name: &str, fuzzer: &mut Command, seconds: u64) -> Result<()> {
    let corpus = output_folder().join("corpus").join(name);
    let artifacts = output_folder().join("artifacts").join(name);
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let log = artifacts.join("log");
    fuzzer
        .args([&corpus, &folder().join("seeds").join(name)])
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={seconds}"))
        // An input that takes so long, or so much memory, is a finding too.
        .args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"])
        .stderr(fs::File::create(&log).with_context(|| format!("making {}", log.display()))?);
    let status = fuzzer
        .status()
        .with_context(|| format!("starting {}", shell::text(fuzzer)))?;
    let said = fs::read(&log).with_context(|| format!("reading {}", log.display()))?;
    let said = String::from_utf8_lossy(&said);
    if !status.success() {
        bail!("{name} found something:\n{}", finding(&said));
    }
    println!("{}", summary(name, &said, seconds));
    Ok(())
}

/// What is said of a finding: from the panic's message on, without the many lines before.
fn finding(said: &str) -> String {
    let tells = |line: &&str| {
        ["panicked at", "ERROR: libFuzzer", "SUMMARY", "Test unit written"]
            .iter()
            .any(|text| line.contains(text))
    };
    let lines: Vec<&str> = said.lines().collect();
    let mut told = Vec::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| tells(line)) {
        told.push(*line);
        if line.contains("panicked at") {
            told.extend(lines.get(at + 1));
        }
    }
    told.join("\n")
}

fn summary(name: &str, said: &str, seconds: u64) -> String {
    let statistic = |name: &str| {
        said.lines()
            .find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name)?.strip_prefix(':'))
            .map_or("?", str::trim)
    };
    // `#123 DONE cov: 45 ft: 67 corp: ...`
    let coverage = said.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once(" cov: ")?;
        rest.split_whitespace().next()
    });
    format!(
        "{name}: clean after {} inputs in {seconds} s, {} edges covered, {} inputs kept",
        statistic("number_of_executed_units"),
        coverage.unwrap_or("?"),
        statistic("new_units_added"),
    )
}

/// Builds all targets. Returns where they are.
fn build() -> Result<PathBuf> {
    let triple = host()?;
    println!("fuzz: building the targets, which takes two minutes the first time");
    let mut cargo = shell::cargo();
    cargo
        .current_dir(folder())
        .args(["build", "--quiet", "--release", "--locked"])
        // With a target named, the flags do not count for build scripts and macros, which could not be linked.
        .args(["--target", &triple, "--target-dir"])
        .arg(output_folder())
        .env("RUSTFLAGS", FLAGS)
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    shell::run(&mut cargo)?;
    Ok(output_folder().join(triple).join("release"))
}

fn host() -> Result<String> {
    let text = shell::output(shell::cargo().arg("-vV"))?;
    let triple = text.lines().find_map(|line| line.strip_prefix("host: "));
    triple
        .map(str::to_owned)
        .context("cargo -vV does not say for which host it is")
}

fn folder() -> PathBuf {
    shell::workspace().join("fuzz")
}

fn output_folder() -> PathBuf {
    shell::workspace().join("target/fuzz")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_run_is_summed_up() {
        let said = "INFO: Seed: 1\n#97\tDONE   cov: 812 ft: 3 corp: 2/9b\nstat::number_of_executed_units: 97\n\
                    stat::new_units_added:          5\n";
        assert_eq!(
            summary("request", said, 3),
            "request: clean after 97 inputs in 3 s, 812 edges covered, 5 inputs kept"
        );
    }

    #[test]
    fn a_finding_is_told_with_its_input() {
        let said = "INFO: Seed: 1\n#2 NEW cov: 1\nthread '<unnamed>' panicked at a.rs:1:2:\nthey differ\nstack\n\
                    ==1== ERROR: libFuzzer: deadly signal\nTest unit written to x/crash-1\n";
        let told = finding(said);
        assert!(
            told.contains("they differ") && told.contains("x/crash-1"),
            "{told}"
        );
        assert!(!told.contains("Seed"), "{told}");
    }
}
