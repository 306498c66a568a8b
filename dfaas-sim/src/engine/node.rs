//! A node: who decides, what serves, and what was counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dfaas_common::meter;
use dfaas_common::steering;
use dfaas_control::{Control, Counters, FunctionCounters, FunctionName, NodeId, NodeUsage};

use super::kernel::Kernel;
use super::recorder::Weights;
use super::station::Servers;
use crate::random::Random;
use crate::record::percentile;
use crate::rivals::{FunctionNews, News, Rival};
use crate::scenario::NodeSpec;

/// Who decides for a node.
pub(super) enum Mind {
    /// It is down.
    None,
    /// The agent's own.
    Agent(Box<Control>),
    /// Another.
    Rival(Box<dyn Rival>),
}

/// What was counted of a function since it was last read.
#[derive(Debug, Clone, Default)]
pub(super) struct Counted {
    pub(super) user: u64,
    pub(super) local: u64,
    pub(super) refused: u64,
    pub(super) forwarded: BTreeMap<usize, u64>,
    pub(super) admitted: BTreeMap<usize, u64>,
    pub(super) times_us: Vec<u32>,
}

pub(super) struct Node {
    pub(super) mind: Mind,
    pub(super) kernel: Kernel,
    pub(super) servers: Vec<Option<Servers>>,
    pub(super) counted: Vec<Counted>,
    /// Times of starts: what belongs to an earlier one is gone.
    pub(super) incarnation: u64,
    pub(super) read_at_ns: u64,
    /// When the mind is to be asked next; other times are outdated.
    pub(super) wake_at_ns: u64,
    pub(super) weights: Weights,
    /// Requests of this node that each node has now.
    pub(super) outstanding: Vec<u32>,
    local_arrival_ns: Vec<u64>,
    pub(super) random: Random,
    pub(super) service_random: Random,
}

impl Node {
    pub(super) fn new(functions: usize, nodes: usize, random: Random, service_random: Random) -> Self {
        Self {
            mind: Mind::None,
            kernel: Kernel::default(),
            servers: (0..functions).map(|_| None).collect(),
            counted: vec![Counted::default(); functions],
            incarnation: 0,
            read_at_ns: 0,
            wake_at_ns: u64::MAX,
            weights: Weights::new(),
            outstanding: vec![0; nodes],
            local_arrival_ns: vec![0; functions],
            random,
            service_random,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        !matches!(self.mind, Mind::None)
    }

    /// Begins anew, with nothing of what was before.
    pub(super) fn start(&mut self, mind: Mind, spec: &NodeSpec, now_ns: u64) {
        self.mind = mind;
        self.kernel = Kernel::default();
        self.servers = spec
            .functions
            .iter()
            .cloned()
            .map(|station| station.map(Servers::new))
            .collect();
        self.counted.fill_with(Counted::default);
        self.outstanding.fill(0);
        self.local_arrival_ns.fill(0);
        self.weights.clear();
        self.incarnation += 1;
        self.read_at_ns = now_ns;
    }

    /// What the data plane counted since it was last read.
    pub(super) fn read(&mut self, functions: &[FunctionName], ids: &[NodeId], now_ns: u64) -> Counters {
        let elapsed = Duration::from_nanos(now_ns - self.read_at_ns);
        self.read_at_ns = now_ns;
        let counted = functions.iter().zip(&mut self.counted);
        let functions = counted.filter_map(|(name, counted)| {
            let Counted {
                user,
                local,
                refused,
                forwarded,
                admitted,
                mut times_us,
            } = std::mem::take(counted);
            let named = |counts: BTreeMap<usize, u64>| {
                counts
                    .into_iter()
                    .map(|(peer, count)| (ids[peer].clone(), count))
                    .collect()
            };
            times_us.sort_unstable();
            let is_quiet = user + local + refused == 0 && admitted.is_empty() && times_us.is_empty();
            let counters = FunctionCounters {
                user,
                local,
                refused,
                forwarded: named(forwarded),
                admitted: named(admitted),
                service_time_p95: percentile(&times_us, 0.95).map(|us| Duration::from_micros(us.into())),
            };
            (!is_quiet).then(|| (name.clone(), counters))
        });
        Counters {
            elapsed,
            functions: functions.collect(),
        }
    }

    /// What the node used since it was last asked: its servers are its processors.
    pub(super) fn usage(&mut self, elapsed: Duration) -> NodeUsage {
        let work_ns: u64 = self.servers.iter_mut().flatten().map(Servers::take_work_ns).sum();
        let elapsed_ns = elapsed.as_nanos().max(1) as f64;
        NodeUsage {
            cpu_percent: Some(100.0 * work_ns as f64 / elapsed_ns),
            ..NodeUsage::default()
        }
    }

    /// What a rival tells of the period that is over.
    pub(super) fn news(&mut self, now_ns: u64) -> News {
        let elapsed_s = (now_ns - self.read_at_ns) as f64 / 1e9;
        self.read_at_ns = now_ns;
        let in_all: u32 = self
            .servers
            .iter()
            .flatten()
            .map(|servers| servers.spec().servers)
            .sum();
        let share = |work_ns: u64| work_ns as f64 / 1e9 / elapsed_s.max(1e-9) / f64::from(in_all.max(1));
        let mut told: Vec<Option<FunctionNews>> = Vec::new();
        for (servers, counted) in self.servers.iter_mut().zip(&mut self.counted) {
            let mut counted = std::mem::take(counted);
            counted.times_us.sort_unstable();
            told.push(servers.as_mut().map(|servers| FunctionNews {
                capacity_rps: servers.spec().capacity_rps,
                demand_rps: counted.user as f64 / elapsed_s.max(1e-9),
                inside: servers.inside(),
                servers: servers.spec().servers,
                p95_s: percentile(&counted.times_us, 0.95).map_or(0.0, |us| f64::from(us) / 1e6),
                cpu_share: share(servers.take_work_ns()),
                cpu_share_node: 0.0,
            }));
        }
        let busy: f64 = told.iter().flatten().map(|news| news.cpu_share).sum();
        for news in told.iter_mut().flatten() {
            news.cpu_share_node = busy;
        }
        News(told)
    }

    /// Takes a token of the capacity, where a rival meters it.
    pub(super) fn take_capacity(&mut self, function: usize, now_ns: u64) -> bool {
        // Full at the beginning.
        const CLOCK_START_NS: u64 = 1 << 50;
        let Some(servers) = &self.servers[function] else {
            return false;
        };
        let limit = steering::local(servers.spec().capacity_rps, 0);
        let arrival_ns = &mut self.local_arrival_ns[function];
        let next_ns = meter::admit(*arrival_ns, now_ns + CLOCK_START_NS, &limit);
        *arrival_ns = next_ns.unwrap_or(*arrival_ns);
        next_ns.is_some()
    }

    /// When the agent's mind wants to be asked, on the simulation's clock.
    pub(super) fn poll_timeout_ns(&self, start: Instant) -> Option<u64> {
        match &self.mind {
            Mind::Agent(control) => control
                .poll_timeout()
                .map(|at| at.saturating_duration_since(start).as_nanos() as u64),
            Mind::None | Mind::Rival(_) => None,
        }
    }
}
