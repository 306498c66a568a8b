//! Three nodes that share the load of one, to look at.

mod counts;
mod report;
mod table;

use std::{
    io::IsTerminal as _,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use dfaas_testbed::{Federation, Load, NodeSpec, Relay, Running, Tally, figlet, now, shasum};

pub(crate) use counts::Counts;

use crate::{demo::table::Table, ebpf, interrupt, setup, shell};

/// The function that is asked for.
pub(crate) const FUNCTION: &str = "figlet";
/// What the nodes can serve, in requests a second.
const CAPACITIES: [u32; 3] = [10, 20, 30];
/// The first port of localhost that leads to a node.
const PORT: u16 = 8081;
const STEP: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End after so many seconds of load
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Print what happened as one JSON object on the last line
    #[arg(long)]
    json: bool,
    /// How many requests a second node 1 is sent
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=2000))]
    rate: u32,
    /// How the nodes share out what is too much for one
    #[arg(long, default_value = "water-filling")]
    strategy: String,
    /// Who steers requests: kernel or haproxy
    #[arg(long, default_value = "kernel", value_parser = ["kernel", "haproxy"])]
    data_plane: String,
}

/// Shows the federation until it is told to end.
///
/// # Errors
///
/// When something is missing or a program does not do its work.
pub(crate) fn run(args: &Args) -> Result<()> {
    shell::need_root("demo")?;
    setup::tools()?;
    build_programs()?;
    let end = interrupt::watch()?;
    println!("demo: starting three nodes");
    let federation = start(&args.strategy, &args.data_plane)?;
    println!("demo: formed in {} ms", federation.formed_in.as_millis());
    let relay = relay(&federation);
    for line in hints(&federation, relay.is_some()) {
        println!("{line}");
    }
    let mut show = Show::start(args, &federation)?;
    show.run(&end)?;
    let report = show.finish()?;
    drop(relay);
    let formed_in = federation.formed_in;
    federation.stop().context("ending the federation")?;
    println!("{}", report.text());
    if args.json {
        println!("{}", report.json(formed_in));
    }
    Ok(())
}

/// Builds what the nodes run.
///
/// # Errors
///
/// When something does not compile.
pub(crate) fn build_programs() -> Result<()> {
    ebpf::build()?;
    let mut cargo = shell::cargo();
    shell::run(cargo.args([
        "build",
        "--package=dfaas-agent",
        "--package=dfaas-provider",
        "--bins",
    ]))
    .context("building the programs of a node")
}

/// Starts the nodes of the demo.
///
/// # Errors
///
/// When they do not find each other.
pub(crate) fn start(strategy: &str, data_plane: &str) -> Result<Federation> {
    let specs = CAPACITIES.map(|rate| NodeSpec {
        strategy: strategy.to_owned(),
        data_plane: data_plane.to_owned(),
        ..NodeSpec::new(vec![figlet(rate), shasum()])
    });
    Federation::start(&specs)
}

/// Leads ports of localhost to the nodes.
pub(crate) fn relay(federation: &Federation) -> Option<Relay> {
    let services = federation.nodes.iter().map(dfaas_testbed::Node::service);
    let pairs: Vec<(u16, SocketAddr)> = (PORT..).zip(services).collect();
    match Relay::start(&federation.client, &pairs) {
        Ok(relay) => Some(relay),
        Err(error) => {
            println!("demo: nodes cannot be reached from outside: {error:#}");
            None
        }
    }
}

fn hints(federation: &Federation, relayed: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if relayed {
        lines.push("Each node is a port of localhost, 8081 to 8083:".to_owned());
        lines.push(format!(
            "  curl http://localhost:{PORT}/function/{FUNCTION} -d 'Hello DFaaS world!'"
        ));
    }
    let is_in_kernel = |node: &dfaas_testbed::Node| node.spec().data_plane == "kernel";
    if federation.nodes.iter().any(is_in_kernel) {
        lines.push(
            "What the kernel of a node was told (all nodes are on this kernel, so there are three of each map):"
                .to_owned(),
        );
        lines.push("  bpftool map dump name FUNCTIONS".to_owned());
    }
    if let Some(node) = federation.nodes.first() {
        let target = node.namespace().pid();
        lines.push(format!(
            "A shell on {}: nsenter --target {target} --net --mount",
            node.name()
        ));
    }
    lines
}

/// The load and what is seen of it.
struct Show<'a> {
    federation: &'a Federation,
    load: Running,
    tally: Tally,
    first: Vec<Counts>,
    last: Vec<Counts>,
    seconds: Option<u64>,
    table: Table,
}

impl<'a> Show<'a> {
    fn start(args: &Args, federation: &'a Federation) -> Result<Self> {
        let node = federation.nodes.first().context("a federation has nodes")?;
        let first = Counts::of_all(federation)?;
        let load = Load::new(node.service(), FUNCTION, args.rate).start(&federation.client)?;
        Ok(Self {
            federation,
            load,
            tally: Tally::new(node.name()),
            last: first.clone(),
            first,
            seconds: args.seconds,
            table: Table::new(CAPACITIES.to_vec(), std::io::stdout().is_terminal()),
        })
    }

    fn run(&mut self, end: &AtomicBool) -> Result<()> {
        let start = now();
        let mut shown = 0;
        while !end.load(Ordering::Relaxed) {
            let seconds = start.elapsed().as_secs();
            if seconds > shown {
                shown = seconds;
                self.show(seconds)?;
            }
            if self.seconds.is_some_and(|most| seconds >= most) {
                break;
            }
            thread::sleep(STEP);
        }
        Ok(())
    }

    fn show(&mut self, seconds: u64) -> Result<()> {
        let samples = self.load.samples();
        self.tally.add(&samples);
        let counts = match Counts::of_all(self.federation) {
            Ok(counts) => counts,
            Err(error) => bail!("{error:#}{}", self.federation.logs()),
        };
        let lines = self.table.lines(seconds, &counts, &self.last, &self.tally);
        self.table.show(&lines);
        self.last = counts;
        Ok(())
    }

    fn finish(mut self) -> Result<report::Report> {
        let samples = self.load.stop()?;
        self.tally.add(&samples);
        // The agents count what has ended at their next look.
        thread::sleep(SECOND);
        let last = Counts::of_all(self.federation)?;
        Ok(report::Report::new(&self.first, &last, self.tally))
    }
}
