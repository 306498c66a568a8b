//! The map layouts and the pure parts of the data plane, shared by kernel and host.
//!
//! Nothing here does I/O or allocates; what the eBPF programs decide, they decide by calling this crate, so that the
//! same code runs in host tests.
#![no_std]
#![deny(unsafe_code)]
#![warn(missing_docs)]

#[cfg(test)]
extern crate std;

pub mod closing;
pub mod decide;
pub mod extent;
pub mod guard;
pub mod histogram;
pub mod http;
pub mod log;
pub mod maps;
pub mod meter;
pub mod numbering;
pub mod packet;
pub mod pairing;
pub mod pick;
#[cfg(feature = "user")]
#[expect(
    unsafe_code,
    reason = "aya::Pod is an unsafe trait, and the orphan rule keeps its impls here"
)]
mod pod;
pub mod siphash;
pub mod steering;
pub mod tcp_options;
