//! A model of a connection: clients and servers with a TCP of their own, a network between them that loses, doubles,
//! delays, cuts and merges segments, and a node in the middle. All of it comes from one seed and runs in virtual time.
//!
//! The node is anything that takes segments and gives segments ([`node::Node`]): the eBPF programs in the testbed, or
//! nobody ([`node::Plain`]), which shows that the ends themselves are right.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod allowed;
mod app;
mod client;
pub mod frame;
pub mod generate;
mod host;
pub mod http;
mod legend;
pub mod network;
pub mod node;
pub mod outcome;
pub mod script;
pub mod segment;
pub mod shrink;
pub mod tcp;
pub mod trace;
pub mod world;

/// Virtual time, in microseconds since a run began.
pub type Micros = u64;

/// One second of it.
pub const SECOND: Micros = 1_000_000;
/// One millisecond of it.
pub const MILLISECOND: Micros = 1_000;
