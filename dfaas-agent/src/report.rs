//! How the agent is, as its API tells.

use std::{
    fmt::{self, Display, Formatter},
    net::Ipv4Addr,
};

use dfaas_control::{NodeId, Status, StrategyKind};
use serde::Serialize;

use crate::{
    data_plane::{Listener, Totals},
    overlay::OverlayCounts,
};

/// What `/status` tells.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) version: &'static str,
    pub(crate) node: NodeId,
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) interface: String,
    pub(crate) strategy: StrategyKind,
    pub(crate) uptime_s: f64,
    pub(crate) ready: bool,
    /// Why it is not ready.
    pub(crate) problems: Vec<String>,
    pub(crate) listener: Listener,
    pub(crate) overlay: OverlayReport,
    pub(crate) control: Status,
    pub(crate) totals: Totals,
}

/// What is known about the overlay.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct OverlayReport {
    pub(crate) listening: Vec<String>,
    pub(crate) connected: usize,
    pub(crate) counts: OverlayCounts,
}

/// What `/healthz` tells.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) checks: Vec<Check>,
    pub(crate) peers: usize,
}

/// One thing that has to be so before the node can serve.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) subject: &'static str,
    pub(crate) result: Result<String, String>,
}

impl Health {
    pub(crate) fn is_ready(&self) -> bool {
        self.checks.iter().all(|check| check.result.is_ok())
    }

    /// What is wrong, a line each.
    pub(crate) fn problems(&self) -> Vec<String> {
        let problems = self.checks.iter().filter(|check| check.result.is_err());
        problems
            .map(|Check { subject, result }| format!("{subject}: {}", text(result)))
            .collect()
    }
}

impl Display for Health {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for Check { subject, result } in &self.checks {
            let verdict = if result.is_ok() { "ok  " } else { "FAIL" };
            writeln!(f, "{verdict} {subject}: {}", text(result))?;
        }
        match self.peers {
            0 => writeln!(f, "ok   peers: none yet"),
            peers => writeln!(f, "ok   peers: {peers} connected"),
        }
    }
}

fn text(result: &Result<String, String>) -> &str {
    match result {
        Ok(text) | Err(text) => text,
    }
}
