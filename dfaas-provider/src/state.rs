//! What lies in the state directory, and the names of it.

pub(crate) mod files;
pub(crate) mod name;
pub(crate) mod namespaces;
pub(crate) mod secrets;
pub(crate) mod store;
