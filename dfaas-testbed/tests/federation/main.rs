//! Federations of real agents and providers, asked by real clients. Needs root.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "these are tests, with helpers"
)]

mod answers;
mod checksums;
mod faults;
mod kit;
mod lossy;
mod platform;
mod share;
mod transfers;
mod wrong;
