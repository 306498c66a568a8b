//! The embedded function platform: an OpenFaaS-compatible server whose functions are local processes.
//!
//! Requests come in by two listeners. The gateway listener speaks the whole OpenFaaS surface; the functions
//! listener only invokes, and is the one the kernel data plane steers connections to. Both end in
//! `invoke::invoke`, which finds the function in the `Platform` and calls its runner: an in-process echo, a
//! process for each request, or a warm process behind a local port. A guard process kills what a killed
//! platform leaves behind.

#![deny(unsafe_code)]

mod auth;
mod body;
mod callback;
mod classic;
mod client;
mod clock;
mod deploy;
mod detached;
mod echo;
mod files;
mod function;
mod function_log;
mod gateway;
mod go_duration;
mod guard;
mod invoke;
mod isolation;
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
mod spool;
mod stack;
mod stamp;
mod stats;
mod store;
mod upstream;
mod usage;
mod warm;
mod wire;

pub use auth::{Credentials, CredentialsError};
pub use deploy::{DeployError, Gateway, Outcome};
pub use guard::run as guard;
pub use isolation::user::FunctionUser;
pub use ocr::{OcrError, run as ocr};
pub use provider::{Config, Provider, StartError};
pub use stack::{StackError, read as read_stack, read_gateway as read_stack_gateway};
pub use upstream::serve as warm_echo;
pub use wire::Deployment;

/// The host's name, as answers tell it.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Enough for every connection and process the provider allows.
const FILES_MAX: u64 = 65_536;

/// Asks the kernel for as many open files as it allows without privileges, up to what can be used.
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES_MAX, |maximum| maximum.min(FILES_MAX));
    if limit.current.is_some_and(|current| current < wanted)
        && let Err(error) = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(wanted),
                ..limit
            },
        )
    {
        tracing::warn!(%error, wanted, "Left the limit on open files low");
    }
}
