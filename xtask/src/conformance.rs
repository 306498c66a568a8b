//! The table of what OpenFaaS does, asked of our platform, and of the real programs where they are given.
//!
//! The table is data: `dfaas-provider/tests/conformance/`, a file for each software. Each row has what is deployed and sent,
//! what the real software answers, in which version, and how that is known.

mod exchange;
mod provider;
mod real;
mod report;
mod stage;
mod table;
mod want;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, ensure};
use serde_json::Value;

use self::report::{Line, Report, Verdict};
use self::stage::Stage;
use self::table::{Chapter, Row};
use crate::shell;

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Also run the real faas-cli: its own rows, and each stack beside `dfaas-provider deploy --stack`
    #[arg(long, value_name = "PATH")]
    faas_cli: Option<PathBuf>,
    /// Also ask the real classic-watchdog (it serves its metrics on port 8081, which must be free)
    #[arg(long, value_name = "PATH")]
    watchdog: Option<PathBuf>,
    /// Also ask the real of-watchdog (likewise)
    #[arg(long, value_name = "PATH")]
    of_watchdog: Option<PathBuf>,
    /// Only rows that hold this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Print the rows as JSON
    #[arg(long)]
    json: bool,
}

/// Builds the platform, runs the table and prints a line for each row.
///
/// # Errors
///
/// When the platform does not compile or the table cannot be read. Rows that are wrong make the exit code.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    build_platform()?;
    let report = lines(args, |line| {
        if !args.json {
            print!("{line}");
        }
    })?;
    if args.json {
        println!("{}", report.json()?);
    } else {
        println!("{report}");
    }
    Ok(report.exit_code())
}

/// Runs the table with a platform that was built before.
///
/// # Errors
///
/// When a row is wrong.
pub(crate) fn check() -> Result<()> {
    let report = lines(&Args::default(), |line| print!("{line}"))?;
    println!("{report}");
    ensure!(report.is_right(), "rows of the table are wrong; see above");
    Ok(())
}

fn build_platform() -> Result<()> {
    let mut cargo = shell::cargo();
    shell::run(cargo.args(["build", "--quiet", "-p", "dfaas-provider"]))
}

fn lines(args: &Args, mut tell: impl FnMut(&Line)) -> Result<Report> {
    let mut report = Report::default();
    for chapter in table::read()? {
        for row in chapter.row.iter().filter(|row| row.is_asked_for(args)) {
            let verdicts = verdicts(args, &chapter, row);
            let was_run = verdicts.iter().any(|(_, verdict)| verdict.was_run());
            for (subject, verdict) in verdicts {
                let line = Line::new(&chapter, row, subject, verdict);
                // The sum has how many were not run, and why.
                if line.was_run() || !was_run {
                    tell(&line);
                }
                report.lines.push(line);
            }
        }
    }
    ensure!(
        !report.lines.is_empty(),
        "no row of the table holds {:?}",
        args.filter.as_deref().unwrap_or_default()
    );
    Ok(report)
}

/// What came of a row at each program that it is for.
fn verdicts(args: &Args, chapter: &Chapter, row: &Row) -> Vec<(&'static str, Verdict)> {
    let mut verdicts = Vec::new();
    if !row.is_for_faas_cli_alone() {
        verdicts.push(("dfaas-provider", of_provider(row, None)));
    }
    if row.has_faas_cli() {
        let verdict = match &args.faas_cli {
            Some(path) => of_faas_cli(row, path),
            None => Verdict::NotRun("give --faas-cli PATH".to_owned()),
        };
        verdicts.push(("faas-cli", verdict));
    }
    if row.watchdog {
        verdicts.push(of_watchdog(args, chapter, row));
    }
    verdicts
}

fn of_provider(row: &Row, faas_cli: Option<PathBuf>) -> Verdict {
    if row.root && !shell::is_root() {
        return Verdict::NotRun("run it as root".to_owned());
    }
    Verdict::of(row, left_by(row, faas_cli).map(|_| ()))
}

/// The row with the real faas-cli. A stack of it leaves the same as one of ours, in every field.
fn of_faas_cli(row: &Row, path: &Path) -> Verdict {
    let done = left_by(row, Some(path.to_owned())).and_then(|theirs| {
        if row.is_for_faas_cli_alone() {
            return Ok(());
        }
        let ours = left_by(row, None)?;
        ensure!(
            ours == theirs,
            "faas-cli leaves {theirs}, and dfaas-provider deploy {ours}"
        );
        Ok(())
    });
    Verdict::of_real(done)
}

/// The functions that the platform has behind a row.
fn left_by(row: &Row, faas_cli: Option<PathBuf>) -> Result<Value> {
    let mut stage = Stage::with_provider(row, faas_cli)?;
    stage.perform(row)?;
    stage.functions()
}

fn of_watchdog(args: &Args, chapter: &Chapter, row: &Row) -> (&'static str, Verdict) {
    let (name, path, flag) = match chapter.software.as_str() {
        "of-watchdog" => ("of-watchdog", &args.of_watchdog, "--of-watchdog"),
        _ => ("classic-watchdog", &args.watchdog, "--watchdog"),
    };
    let Some(path) = path else {
        return (name, Verdict::NotRun(format!("give {flag} PATH")));
    };
    let done = Stage::with_watchdog(row, path).and_then(|mut stage| stage.perform(row));
    (name, Verdict::of_real(done))
}

impl Row {
    fn is_asked_for(&self, args: &Args) -> bool {
        let holds = |text: &String| self.says.contains(text) || self.source.contains(text);
        args.filter.as_ref().is_none_or(holds)
    }
}
