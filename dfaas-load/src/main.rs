//! `dfaas-load`: requests at a rate that does not wait for answers, and what became of them.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;

mod attack;
mod client;
mod command;
mod format;
mod plot;
mod progress;
mod report;
mod sample;
mod schedule;
mod summary;
mod target;
mod trace;
mod workload;

fn main() -> ExitCode {
    match command::Command::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dfaas-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}
