//! How the agent is, as its API tells.

use std::{
    fmt::{self, Display, Formatter},
    net::Ipv4Addr,
};

use dfaas_control::{NodeId, Status, StrategyKind};
use serde::Serialize;

use crate::{
    data_plane::{Listener, Totals},
    haproxy::State,
    overlay::OverlayCounts,
    plane::PlaneKind,
};

/// What `/status` tells.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) version: &'static str,
    pub(crate) node: NodeId,
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) interface: String,
    pub(crate) data_plane: PlaneKind,
    pub(crate) strategy: StrategyKind,
    pub(crate) uptime_s: f64,
    pub(crate) ready: bool,
    /// Why it is not ready.
    pub(crate) problems: Vec<String>,
    /// What a person should look at although it is ready.
    pub(crate) warnings: Vec<String>,
    pub(crate) listener: Listener,
    pub(crate) proxy: State,
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
    /// A node is ready without it.
    pub(crate) proxy: State,
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

    /// The same for a supervisor.
    pub(crate) fn in_a_sentence(&self) -> String {
        let problems = self.problems();
        if problems.is_empty() {
            format!("Ready, {} peers", self.peers)
        } else {
            format!("Not ready: {}", problems.join("; "))
        }
    }
}

impl Display for Health {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for Check { subject, result } in &self.checks {
            let verdict = if result.is_ok() { "ok  " } else { "FAIL" };
            writeln!(f, "{verdict} {subject}: {}", text(result))?;
        }
        writeln!(f, "ok   haproxy: {}", self.proxy)?;
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

#[cfg(test)]
pub(crate) mod fixtures {
    //! A report for the tests of what is made of it.

    use std::collections::BTreeMap;

    use dfaas_control::{FunctionStatus, Rejection, Route};

    use super::*;
    use crate::data_plane::{FunctionTotals, Histogram};

    fn proxy() -> State {
        State::Ready {
            version: "2.6".to_owned(),
            pid: 7,
        }
    }

    /// A node that sends half of what it is asked to a peer.
    pub(crate) fn report() -> Report {
        let peer = node("n2");
        let route = Route {
            weight: 1.0,
            cap_rps: f64::INFINITY,
        };
        let function = FunctionStatus {
            hosted: true,
            capacity_rps: 10.0,
            demand_rps: 20.0,
            local_rps: 10.0,
            here: 0.0,
            routes: BTreeMap::from([(peer.clone(), route)]),
            admit: BTreeMap::from([(peer.clone(), 2.5)]),
        };
        let totals = FunctionTotals {
            user: 8,
            local: 3,
            forwarded: BTreeMap::from([(peer.clone(), 5)]),
            admitted: BTreeMap::from([(peer, 4)]),
            refused: BTreeMap::from([(429, 1)]),
            first_byte_local: Histogram {
                bins: vec![(0.001, 3), (f64::INFINITY, 0)],
                sum_seconds: 0.002,
            },
            first_byte_forwarded: Histogram::default(),
        };
        let figlet = || dfaas_control::FunctionName::new("figlet").unwrap();
        Report {
            version: "1.2.3",
            node: node("n1"),
            address: Ipv4Addr::new(10, 0, 0, 1),
            port: 80,
            interface: "eth0".to_owned(),
            data_plane: PlaneKind::Kernel,
            strategy: StrategyKind::WaterFilling,
            uptime_s: 1.5,
            ready: true,
            problems: Vec::new(),
            warnings: Vec::new(),
            listener: Listener::Present,
            proxy: proxy(),
            overlay: OverlayReport {
                connected: 1,
                ..OverlayReport::default()
            },
            control: Status {
                node: node("n1"),
                incarnation: 1,
                service: "10.0.0.1:80".parse().unwrap(),
                strategy: StrategyKind::WaterFilling,
                coming: None,
                shadow: None,
                neighbours: dfaas_control::Scope::default(),
                period_s: 1.0,
                functions: BTreeMap::from([(figlet(), function)]),
                peers: BTreeMap::new(),
                accepted: 6,
                rejected: BTreeMap::from([(Rejection::Malformed, 2), (Rejection::AbsurdValue, 3)]),
            },
            totals: Totals {
                functions: BTreeMap::from([(figlet(), totals)]),
                refused: BTreeMap::from([(404, 9)]),
                events: BTreeMap::from([("opened", 17), ("proxied_chunked", 3)]),
                flows: 2,
            },
        }
    }

    /// All is well, but for the listener if it is absent.
    pub(crate) fn health(listener: &Listener) -> Health {
        let result = match listener {
            Listener::Present => Ok("port 8090".to_owned()),
            Listener::Absent | Listener::Hidden => Err("nobody listens".to_owned()),
        };
        let data_plane = Check {
            subject: "data plane",
            result: Ok("attached to eth0".to_owned()),
        };
        Health {
            checks: vec![
                data_plane,
                Check {
                    subject: "listener",
                    result,
                },
            ],
            proxy: State::Waiting,
            peers: 0,
        }
    }

    fn node(text: &str) -> NodeId {
        NodeId::new(text).unwrap()
    }
}
