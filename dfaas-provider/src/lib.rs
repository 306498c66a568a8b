//! The embedded function platform: an OpenFaaS-compatible server whose functions are local processes.
//!
//! Requests come in by two listeners. The gateway listener speaks the whole OpenFaaS surface; the functions
//! listener only invokes, and is the one the kernel data plane steers connections to. Both end in
//! `calls::invoke`, which finds the function in the `Platform` and calls its runner: an in-process echo, a
//! process for each request, or a warm process behind a local port. A guard process kills what a killed
//! platform leaves behind.

#![deny(unsafe_code)]

mod calls;
mod clock;
mod deploy;
mod gateway;
mod go_duration;
mod metrics;
mod platform;
mod provider;
mod run;
mod stack;
mod state;
mod web;
mod wire;

pub use deploy::{DeployError, Gateway, Outcome};
pub use provider::{Config, Provider, StartError};
pub use run::guard::run as guard;
pub use run::isolation::user::FunctionUser;
pub use run::ocr::{OcrError, run as ocr};
pub use run::upstream::serve as warm_echo;
pub use stack::{StackError, read as read_stack, read_gateway as read_stack_gateway};
pub use web::auth::{Credentials, CredentialsError};
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
