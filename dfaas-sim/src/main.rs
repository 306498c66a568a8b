//! `dfaas-sim`: see `dfaas-sim --help`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match dfaas_sim::cli::run(dfaas_sim::cli::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dfaas-sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}
