//! Our data plane beside nothing, HAProxy and nginx: `cargo xtask bench` builds and runs it.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it tells the user what it measured")]

mod backend;
mod case;
mod contender;
mod machine;
mod ports;
mod proxies;
mod rounds;
mod site;
mod statistics;
mod wrk;

use std::{io, process::ExitCode, sync::atomic::AtomicBool};

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "dfaas-bench")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measures all cases
    Run(RunArgs),
    /// Starts all contenders and keeps them until standard input ends: to look at by hand
    Site,
    /// Serves what is asked for
    Backend(backend::Args),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    #[arg(long)]
    quick: bool,
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> ExitCode {
    let result = match Args::parse().task {
        Task::Run(args) => run(&args),
        Task::Site => keep_site(),
        Task::Backend(args) => backend::run(&args),
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

fn run(args: &RunArgs) -> Result<()> {
    let site = site::Site::start()?;
    println!("up; load {}", machine::load_average()?);
    let end = AtomicBool::new(false);
    let effort = rounds::Effort { rounds: 3, seconds: 1 };
    for case in case::Case::all() {
        if (args.quick && !case.is_telling) || !case.name.contains(&args.only) {
            continue;
        }
        let measured = match rounds::run(&site, &case, effort, &end) {
            Ok(measured) => measured,
            Err(error) => {
                println!("{} {} {} FAILED {error:#}", case.name, case.clients, case.body_text());
                continue;
            }
        };
        print!("{:40} c={:3} {:6}", case.name, case.clients, case.body_text());
        for (contender, series) in &measured.series {
            let median = statistics::Median::of(series.rps.iter().copied());
            let cpu = statistics::Median::of(series.cpu_us.iter().copied());
            print!(" {} {:.0} ({:.1}us)", contender.name(), median.map_or(0.0, |m| m.value), cpu.map_or(0.0, |m| m.value));
        }
        let of = |c: contender::Contender| measured.series.get(&c).map_or(&[][..], |s| &s.rps);
        let ours = of(contender::Contender::Dfaas);
        println!(
            " | d {:?} h1 {:?} h2 {:?}",
            statistics::Median::of_ratios(ours, of(contender::Contender::Direct)).map(|m| (m.value, m.least, m.greatest)),
            statistics::Median::of_ratios(ours, of(contender::Contender::Haproxy { workers: 1 })).map(|m| m.value),
            statistics::Median::of_ratios(ours, of(contender::Contender::Haproxy { workers: 2 })).map(|m| m.value),
        );
    }
    Ok(())
}
