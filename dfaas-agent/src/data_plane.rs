//! The kernel data plane as the agent sees it: programs attached, policy written, counters read.

mod attached;
mod check;
mod clean;
mod counting;
mod ending;
mod flows;
mod guard;
mod indices;
mod listener;
mod loan;
mod names;
mod pins;
mod place;
mod policy;
mod program;
mod program_log;
mod rehearsal;
mod relay;
mod reset;
#[expect(unsafe_code, reason = "no library offers these socket options")]
mod sys;
mod sysctls;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use aya::{
    Ebpf, Pod,
    maps::{HashMap, Map, MapData, MapError, SockMap},
};
use clap::ValueEnum;
use dfaas_common::maps;
use dfaas_control::{Counters, FunctionName, NodeId, Policy};
use serde::Serialize;
use tracing::{info, warn};

pub(crate) use self::{
    check::{Finding, NOT_IN_SIGHT, check, check_without_kernel},
    clean::clean,
    flows::SWEEP_INTERVAL,
    guard::{GuardConfig, GuardMode, blocked},
    program_log::ProgramLevel,
    rehearsal::Rehearsal,
};
use self::{
    counting::CounterMaps,
    ending::{Leaver, Reason},
    flows::FlowMaps,
    guard::GuardMaps,
    loan::{Loan, Place},
    names::{NameMap, Names},
    pins::Pins,
    policy::PolicyMaps,
    program_log::ProgramLog,
    sysctls::Sysctls,
};
use crate::clock;

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
    pub(crate) address_ipv6: Option<Ipv6Addr>,
    /// The port on which users and peers reach this node.
    pub(crate) port: u16,
    /// The local port on which the platform serves functions and nothing else.
    pub(crate) functions_port: u16,
    pub(crate) node: NodeId,
    pub(crate) data_in_syn: DataInSyn,
    /// First and last source port of forwarded connections.
    pub(crate) nat_ports: (u16, u16),
    pub(crate) idle_timeout: Duration,
    /// How many clients' connections can be live.
    pub(crate) flows_max: u32,
    pub(crate) guard: GuardConfig,
    pub(crate) log: ProgramLevel,
    /// The bpffs for what is to outlive the agent, if anything is.
    pub(crate) pins: Option<PathBuf>,
    /// How long after the last sign of an agent the programs go on to deal with peers.
    pub(crate) unattended: Duration,
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
    /// Somebody does whose process is not in sight, as in another PID namespace.
    Hidden,
}

/// The attached programs and their maps. Dropping it detaches them.
pub(crate) struct Kernel {
    // The links live in here, unless they are pinned.
    _ebpf: Ebpf,
    pins: Option<Pins>,
    sysctls: Sysctls,
    interface: String,
    names: Names,
    told: NameMap,
    /// The agent before this one has been away for so long that nothing is had to do with peers yet.
    is_away: bool,
    policy: PolicyMaps,
    counters: CounterMaps,
    flows: FlowMaps,
    guard: Option<GuardMaps>,
    log: Option<ProgramLog>,
    listeners: SockMap<MapData>,
    functions_port: u16,
    platform: Loan,
    haproxy: Loan,
    platform_ipv6: Loan,
    /// Why the platform cannot be reached over IPv6 although it listens there: a node does without.
    ipv6_fault: Option<String>,
    haproxy_ipv6: Loan,
}

impl Kernel {
    /// Loads the programs and attaches them to the interface and to the network namespace of this process.
    ///
    /// # Errors
    /// The missing privilege, kernel feature or interface, with its remedy.
    pub(crate) fn attach(config: &DataPlaneConfig, now: Instant) -> Result<Self> {
        let pins = Pins::open(config)?;
        let sysctls = Sysctls::of(&pins::instance(&config.interface, config.port)?);
        let takes_data_in_syn =
            config.data_in_syn != DataInSyn::Never && program::allow_data_in_syn(&sysctls);
        program::reserve_ports(config.nat_ports, &sysctls);
        let mut ebpf = program::load(config.flows_max, config.log, pins.as_ref())?;
        attached::load(&mut ebpf)?;
        let before = program::before(&mut ebpf)?;
        let is_away = before.is_some_and(|before| !before.is_attended(clock::monotonic_ns()));
        let settings = program::configure(&mut ebpf, config, before)?;
        attached::attach(&mut ebpf, &config.interface, pins.as_ref())?;
        if let Some(pins) = &pins {
            pins.remove_others();
        }
        let guard = GuardMaps::attach(&mut ebpf, &config.interface, &config.guard, pins.as_ref())?;
        let is_logged = config.log != ProgramLevel::Off;
        let log = is_logged.then(|| ProgramLog::new(&mut ebpf)).transpose()?;
        let mut names = Names::new();
        let told = NameMap::new(&mut ebpf)?;
        let mut policy = PolicyMaps::new(&mut ebpf, &config.node, config.data_in_syn)?;
        if before.is_some() {
            policy.adopt(&mut names, &told, !is_away)?;
            let (functions, peers) = policy.size();
            info!(
                functions,
                peers, is_away, "Go on with what an agent before has left"
            );
        }
        info!(interface = %config.interface, address = %config.address, port = config.port, "Attached the data plane");
        Ok(Self {
            pins,
            sysctls,
            interface: config.interface.clone(),
            names,
            told,
            is_away,
            policy,
            counters: CounterMaps::new(&mut ebpf, now)?,
            flows: FlowMaps::new(&mut ebpf, settings, config.idle_timeout, config.unattended)?,
            guard,
            log,
            listeners: SockMap::try_from(take(&mut ebpf, "LISTENERS")?)?,
            functions_port: config.functions_port,
            platform: Loan::new(Place::Platform, takes_data_in_syn),
            haproxy: Loan::new(Place::Haproxy, takes_data_in_syn),
            platform_ipv6: Loan::new(Place::PlatformIpv6, takes_data_in_syn),
            ipv6_fault: None,
            haproxy_ipv6: Loan::new(Place::HaproxyIpv6, takes_data_in_syn),
            _ebpf: ebpf,
        })
    }

    /// Writes what changed against the last policy into the maps. The swap of a function's row is atomic.
    ///
    /// What peers have under way that are barred since ends at once; what those have who are merely gone, after a while.
    pub(crate) fn apply(&mut self, policy: &Policy) -> Result<()> {
        let flows = &self.flows;
        self.names
            .make_room(policy, &mut self.counters, || flows.held())?;
        self.names.claim(policy);
        self.told.tell(&mut self.names)?;
        self.policy.apply(policy, &mut self.names)?;
        for (id, addresses) in self.policy.take_gone() {
            if let Some(index) = self.names.peers.get(&id) {
                let reason = if policy.barred.contains(&id) {
                    Reason::Barred
                } else {
                    Reason::Gone
                };
                self.flows.dismiss(index, Leaver { addresses, reason });
            }
        }
        for index in policy.peers.keys().filter_map(|id| self.names.peers.get(id)) {
            self.flows.welcome(index);
        }
        self.flows.end_barred()
    }

    /// Whether not all of the last policy is in force, so that it is to be given again: there was no room for it, or it does
    /// not know yet what the agent before this one did.
    pub(crate) fn leaves_out(&self) -> bool {
        self.policy.leaves_out() || self.policy.is_held()
    }

    /// What was counted since the last call.
    pub(crate) fn counters(&mut self, now: Instant) -> Result<Counters> {
        self.counters.since_last(now, &self.names)
    }

    /// What was counted since the programs were attached.
    pub(crate) fn totals(&self) -> Result<Totals> {
        let mut totals = self.counters.totals(&self.names, self.flows.live())?;
        totals.events.insert("ended_with_peer", self.flows.ended());
        totals.events.insert("ended_silent", self.flows.ended_silent());
        Ok(totals)
    }

    /// Ends flows that are over or idle. Call it every [`SWEEP_INTERVAL`].
    pub(crate) fn sweep(&mut self) -> Result<()> {
        self.is_away &= self.policy.is_held();
        if !self.is_away {
            self.flows.attend();
        }
        self.flows.sweep()
    }

    /// Ends what cannot go on without the programs, and detaches them.
    pub(crate) fn stop(mut self) {
        self.follow_log();
        if let Err(error) = self.flows.end_all() {
            warn!(
                error = format!("{error:#}"),
                "Connections through this node were not ended"
            );
        }
        if let Some(pins) = self.pins.take() {
            attached::detach_filters(&self.interface);
            pins.take_away();
        }
        self.sysctls.put_back();
    }

    /// Leaves the programs at work.
    ///
    /// # Errors
    /// Nothing holds them but this process.
    pub(crate) fn keep(mut self) -> Result<()> {
        self.follow_log();
        ensure!(
            self.pins.is_some(),
            "nothing was pinned: what steered has ended with the agent (--pins)"
        );
        Ok(())
    }

    /// The name of what outlives this agent, if anything does.
    pub(crate) fn kept_as(&self) -> Option<String> {
        self.pins.as_ref().map(Pins::name)
    }

    /// Whether decisions of an agent before this one stand, unless this policy knows as much.
    pub(crate) fn holds_against(&mut self, policy: &Policy) -> bool {
        self.policy.release(policy, clock::now());
        self.policy.is_held()
    }

    /// Whether decisions of an agent before this one stand.
    pub(crate) fn is_held(&self) -> bool {
        self.policy.is_held()
    }

    /// Finds the platform's listener and lends it to the kernel. Call it every 200 ms; cheap when nothing changed.
    pub(crate) fn follow_listener(&mut self) -> Result<Listener> {
        let by_ipv6 = self
            .platform_ipv6
            .follow(&mut self.listeners, self.functions_port);
        let fault = by_ipv6.as_ref().err().map(|error| format!("{error:#}"));
        if let Some(error) = fault.as_ref().filter(|_| fault != self.ipv6_fault) {
            warn!(
                error,
                "The platform's listener of IPv6 cannot be lent; HAProxy has what comes over IPv6"
            );
        }
        self.ipv6_fault = fault;
        self.flag(maps::LOCAL_IPV6, &by_ipv6.unwrap_or(Listener::Absent))?;
        self.platform.follow(&mut self.listeners, self.functions_port)
    }

    /// Tells the guard, if there is one, whom its file blocks. Call it every 200 ms.
    pub(crate) fn follow_guard(&mut self) -> Result<()> {
        self.guard.as_mut().map_or(Ok(()), GuardMaps::follow)
    }

    /// Puts into the log what the programs have logged. Call it every 200 ms.
    pub(crate) fn follow_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.follow(&self.names);
        }
    }

    /// Tells the kernel whether something is there.
    fn flag(&mut self, bit: u32, listener: &Listener) -> Result<()> {
        match listener {
            Listener::Present => self.flows.raise(bit),
            Listener::Absent | Listener::Hidden => self.flows.lower(bit),
        }
    }

    /// Tells the kernel whether a HAProxy is kept running here, so that its clients may try again while it is away.
    pub(crate) fn await_proxy(&mut self, is_kept: bool) -> Result<()> {
        if is_kept {
            self.flows.raise(maps::PROXY_COMES)
        } else {
            self.flows.lower(maps::PROXY_COMES)
        }
    }

    /// Lends HAProxy's listener to the kernel, and tells the kernel whether it has one. Call it every 200 ms, with the
    /// port while HAProxy can take connections.
    pub(crate) fn follow_proxy(&mut self, port: Option<u16>) -> Result<()> {
        let Some(port) = port else {
            // The places may be empty only once the kernel knows.
            self.flows.lower(maps::PROXY | maps::PROXY_IPV6)?;
            self.haproxy.end(&mut self.listeners)?;
            return self.haproxy_ipv6.end(&mut self.listeners);
        };
        for (loan, bit) in [
            (&mut self.haproxy, maps::PROXY),
            (&mut self.haproxy_ipv6, maps::PROXY_IPV6),
        ] {
            let followed = loan.follow(&mut self.listeners, port);
            if matches!(followed, Ok(Listener::Present)) {
                self.flows.raise(bit)?;
                continue;
            }
            self.flows.lower(bit)?;
            loan.end(&mut self.listeners)?;
            followed?;
        }
        Ok(())
    }
}

/// Whether anybody listens on the platform's port.
///
/// # Errors
/// The kernel's list of sockets cannot be read.
pub(crate) fn look_for_listener(functions_port: u16) -> Result<Listener> {
    Ok(match listener::find(functions_port)? {
        Some(_) => Listener::Present,
        None => Listener::Absent,
    })
}

/// Takes a row out of a table, unless that is done already: it ended meanwhile, or the last attempt failed half-way.
fn remove<K: Pod, V: Pod>(map: &mut HashMap<MapData, K, V>, key: &K, name: &str) -> Result<()> {
    match map.remove(key) {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("removing from {name}")),
    }
}

/// Takes a map out of the object.
fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name)
        .with_context(|| format!("the object has no map {name}"))
}
