//! Our data plane beside nothing, HAProxy and nginx: `cargo xtask bench` builds and runs it.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it tells the user what it measured")]

mod backend;
mod case;
mod contender;
mod hold;
mod kernel;
mod latency;
mod machine;
mod open_loop;
mod ports;
mod proxies;
mod reconfiguration;
mod report;
mod rounds;
mod run;
mod scale;
mod scenarios;
mod site;
mod soak;
mod statistics;
mod table;
mod wrk;

use std::{io, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Compares our data plane with nothing, HAProxy and nginx.
#[derive(Debug, Parser)]
#[command(name = "dfaas-bench")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measures
    Run(run::Args),
    /// Changes everything ten times a second under load, beside HAProxy with reloads
    Reconfigure(reconfiguration::Args),
    /// Keeps a federation under all kinds of load, and looks for what is lost or grows
    Soak(soak::Args),
    /// Measures with many flows and functions
    Scale(scale::Args),
    /// Runs the reference's scenarios in a real federation, with water-filling and with Recalc
    Scenarios(scenarios::Args),
    /// Starts all contenders and keeps them until standard input ends: to look at by hand
    Site,
    /// Serves what is asked for
    Backend(backend::Args),
    /// Keeps connections
    Hold(hold::Args),
}

fn main() -> ExitCode {
    let result = match Args::parse().task {
        Task::Run(args) => run::run(&args),
        Task::Reconfigure(args) => reconfiguration::run(&args),
        Task::Soak(args) => soak::run(&args),
        Task::Scale(args) => scale::run(&args),
        Task::Scenarios(args) => scenarios::run(&args),
        Task::Site => keep_site(),
        Task::Backend(args) => backend::run(&args),
        Task::Hold(args) => hold::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dfaas-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn keep_site() -> Result<()> {
    let site = site::Site::start()?;
    println!("{}", site.hints());
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
