//! The federation under virtual time: scenarios, strategies, tables and pictures.
//!
//! Nodes are driven by `dfaas-control` itself, their requests decided upon by `dfaas-common`, as in the kernel.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod cli;
pub mod demand;
pub mod engine;
pub mod experiment;
pub mod herd;
pub mod plot;
pub mod random;
pub mod record;
pub mod report;
pub mod results;
pub mod rivals;
pub mod scale;
pub mod scenario;
pub mod strategy;
pub mod summary;
pub mod sweep;
pub mod topology;
