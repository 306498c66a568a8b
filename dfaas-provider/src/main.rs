//! `dfaas-provider`: the embedded function platform, an OpenFaaS-compatible server.

#![forbid(unsafe_code)]

mod cli;
mod manual;
mod supervisor;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Args;

/// `EX_USAGE` of sysexits.h.
const WRONG_USAGE: u8 = 64;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(answer) => return answer_usage(&answer),
    };
    match cli::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dfaas-provider: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints help and version, or what was wrong with the command line.
fn answer_usage(answer: &clap::Error) -> ExitCode {
    // Nobody is left to be told that the terminal is gone.
    let _ = answer.print();
    match answer.use_stderr() {
        true => ExitCode::from(WRONG_USAGE),
        false => ExitCode::SUCCESS,
    }
}
