//! A federation of real agents, laid as a file says.

mod load;
mod report;
mod session;
mod shape;
mod stage;
mod topology;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use self::{
    report::Report,
    session::Session,
    stage::Stage,
    topology::{LoadSpec, Topology},
};
use crate::{demo, interrupt, setup, shell};

const STEP: Duration = Duration::from_millis(100);
/// Agents count what has ended at their next look.
const COUNTED: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    /// What to lay: a TOML file, such as topologies/ring-12.toml
    #[arg(required = true)]
    topology: Option<PathBuf>,
    /// Ask for so many seconds what the file says, report, and end; without it, the federation stays until Ctrl-C
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: Option<u32>,
    /// Ask what a file for dfaas-load says instead (nodes are http://node1/ and so on), report, and end
    #[arg(long, value_name = "FILE", conflicts_with = "seconds")]
    workload: Option<PathBuf>,
    /// Where the results of each request go, as dfaas-load writes them
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// Print the report as one JSON object on the last line
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    visit: Option<Visit>,
}

#[derive(Debug, clap::Subcommand)]
enum Visit {
    /// Run a command on a node (node1, or n1 for short; client) of the federation that stays up in another terminal
    Exec {
        node: String,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// A shell there
    Shell { node: String },
}

/// Lays a federation, or visits one.
///
/// # Errors
///
/// When the file is wrong, something does not come up, or requests are not accounted for.
pub(crate) fn run(args: &Args) -> Result<()> {
    shell::need_root("emulate")?;
    match &args.visit {
        Some(Visit::Exec { node, command }) => match session::exec(node, command)? {},
        Some(Visit::Shell { node }) => match session::exec(node, &["bash".to_owned()])? {},
        None => lay(args),
    }
}

fn lay(args: &Args) -> Result<()> {
    let file = args.topology.as_ref().context("no topology")?;
    let topology = Topology::read(file)?;
    ensure!(
        args.seconds.is_none() || !topology.loads.is_empty(),
        "{}: no [[load]], so there is nothing to ask for {} seconds: give some, or --workload",
        file.display(),
        args.seconds.unwrap_or(0)
    );
    let results = args.results.as_deref().map(load::seen_everywhere).transpose()?;
    let workload = args.workload.as_deref().map(load::seen_everywhere).transpose()?;
    build()?;
    let end = interrupt::watch()?;
    println!("emulate: starting {} nodes", topology.nodes);
    let stage = Stage::start(&topology)?;
    load::name_nodes(&stage.federation)?;
    let _session = Session::begin(&stage.federation)?;
    println!(
        "emulate: {} nodes, {} pairs of neighbours; links: {}",
        topology.nodes,
        topology.edges.len(),
        stage.means
    );
    // Kept until the load has ended.
    let made = args
        .seconds
        .map(|seconds| workload_file(&load::workload(&topology, seconds)))
        .transpose()?;
    let workload = workload.or_else(|| made.as_ref().map(|file| file.path().to_owned()));
    match workload {
        Some(file) => measure(args, &topology, &stage, &file, results.as_deref())?,
        None => {
            println!(
                "emulate: `cargo xtask emulate exec n1 -- curl -s http://node1/function/NAME -d x` or `emulate shell client` in another terminal; Ctrl-C ends"
            );
            while !end.load(Ordering::Relaxed) {
                thread::sleep(STEP);
            }
        }
    }
    stage.federation.stop().context("ending the federation")
}

/// Builds what an emulation runs.
///
/// # Errors
///
/// When something is missing or does not compile.
pub(crate) fn build() -> Result<()> {
    setup::tools()?;
    demo::build_programs()?;
    shell::run(shell::cargo().args(["build", "--package=dfaas-load"]))
}

/// A federation of a topology's file that is asked one load after the other.
pub(crate) struct Emulation {
    topology: Topology,
    stage: Stage,
}

impl Emulation {
    /// For so long a load comes before answers count: agents have heard of it then.
    const WARMUP_S: u32 = 5;
    /// What a node knows of a load is gone after four periods of a second, and buckets are full.
    const QUIET: Duration = Duration::from_secs(5);

    /// Lays it, under another strategy than the file's.
    ///
    /// # Errors
    ///
    /// When the file is wrong, or something does not come up.
    pub(crate) fn start(file: &Path, strategy: &str) -> Result<Self> {
        let mut topology = Topology::read(file)?;
        strategy.clone_into(&mut topology.strategy);
        let stage = Stage::start(&topology)?;
        load::name_nodes(&stage.federation)?;
        Ok(Self { topology, stage })
    }

    /// Asks each node for its rate, in requests a second, and tells what each served a second, from the first node on.
    ///
    /// An answer counts in the second in which it comes. A client that a peer refused sends again and again for up to half a
    /// minute, and finds room when the load has ended.
    ///
    /// # Errors
    ///
    /// When the load cannot be sent.
    pub(crate) fn served_rps(&mut self, rates_rps: &[u32], seconds: u32) -> Result<Vec<f64>> {
        const DAY_S: f64 = 86_400.0;
        let function = self.topology.functions[0].name.clone();
        let load = |(place, &rate): (usize, &u32)| LoadSpec {
            node: place + 1,
            function: function.clone(),
            rate_rps: rate.into(),
        };
        let loads = rates_rps.iter().enumerate().filter(|(_, rate)| **rate > 0);
        self.topology.loads = loads.map(load).collect();
        let file = workload_file(&load::workload(&self.topology, Self::WARMUP_S + seconds))?;
        let results = tempfile::Builder::new().suffix(".json").tempfile()?;
        load::run(&self.stage.federation, file.path(), Some(results.path()))?;
        thread::sleep(Self::QUIET);
        let answers = load::answers(&fs::read_to_string(results.path()).context("reading results")?)?;
        let (first, _) = *answers.first().context("dfaas-load has no results")?;
        let begin = f64::from(Self::WARMUP_S);
        let counted = begin..begin + f64::from(seconds);
        let served = |node: &dfaas_testbed::Node| {
            let by_it = answers.iter().filter(|(at, served_by)| {
                let since = (at - first).rem_euclid(DAY_S);
                served_by.as_deref() == Some(node.name()) && counted.contains(&since)
            });
            by_it.count() as f64 / f64::from(seconds)
        };
        Ok(self.stage.federation.nodes.iter().map(served).collect())
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// When something does not end as it should.
    pub(crate) fn stop(self) -> Result<()> {
        self.stage.federation.stop().context("ending the federation")
    }
}

/// A workload as a file, which goes with this value.
fn workload_file(text: &str) -> Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .suffix(".toml")
        .tempfile()
        .context("making a workload")?;
    file.write_all(text.as_bytes()).context("writing a workload")?;
    Ok(file)
}

fn measure(
    args: &Args,
    topology: &Topology,
    stage: &Stage,
    workload: &Path,
    results: Option<&Path>,
) -> Result<()> {
    let counts = || demo::Counts::of_all_functions(&stage.federation);
    let first = counts()?;
    let summary = load::run(&stage.federation, workload, results)?;
    thread::sleep(COUNTED);
    let report = Report::new(&topology.name, &stage.means, summary, &first, &counts()?);
    print!("{report}");
    if args.json {
        println!("{}", report.json());
    }
    ensure!(
        report.unaccounted() == 0,
        "{} requests are not accounted for",
        report.unaccounted()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workload_of_a_topology_names_its_nodes() {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../topologies/three-hosts.toml");
        let text = load::workload(&Topology::read(&file).unwrap(), 30);
        assert!(text.contains("url = \"http://node1/function/figlet\""), "{text}");
        assert!(
            text.contains("phases = [{ seconds = 30.0, rate_rps = 50.0 }]"),
            "{text}"
        );
    }
}
