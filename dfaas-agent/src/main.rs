//! `dfaas-agent`: the body of a node. It attaches the data plane, talks to peers and the platform, and tells how it is.

#![deny(unsafe_code)]

mod admitted;
mod agent;
mod api;
mod cli;
mod clock;
mod config;
mod data_plane;
mod go_duration;
mod haproxy;
mod http_client;
mod identity;
mod metrics;
mod offer;
mod overlay;
mod platform;
mod report;
mod run;
mod status_table;
mod steering;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Args::try_parse() {
        Ok(args) => cli::run(args),
        Err(answer) => cli::answer_usage(&answer),
    }
}
