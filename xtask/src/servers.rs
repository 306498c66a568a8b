//! Real HTTP servers behind the data plane, asked the same as directly: alone, by their own node, and by another one.

mod catalog;
mod exchange;
mod question;
mod report;

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, ensure};
use dfaas_testbed::{Federation, Function, Network, NodeSpec, Process, wait_until};

use self::{
    catalog::{Catalog, Server},
    exchange::{Seen, Way},
    question::Question,
    report::{Line, Report},
};
use crate::{demo, setup, shell};

/// Where the servers listen.
const PORT: u16 = 8095;
/// More than is asked for, in requests a second.
const PLENTY_RPS: u32 = 1_000_000;
/// How long a server may take to start, and the data plane to find it.
const START: Duration = Duration::from_secs(30);

/// So often a question is asked again that is answered otherwise, or late: some servers answer now so, now so (lighttpd 1.4.69
/// writes the first chunk's size with a zero in front or without), and others may have had the processor.
const AGAIN: usize = 4;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only servers with this in their name
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Print one JSON object on the last line
    #[arg(long)]
    json: bool,
}

/// Installs the servers, starts each at two nodes, and compares what clients see of it.
///
/// # Errors
///
/// When no server can be installed or a node does not do its work. Differences make the exit code.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    shell::need_root("servers")?;
    setup::tools()?;
    demo::build_programs()?;
    let catalog = Catalog::install(&args.only)?;
    let federation = start()?;
    let mut report = Report::default();
    for server in &catalog.servers {
        println!("servers: {}", server.name);
        for line in ask(&federation, server).with_context(|| format!("asking {}", server.name))? {
            print!("{line}");
            report.add(line);
        }
    }
    federation.stop().context("ending the federation")?;
    println!("{report}");
    if args.json {
        println!("{}", report.json());
    }
    Ok(report.exit_code())
}

/// What the first node serves, and what the second. As long as the other, so that answers that tell it are.
const FUNCTIONS: [&str; 2] = ["near", "afar"];

/// A node that serves one function, and one that serves the other: both by whatever listens at [`PORT`].
fn start() -> Result<Federation> {
    let specs = FUNCTIONS.map(|name| NodeSpec {
        functions_port: PORT,
        ..NodeSpec::new(vec![Function::echo(PLENTY_RPS).named(name)])
    });
    let mut federation = Federation::unformed(&specs)?;
    // They are ready, and form a federation, once the first server listens.
    federation.start_agents()?;
    Ok(federation)
}

/// Asks a server all questions on all ways.
fn ask(federation: &Federation, server: &Server) -> Result<Vec<Line>> {
    let processes = federation.nodes.iter().map(|node| {
        let command = server.command(PORT);
        Process::start(node.namespace(), "platform", &command[0], &command[1..])
    });
    let mut processes = processes.collect::<Result<Vec<_>>>()?;
    let [near, far] = FUNCTIONS;
    let service = federation.nodes[0].service();
    let alone = SocketAddr::from((Network::address(federation.nodes[0].number()), PORT));
    let way = |server, function| Way {
        from: &federation.client,
        server,
        function,
    };
    let [direct, local, forwarded] = [way(alone, near), way(service, near), way(service, far)];
    let served = [&direct, &local, &forwarded].map(|way| wait_until("served", START, || way.is_served()));
    if let Some(error) = served.into_iter().find_map(Result::err) {
        let logs: Vec<_> = processes.iter().map(|process| process.log_tail(10)).collect();
        return Err(error.context(logs.join("\n")));
    }
    let mut lines = Vec::new();
    for question in question::ALL {
        let mut expected = question.ask(&direct)?;
        for (name, way) in [("local", &local), ("forwarded", &forwarded)] {
            let mut line = Line::new(&server.name, name, question, &expected, &question.ask(way)?);
            for _ in 0..AGAIN {
                if !line.differs() {
                    break;
                }
                expected = question.ask(&direct)?;
                line = Line::new(&server.name, name, question, &expected, &question.ask(way)?);
            }
            lines.push(line);
        }
    }
    for process in &mut processes {
        ensure!(process.is_running(), "it ended: {}", process.log_tail(10));
    }
    for process in processes {
        // Some of them leave children behind on SIGTERM, or none of them ends in time: the group is killed in any case.
        let _ended = process.terminate();
    }
    Ok(lines)
}
