//! Our data plane beside nothing, HAProxy and nginx.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{ebpf, setup, shell};

const README: &str = "README.md";
const DOCS: &str = "docs/performance.md";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measure only what tells most: less than five minutes
    #[arg(long)]
    quick: bool,
    /// Print one JSON object a case, and nothing else, on standard output
    #[arg(long)]
    json: bool,
    /// Measure only cases with this in their name
    #[arg(long, default_value = "")]
    only: String,
    /// How many times each contender has its turn
    #[arg(long)]
    rounds: Option<usize>,
    /// Replace the table in the README
    #[arg(long)]
    write_readme: bool,
    /// Change everything ten times a second for so many seconds instead, beside HAProxy with reloads
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["quick", "only", "rounds", "write_readme"])]
    reconfigure: Option<u64>,
    /// Measure with many live connections and many functions instead
    #[arg(long, conflicts_with_all = ["quick", "only", "rounds", "write_readme", "reconfigure"])]
    scale: bool,
    /// Run the reference's scenarios instead, with water-filling and with Recalc
    #[arg(long, conflicts_with_all = ["quick", "only", "rounds", "write_readme", "reconfigure", "scale"])]
    scenarios: bool,
    /// Replace the table of the scenarios in docs/performance.md
    #[arg(long, requires = "scenarios")]
    write_docs: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SoakArgs {
    /// For how many minutes
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Print one JSON object a phase and one for the whole, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

/// Builds what is measured as users build it, and measures it.
///
/// # Errors
///
/// When something does not compile, or a contender does not answer as it should.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.scenarios {
        build_quickly()?;
    } else {
        build("bench")?;
    }
    shell::run(&mut command(args))
}

/// Builds what is used as users build it, and uses it in all ways for a long time.
///
/// # Errors
///
/// When something does not compile, a request is lost or something grows.
pub(crate) fn soak(args: &SoakArgs) -> Result<()> {
    build("soak")?;
    let mut command = Command::new(program("release"));
    command.args(["soak", "--minutes", &args.minutes.to_string()]);
    if args.json {
        command.arg("--json");
    }
    shell::run(&mut command)
}

fn build(task: &str) -> Result<()> {
    shell::need_root(task)?;
    setup::bench_tools()?;
    ebpf::build()?;
    let mut cargo = shell::cargo();
    shell::run(cargo.args([
        "build",
        "--release",
        "--package=dfaas-agent",
        "--package=dfaas-provider",
        "--package=dfaas-bench",
        "--bins",
    ]))
    .context("building what is measured")
}

/// A load that a slow program bears as well: nobody has to wait for the compiler's best.
fn build_quickly() -> Result<()> {
    shell::need_root("bench")?;
    setup::tools()?;
    ebpf::build()?;
    let mut cargo = shell::cargo();
    shell::run(cargo.args([
        "build",
        "--package=dfaas-agent",
        "--package=dfaas-provider",
        "--package=dfaas-bench",
        "--bins",
    ]))
    .context("building what is measured")
}

fn command(args: &Args) -> Command {
    let profile = if args.scenarios { "debug" } else { "release" };
    let mut command = Command::new(program(profile));
    let other = match args.reconfigure {
        Some(seconds) => Some(vec!["reconfigure".to_owned(), format!("--seconds={seconds}")]),
        None if args.scenarios => Some(scenarios(args)),
        None => args.scale.then(|| vec!["scale".to_owned()]),
    };
    if let Some(arguments) = other {
        command.args(arguments);
        if args.json {
            command.arg("--json");
        }
        return command;
    }
    command.arg("run").arg(format!("--only={}", args.only));
    for (wanted, flag) in [(args.quick, "--quick"), (args.json, "--json")] {
        if wanted {
            command.arg(flag);
        }
    }
    if let Some(rounds) = args.rounds {
        command.arg(format!("--rounds={rounds}"));
    }
    if args.write_readme {
        command.arg("--write").arg(shell::workspace().join(README));
    }
    command
}

fn scenarios(args: &Args) -> Vec<String> {
    let file = shell::workspace().join(DOCS);
    let write = args.write_docs.then(|| format!("--write={}", file.display()));
    ["scenarios".to_owned()].into_iter().chain(write).collect()
}

/// Cargo may have been told to build elsewhere.
fn program(profile: &str) -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    shell::workspace().join(folder).join(profile).join("dfaas-bench")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_handed_on() {
        let args = Args {
            quick: true,
            json: true,
            only: "a b".to_owned(),
            rounds: Some(2),
            write_readme: true,
            reconfigure: None,
            scale: false,
            scenarios: false,
            write_docs: false,
        };
        let text = shell::text(&command(&args));
        let (_, told) = text.split_once("dfaas-bench ").unwrap();
        assert!(
            told.starts_with("run --only=a b --quick --json --rounds=2 --write "),
            "{told}"
        );
        assert!(told.ends_with("/README.md"), "{told}");
    }
}
