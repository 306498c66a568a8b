//! `dfaas-agent`: the body of a node. It attaches the data plane, talks to peers and the platform, and tells how it is.

#![deny(unsafe_code)]

mod admitted;
mod adviser;
mod agent;
mod api;
mod choice;
mod cli;
mod clock;
mod config;
mod data_plane;
mod ending;
mod federation;
mod followed_file;
mod go_duration;
mod haproxy;
mod http_client;
mod identity;
mod incarnation;
mod links;
mod manual;
#[expect(unsafe_code, reason = "no library asks the C library for this")]
mod memory;
mod metrics;
mod mind;
mod netlink;
mod netns;
mod offer;
mod overlay;
mod plane;
mod platform;
mod prober;
mod recording;
mod report;
mod run;
mod run_folder;
mod sockets;
mod state_lock;
mod status_table;
mod steering;
mod supervisor;
mod usage;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let environment = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    cli::main(env::args_os().collect(), &environment.collect())
}
