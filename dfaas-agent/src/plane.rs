//! The data plane as the loop sees it: the kernel with HAProxy for what it cannot frame, or HAProxy alone.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use dfaas_control::{Counters, NodeId, Policy, ServiceAddress};
use serde::Serialize;

use crate::{
    data_plane::{self, Kernel, Listener, Totals},
    ending,
    haproxy::{Proxy, State},
};

/// Who is to steer requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlaneChoice {
    /// The kernel where it can, or else HAProxy.
    Auto,
    Kernel,
    Haproxy,
}

/// Who steers requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PlaneKind {
    /// eBPF programs, and HAProxy for what they cannot frame.
    Kernel,
    /// HAProxy for all, without eBPF.
    Haproxy,
}

/// What carries out the policy and counts. Neither kind has more to it than the other: policy goes in, counters come out.
pub(crate) enum DataPlane {
    Kernel(Box<Steered>),
    Haproxy(Proxied),
}

/// The kernel, with HAProxy beside it.
pub(crate) struct Steered {
    kernel: Kernel,
    helper: Proxy,
    /// HAProxy leaves another part of the limits to the kernel than when it got its policy.
    is_stale: bool,
}

/// HAProxy at the service's address.
pub(crate) struct Proxied {
    proxy: Proxy,
    service_port: u16,
    functions_port: u16,
    last_read: Instant,
    /// Where those serve whom HAProxy knows.
    peers: BTreeMap<NodeId, ServiceAddress>,
    /// Whose connections are to end, as soon as HAProxy does not know them any more.
    barred: Vec<ServiceAddress>,
    /// How many were ended.
    ended: u64,
}

impl DataPlane {
    pub(crate) fn kernel(kernel: Kernel, helper: Proxy) -> Self {
        Self::Kernel(Box::new(Steered {
            kernel,
            helper,
            is_stale: false,
        }))
    }

    /// HAProxy at a port for users and peers, in front of a platform at another.
    pub(crate) fn haproxy(proxy: Proxy, [service_port, functions_port]: [u16; 2], now: Instant) -> Self {
        Self::Haproxy(Proxied {
            proxy,
            service_port,
            functions_port,
            last_read: now,
            peers: BTreeMap::new(),
            barred: Vec::new(),
            ended: 0,
        })
    }

    pub(crate) fn kind(&self) -> PlaneKind {
        match self {
            Self::Kernel(_) => PlaneKind::Kernel,
            Self::Haproxy(_) => PlaneKind::Haproxy,
        }
    }

    /// Has a policy carried out.
    ///
    /// # Errors
    /// The kernel did not take all of it; it is to be given again.
    pub(crate) fn apply(&mut self, policy: &Policy) -> Result<()> {
        match self {
            Self::Kernel(plane) => {
                // HAProxy has what the agent before this one gave it.
                if !plane.kernel.holds_against(policy) {
                    plane.helper.apply(policy);
                }
                plane.is_stale = false;
                plane.kernel.apply(&plane.helper.left_of(policy))
            }
            Self::Haproxy(plane) => {
                plane.apply(policy);
                Ok(())
            }
        }
    }

    /// Whether the policy is to be given again, because of what was counted or because not all of it found room.
    pub(crate) fn is_stale(&self) -> bool {
        match self {
            Self::Kernel(plane) => plane.is_stale || plane.kernel.leaves_out(),
            Self::Haproxy(_) => false,
        }
    }

    /// What was counted since the last call.
    ///
    /// # Errors
    /// The kernel's counters cannot be read.
    pub(crate) fn counters(&mut self, now: Instant) -> Result<Counters> {
        match self {
            Self::Kernel(plane) => {
                let mut counters = plane.kernel.counters(now)?;
                plane.is_stale |= plane.helper.add_counters(&mut counters);
                Ok(counters)
            }
            Self::Haproxy(plane) => {
                let mut counters = Counters {
                    elapsed: now.saturating_duration_since(plane.last_read),
                    ..Counters::default()
                };
                plane.proxy.add_counters(&mut counters);
                plane.last_read = now;
                Ok(counters)
            }
        }
    }

    /// What was counted since the agent has started.
    ///
    /// # Errors
    /// The kernel's counters cannot be read.
    pub(crate) fn totals(&self) -> Result<Totals> {
        let mut totals = match self {
            Self::Kernel(plane) => plane.kernel.totals()?,
            Self::Haproxy(plane) => Totals {
                events: BTreeMap::from([("ended_with_peer", plane.ended), ("forged", 0)]),
                ..Totals::default()
            },
        };
        self.proxy().add_totals(&mut totals);
        Ok(totals)
    }

    /// Looks for the platform's listener. Call it every 200 ms.
    ///
    /// # Errors
    /// It cannot be looked for, or not be lent to the kernel.
    pub(crate) fn follow_platform(&mut self) -> Result<Listener> {
        match self {
            Self::Kernel(plane) => plane.kernel.follow_listener(),
            Self::Haproxy(plane) => data_plane::look_for_listener(plane.functions_port),
        }
    }

    /// Reads whom the guard is to keep out. Call it every 200 ms.
    ///
    /// # Errors
    /// Its file cannot be read, or the kernel does not take what it says.
    pub(crate) fn follow_guard(&mut self) -> Result<()> {
        match self {
            Self::Kernel(plane) => plane.kernel.follow_guard(),
            Self::Haproxy(_) => Ok(()),
        }
    }

    /// Puts into the log what the programs have logged. Call it every 200 ms.
    pub(crate) fn follow_log(&mut self) {
        match self {
            Self::Kernel(plane) => plane.kernel.follow_log(),
            Self::Haproxy(_) => {}
        }
    }

    /// Looks after HAProxy. Call it every 200 ms.
    ///
    /// # Errors
    /// Its listener cannot be lent to the kernel; or there is none, and all depends on it; or connections of who is
    /// struck off cannot be ended.
    pub(crate) fn follow_proxy(&mut self) -> Result<()> {
        match self {
            Self::Kernel(plane) => {
                let is_unknown = matches!(plane.helper.state(), State::Starting | State::Waiting);
                if is_unknown && plane.kernel.is_held() {
                    return Ok(());
                }
                plane.kernel.await_proxy(plane.helper.is_kept())?;
                plane.kernel.follow_proxy(plane.helper.port())
            }
            Self::Haproxy(plane) => match plane.proxy.state() {
                State::Ready { .. } | State::Waiting | State::Starting => plane.end_barred(),
                State::Absent { reason } => bail!("HAProxy does not run: {reason}"),
            },
        }
    }

    /// How often [`Self::sweep`] is to be called.
    pub(crate) const SWEEP_INTERVAL: Duration = data_plane::SWEEP_INTERVAL;

    /// Ends connections that are over or idle; HAProxy does so by itself.
    ///
    /// # Errors
    /// The kernel's maps cannot be read or written.
    pub(crate) fn sweep(&mut self) -> Result<()> {
        match self {
            Self::Kernel(plane) => plane.kernel.sweep(),
            Self::Haproxy(_) => Ok(()),
        }
    }

    /// Whether what was applied is carried out wherever requests come.
    pub(crate) fn follows(&self) -> bool {
        self.proxy().follows()
    }

    pub(crate) fn proxy_state(&self) -> State {
        self.proxy().state()
    }

    fn proxy(&self) -> &Proxy {
        match self {
            Self::Kernel(plane) => &plane.helper,
            Self::Haproxy(plane) => &plane.proxy,
        }
    }

    /// Leaves programs and HAProxy at work for the next agent.
    ///
    /// # Errors
    /// They end with this one.
    pub(crate) async fn keep(self) -> Result<()> {
        match self {
            Self::Kernel(plane) => match plane.kernel.keep() {
                Ok(()) => {
                    plane.helper.keep().await;
                    Ok(())
                }
                Err(error) => {
                    plane.helper.stop().await;
                    Err(error)
                }
            },
            Self::Haproxy(plane) => {
                plane.proxy.stop().await;
                bail!("HAProxy alone ends with the agent")
            }
        }
    }

    /// Detaches the programs first, so that nothing more is given to the HAProxy that then ends.
    pub(crate) async fn stop(self) {
        match self {
            Self::Kernel(plane) => {
                plane.kernel.stop();
                plane.helper.stop().await;
            }
            Self::Haproxy(plane) => plane.proxy.stop().await,
        }
    }
}

impl Proxied {
    fn apply(&mut self, policy: &Policy) {
        let known = std::mem::take(&mut self.peers);
        let barred = known.into_iter().filter(|(id, _)| policy.barred.contains(id));
        self.barred.extend(barred.map(|(_, service)| service));
        self.peers = policy
            .peers
            .iter()
            .map(|(id, peer)| (id.clone(), peer.service))
            .collect();
        self.proxy.apply(policy);
    }

    /// Ends what those have under way who were struck off. What comes of them later is refused.
    fn end_barred(&mut self) -> Result<()> {
        if self.barred.is_empty() || !self.proxy.follows() {
            return Ok(());
        }
        let barred = std::mem::take(&mut self.barred);
        self.ended +=
            ending::end(&barred, self.service_port).context("ending connections of who is struck off")?;
        Ok(())
    }
}
