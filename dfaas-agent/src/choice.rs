//! Who steers where the operator leaves it open: the kernel if it can, HAProxy otherwise.

use anyhow::{Result, bail};
use tracing::warn;

use crate::{
    config::{Config, ProxyChoice},
    data_plane::{self, Finding, GuardMode, ProgramLevel},
    haproxy::Program,
    plane::{PlaneChoice, PlaneKind},
};

/// Chooses, and says why if it is not the kernel.
///
/// # Errors
/// What the chosen one lacks, with the remedy; what either lacks if the choice is open.
pub(crate) fn choose(config: &Config) -> Result<PlaneKind> {
    if config.plane == PlaneChoice::Haproxy {
        return Ok(PlaneKind::Haproxy);
    }
    let findings = data_plane::check(Some(&config.interface), config.functions_port);
    let lacking = lacking(&findings);
    let Some(first) = lacking.first() else {
        return Ok(PlaneKind::Kernel);
    };
    if config.plane == PlaneChoice::Kernel {
        bail!("{}", lacking.join("\n"));
    }
    // A verifier's log has thousands of lines; `dfaas-agent check` prints them.
    let reason = first.lines().next().unwrap_or_default();
    if let Some(obstacle) = obstacle(config) {
        bail!("the kernel cannot steer here, and HAProxy alone neither ({obstacle}): {reason}");
    }
    warn!("HAProxy alone steers requests, as the kernel cannot: {reason}");
    if config.program_level() != ProgramLevel::Off {
        warn!("--log-programs tells nothing then: there are no programs");
    }
    Ok(PlaneKind::Haproxy)
}

/// What keeps the kernel from steering.
fn lacking(findings: &[Finding]) -> Vec<String> {
    let lacking = findings
        .iter()
        .filter_map(|finding| Some((finding.subject, finding.result.as_ref().err()?)));
    lacking
        .map(|(subject, text)| format!("{subject}: {text}"))
        .collect()
}

/// What keeps HAProxy from steering alone.
fn obstacle(config: &Config) -> Option<String> {
    if config.guard_mode() != GuardMode::Off {
        return Some("--guard comes with the kernel's data plane".to_owned());
    }
    match &config.proxy {
        ProxyChoice::Off => Some("--haproxy off".to_owned()),
        ProxyChoice::Adopted(_) => Some(
            "the one of --haproxy-socket is configured to help the kernel; see haproxy-config --data-plane haproxy"
                .to_owned(),
        ),
        ProxyChoice::At(path) => Program::at(path).err().map(|error| format!("--haproxy: {error:#}")),
        ProxyChoice::Auto => Program::needed().err().map(|error| format!("{error:#}")),
    }
}
