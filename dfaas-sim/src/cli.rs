//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::plot::Format;
use crate::scale::FEDERATION_MAX;
use crate::strategy::StrategyName;

mod compare;
mod picture;
mod run;
mod scale;

/// Simulates federations: the agent's own mind under virtual time.
#[derive(Debug, Parser)]
#[command(name = "dfaas-sim", version)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a scenario and sums it up
    Run(RunArgs),
    /// Runs scenarios under several strategies with many seeds, on all processors, and compares them
    Sweep(SweepArgs),
    /// Runs the original's experiment on its recordings, with water-filling beside its four strategies
    Experiment(ExperimentArgs),
    /// Shows what balancers do that do not agree, with old news of each other
    Herd(HerdArgs),
    /// Simulates large federations second by second, and tells what that costs
    Scale(ScaleArgs),
    /// Draws pictures of results
    Plot(PlotArgs),
    /// Makes one file of HTML of results, with tables and pictures
    Report(ReportArgs),
    /// Prints the JSON schema of scenarios
    Schema,
}

/// Which scenario, and how it is run.
#[derive(Debug, clap::Args)]
struct RunArgs {
    /// The scenario's file
    scenario: PathBuf,
    /// The seed of all chance, instead of the scenario's
    #[arg(long)]
    seed: Option<u64>,
    /// Who decides, instead of the scenario's
    #[arg(long)]
    strategy: Option<StrategyName>,
    /// Prints everything as JSON: the summary, a row per node, function and second, who served whom
    #[arg(long)]
    json: bool,
    /// Writes results.json, summary.json, rows.csv and flows.csv into this folder
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Which scenarios, strategies and seeds.
#[derive(Debug, clap::Args)]
struct SweepArgs {
    /// The scenarios' files
    #[arg(required = true)]
    scenarios: Vec<PathBuf>,
    /// How many seeds, counted from the scenario's
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// The strategies
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "water-filling,recalc,static,node-margin,random,empirical"
    )]
    strategies: Vec<StrategyName>,
    /// Prints JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Draws pictures of it into this folder
    #[arg(long, value_name = "FOLDER")]
    pictures: Option<PathBuf>,
}

/// Which recordings and graphs.
#[derive(Debug, clap::Args)]
struct ExperimentArgs {
    /// The folder of the original's recordings, in which node_1, node_2 and node_3 are
    #[arg(long, value_name = "FOLDER")]
    recordings: PathBuf,
    /// How many nodes; the published settings if absent
    #[arg(long, short = 'n', requires = "edge_probability", value_parser = clap::value_parser!(u16).range(2..=500))]
    nodes: Option<u16>,
    /// The probability of an edge between two nodes
    #[arg(long, short = 'p', requires = "nodes", value_parser = probability)]
    edge_probability: Option<f64>,
    /// The seed of the first instance
    #[arg(long, short = 's', default_value_t = 701)]
    seed: u64,
    /// How many instances of each setting
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    instances: u64,
    /// Prints JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Draws pictures of it into this folder
    #[arg(long, value_name = "FOLDER")]
    pictures: Option<PathBuf>,
}

/// How old news are, and how many seeds.
#[derive(Debug, clap::Args)]
struct HerdArgs {
    /// How often nodes tell each other of themselves, in seconds
    #[arg(long, value_delimiter = ',', default_value = "1,5", value_parser = period)]
    periods: Vec<Duration>,
    /// How many seeds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// Prints JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Draws pictures of it into this folder
    #[arg(long, value_name = "FOLDER")]
    pictures: Option<PathBuf>,
}

fn period(text: &str) -> Result<Duration, String> {
    let number = text
        .parse::<f64>()
        .ok()
        .filter(|number| (0.1..=3_600.0).contains(number));
    let number = number.ok_or_else(|| format!("{text:?} is no period; give 0.1 to 3600 seconds"))?;
    Ok(Duration::from_secs_f64(number))
}

/// How large.
#[derive(Debug, clap::Args)]
struct ScaleArgs {
    /// How many nodes, one run for each
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000", value_parser = clap::value_parser!(u32).range(2..=100_000))]
    nodes: Vec<u32>,
    /// How many functions each node runs
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    functions: u16,
    /// How many seconds are simulated
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(10..=86_400))]
    seconds: u32,
    /// To how many neighbours each node sends, one run for each; `all` is its whole federation
    #[arg(long, value_delimiter = ',', default_value = "all")]
    neighbours: Vec<Reach>,
    /// The seed of all chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// To whom a node sends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reach {
    /// Its whole federation.
    All,
    /// So many neighbours.
    Neighbours(usize),
}

impl FromStr for Reach {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let count = text
            .parse()
            .ok()
            .filter(|count| (2..FEDERATION_MAX).contains(count));
        let wrong = || {
            format!(
                "{text:?} is no number of neighbours; give all, or 2 to {}",
                FEDERATION_MAX - 1
            )
        };
        count.map(Self::Neighbours).ok_or_else(wrong)
    }
}

/// Which results, and where the pictures go.
#[derive(Debug, clap::Args)]
struct PlotArgs {
    /// Files results.json of `run --out`; several are compared
    #[arg(required = true)]
    results: Vec<PathBuf>,
    /// The folder of the pictures
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Which files are written
    #[arg(long, value_enum, default_value_t = Format::Both)]
    format: Format,
}

/// Which results, and where the report goes.
#[derive(Debug, clap::Args)]
struct ReportArgs {
    /// Files results.json of `run --out`; several are compared
    #[arg(required = true)]
    results: Vec<PathBuf>,
    /// The file of the report
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn probability(text: &str) -> Result<f64, String> {
    let number = text
        .parse::<f64>()
        .ok()
        .filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| format!("{text:?} is no probability; give a number from 0 to 1"))
}

/// Does what the command line says.
///
/// # Errors
///
/// When a file cannot be read or written, or says what cannot be.
pub fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Run(args) => run::run(&args),
        Command::Sweep(args) => compare::sweep(&args),
        Command::Experiment(args) => compare::experiment(&args),
        Command::Herd(args) => compare::herd(&args),
        Command::Scale(args) => scale::run(&args),
        Command::Plot(args) => picture::plot(&args),
        Command::Report(args) => picture::report(&args),
        Command::Schema => {
            run::print(&crate::scenario::Scenario::schema());
            Ok(())
        }
    }
}
