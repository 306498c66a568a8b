//! How the agent asks the function platform.

use std::{
    fs,
    net::Ipv6Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper::http::uri::Authority;

use super::{mistakes::Mistakes, port};
use crate::platform::{Credentials, PlatformConfig};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct PlatformOptions {
    /// The host of the OpenFaaS gateway; https://HOST asks it by TLS
    #[arg(
        long,
        env = "AGENT_OPENFAAS_HOST",
        value_name = "HOST",
        default_value = "127.0.0.1"
    )]
    openfaas_host: String,
    /// The port of the OpenFaaS gateway
    #[arg(
        long,
        env = "AGENT_OPENFAAS_PORT",
        value_name = "PORT",
        default_value = "8080"
    )]
    openfaas_port: String,
    /// The user name that the gateway asks for
    #[arg(long, env = "AGENT_OPENFAAS_USER", value_name = "NAME")]
    openfaas_user: Option<String>,
    /// The password that the gateway asks for; a file hides it from `ps`
    #[arg(
        long,
        env = "AGENT_OPENFAAS_PASS",
        value_name = "PASSWORD",
        hide_env_values = true
    )]
    openfaas_pass: Option<String>,
    /// A file with the user name
    #[arg(long, env = "AGENT_OPENFAAS_USER_FILE", value_name = "FILE")]
    openfaas_user_file: Option<PathBuf>,
    /// A file with the password
    #[arg(long, env = "AGENT_OPENFAAS_PASS_FILE", value_name = "FILE")]
    openfaas_pass_file: Option<PathBuf>,
}

impl PlatformOptions {
    pub(super) fn check(&self, period: Duration, mistakes: &mut Mistakes) -> Option<PlatformConfig> {
        let (scheme, name) = match self.openfaas_host.strip_prefix("https://") {
            Some(name) => ("https", name),
            None => ("http", self.openfaas_host.as_str()),
        };
        let host = mistakes.take("--openfaas-host", host(name));
        let port = mistakes.take("--openfaas-port", port(&self.openfaas_port));
        let user = mistakes.take(
            "--openfaas-user",
            secret(&self.openfaas_user, &self.openfaas_user_file),
        );
        let password = mistakes.take(
            "--openfaas-pass",
            secret(&self.openfaas_pass, &self.openfaas_pass_file),
        );
        let credentials = match (user?, password?) {
            (Some(user), Some(password)) => Ok(Some(Credentials { user, password })),
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err("there is a user but no password: set --openfaas-pass or --openfaas-pass-file")
            }
            (None, Some(_)) => {
                Err("there is a password but no user: set --openfaas-user or --openfaas-user-file")
            }
        };
        let credentials = mistakes.take("--openfaas-user, --openfaas-pass", credentials);
        Some(PlatformConfig {
            scheme,
            host: host?,
            port: port?,
            credentials: credentials?,
            period,
        })
    }
}

/// The host as it stands in a URL.
fn host(text: &str) -> Result<String, String> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok(format!("[{text}]"));
    }
    match text.parse::<Authority>() {
        Ok(authority) if authority.host() == text => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err(format!(
            "{text:?} is not a host name or address, if need be with https:// before it; the port is --openfaas-port"
        )),
    }
}

/// A secret from its flag or its file.
fn secret(value: &Option<String>, file: &Option<PathBuf>) -> Result<Option<String>, String> {
    // An empty variable is one that was not set.
    let value = value.as_ref().filter(|value| !value.is_empty());
    let file = file.as_ref().filter(|file| !file.as_os_str().is_empty());
    match (value, file) {
        (Some(_), Some(file)) => Err(format!(
            "both a value and the file {} are given: choose one",
            file.display()
        )),
        (Some(value), None) => Ok(Some(value.clone())),
        (None, Some(file)) => read_secret(file).map(Some),
        (None, None) => Ok(None),
    }
}

fn read_secret(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        Err(format!("{} is empty", path.display()))
    } else {
        Ok(text.to_owned())
    }
}
