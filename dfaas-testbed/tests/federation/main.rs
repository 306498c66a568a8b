//! Federations of real agents and providers, asked by real clients. Needs root.
//!
//! All is run for the kernel's data plane. With `DFAAS_TEST_DATA_PLANE=haproxy` it is run for HAProxy alone;
//! `xtask/src/suite.rs` says what is left out then, and why.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "these are tests, with helpers"
)]

mod answers;
mod asked;
mod attack;
mod attempt;
mod cases;
mod checksums;
mod containers;
mod faults;
mod first_window;
mod forger;
mod front_ends;
mod ipv6;
mod kit;
mod leftovers;
mod lossy;
mod neighbours;
mod paths;
mod platform;
mod program_log;
mod proxy;
mod reconfiguration;
mod recording;
mod requests;
mod share;
mod silence;
mod smuggling;
mod spread;
mod strangers;
mod strategies;
mod succession;
mod tcp;
mod transfers;
mod trust;
mod unjudged;
mod wide;
mod wrong;
