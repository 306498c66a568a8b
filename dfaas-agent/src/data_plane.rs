//! The kernel data plane as the agent sees it: programs attached, policy written, counters read.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::ValueEnum;
use dfaas_control::{Counters, FunctionName, NodeId, Policy};
use serde::Serialize;

/// Where the kernel may put the request into the SYN (TCP Fast Open without a cookie, RFC 7413).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
pub(crate) enum DataInSyn {
    /// Nowhere: every first segment is replayed after the handshake.
    Never,
    /// Towards peers and the local listener.
    Peers,
    /// As `Peers`, and from any client.
    Always,
}

/// What the data plane has to know before it attaches.
#[derive(Clone, Debug)]
pub(crate) struct DataPlaneConfig {
    pub(crate) interface: String,
    pub(crate) address: Ipv4Addr,
    /// The port on which users and peers reach this node.
    pub(crate) port: u16,
    /// The local port on which the platform serves functions and nothing else.
    pub(crate) functions_port: u16,
    pub(crate) node: NodeId,
    pub(crate) data_in_syn: DataInSyn,
    /// First and last source port of forwarded connections.
    pub(crate) nat_ports: (u16, u16),
    pub(crate) idle_timeout: Duration,
}

/// Everything counted since the programs were attached.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Totals {
    pub(crate) functions: BTreeMap<FunctionName, FunctionTotals>,
    /// Requests refused before a function was known, by status code.
    pub(crate) refused: BTreeMap<u16, u64>,
    /// Packets and flows by what happened to them; the names are stable.
    pub(crate) events: BTreeMap<&'static str, u64>,
    /// Live entries of the flow table at the last sweep.
    pub(crate) flows: u64,
}

/// The counters of one function.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct FunctionTotals {
    /// Requests of users, whatever became of them.
    pub(crate) user: u64,
    pub(crate) local: u64,
    pub(crate) forwarded: BTreeMap<NodeId, u64>,
    pub(crate) admitted: BTreeMap<NodeId, u64>,
    /// Refusals by status code.
    pub(crate) refused: BTreeMap<u16, u64>,
    /// Time to the first byte of the answer, by who served: this node, or a peer.
    pub(crate) first_byte_local: Histogram,
    pub(crate) first_byte_forwarded: Histogram,
}

/// A histogram in seconds, with the upper bounds of its bins.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Histogram {
    /// Upper bound of a bin in seconds, and how many fell into it.
    pub(crate) bins: Vec<(f64, u64)>,
    pub(crate) sum_seconds: f64,
}

/// Whether the platform's listener was found and lent to the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Listener {
    /// Connections are given to it.
    Present,
    /// Nobody listens on the functions port.
    Absent,
}

/// The attached programs and their maps. Dropping it detaches them.
pub(crate) struct DataPlane {}

impl DataPlane {
    /// Loads the programs and attaches them to the interface and to the network namespace of this process.
    ///
    /// # Errors
    /// The missing privilege, kernel feature or interface, with its remedy.
    pub(crate) fn attach(_config: &DataPlaneConfig) -> Result<Self> {
        bail!("the data plane is not part of this build")
    }

    /// Writes what changed against the last policy into the maps. The swap of a function's row is atomic.
    pub(crate) fn apply(&mut self, _policy: &Policy) -> Result<()> {
        Ok(())
    }

    /// What was counted since the last call.
    pub(crate) fn counters(&mut self, _now: Instant) -> Result<Counters> {
        Ok(Counters { elapsed: Duration::ZERO, functions: BTreeMap::new() })
    }

    /// What was counted since the programs were attached.
    pub(crate) fn totals(&self) -> Result<Totals> {
        Ok(Totals::default())
    }

    /// Ends flows that are over or idle. Call it about once a second.
    pub(crate) fn sweep(&mut self) -> Result<()> {
        Ok(())
    }

    /// Finds the platform's listener and lends it to the kernel. Call it every 200 ms; cheap when nothing changed.
    pub(crate) fn follow_listener(&mut self) -> Result<Listener> {
        Ok(Listener::Absent)
    }
}

/// One line of `dfaas-agent check`.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) subject: &'static str,
    /// What was found, or what is missing and how to mend it.
    pub(crate) result: Result<String, String>,
}

/// Examines whether this host can run the data plane.
pub(crate) fn check(_interface: Option<&str>) -> Vec<Finding> {
    Vec::new()
}
