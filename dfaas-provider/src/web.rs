//! HTTP as the platform speaks it: listeners, bodies, clients, answers.

pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod reply;
pub(crate) mod server;
pub(crate) mod spool;
pub(crate) mod stamp;
