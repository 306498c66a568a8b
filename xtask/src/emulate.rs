//! A federation of real agents, laid as a file says.

mod load;
mod report;
mod session;
mod shape;
mod stage;
mod topology;

use std::{path::PathBuf, sync::atomic::Ordering, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};

use self::{report::Report, session::Session, stage::Stage, topology::Topology};
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
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
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
    setup::tools()?;
    demo::build_programs()?;
    shell::run(shell::cargo().args(["build", "--package=dfaas-load"]))?;
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
    let mut made = tempfile::Builder::new()
        .suffix(".toml")
        .tempfile()
        .context("making a workload")?;
    let workload = match (workload, args.seconds) {
        (Some(file), _) => Some(file),
        (None, Some(seconds)) => {
            std::io::Write::write_all(&mut made, load::workload(&topology, seconds).as_bytes())?;
            Some(made.path().to_owned())
        }
        (None, None) => None,
    };
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

fn measure(
    args: &Args,
    topology: &Topology,
    stage: &Stage,
    workload: &std::path::Path,
    results: Option<&std::path::Path>,
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
