//! The provider over real sockets, as OpenFaaS clients, functions and the data plane meet it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod administration;
mod asynchronous;
mod callbacks;
mod calls;
mod command_line;
mod forking;
mod harness;
mod isolation;
mod operators;
mod persistence;
mod ports;
mod processes;
mod replicas;
mod stopping;
mod upstreams;
mod warm;
