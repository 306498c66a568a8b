//! The embedded function platform: an OpenFaaS-compatible server whose functions are local processes.
//!
//! Requests come in by two listeners. The gateway listener speaks the whole OpenFaaS surface; the functions
//! listener only invokes, and is the one the kernel data plane steers connections to. Both end in
//! `invoke::invoke`, which finds the function in the `Platform` and calls its runner: an in-process echo, a
//! process for each request, or a warm process behind a local port.

#![deny(unsafe_code)]

mod auth;
mod body;
mod classic;
mod client;
mod clock;
mod deploy;
mod echo;
mod files;
mod function;
mod function_log;
mod gateway;
mod go_duration;
mod invoke;
mod launch;
mod metrics;
mod name;
mod namespaces;
mod ocr;
mod platform;
mod process;
mod program;
mod provider;
mod queue;
mod reply;
mod secrets;
mod server;
mod settings;
mod stack;
mod stamp;
mod stats;
mod store;
mod upstream;
mod warm;
mod wire;

pub use auth::{Credentials, CredentialsError};
pub use deploy::{DeployError, Gateway, Outcome};
pub use ocr::{OcrError, run as ocr};
pub use provider::{Config, Provider, StartError};
pub use stack::{StackError, read as read_stack};
pub use upstream::serve as warm_echo;
pub use wire::Deployment;

/// The host's name, as answers tell it.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
