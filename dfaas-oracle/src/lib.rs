//! What others make of the same bytes: httparse and hyper as oracles for [`dfaas_common::http`], etherparse for
//! [`dfaas_common::packet`].
//!
//! Property tests, fuzz targets and the tests of the kernel's programs all ask here. A check panics where the two
//! readers disagree in a way that [`requests::Stricter`] or [`responses::Stricter`] does not allow.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod answers;
pub mod frames;
pub mod gossip;
pub mod heads;
mod hyper_client;
pub mod requests;
pub mod responses;
pub mod targets;
