//! The folder for what is there while this node runs.

use std::{env, path::PathBuf};

/// systemd names the folder of a service here.
pub(crate) const VARIABLE: &str = "RUNTIME_DIRECTORY";
const DEFAULT: &str = "/run/dfaas";

/// Where it is.
pub(crate) fn base() -> PathBuf {
    env::var_os(VARIABLE).map_or_else(|| DEFAULT.into(), PathBuf::from)
}
