//! The data plane of a node: rows and buckets as the agent writes them for the kernel, decisions by the same code.

use std::collections::BTreeMap;

use dfaas_common::decide::{self, Decision, Failed, Meter, Origin};
use dfaas_common::maps::Function;
use dfaas_common::meter::{self, Limit};
use dfaas_common::pick;
use dfaas_common::steering::{self, Choice, Way};
use dfaas_control::{FunctionName, FunctionPolicy, NodeId, Policy, Token, Trust};

/// Buckets are full at the beginning, as the kernel's are: its clock is far beyond their first time.
const CLOCK_START_NS: u64 = 1 << 50;

/// What a bucket meters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Bucket {
    Local(u32),
    Cap(u32, u32),
    Admission(u32, u32),
}

/// The tables. A peer's index is its number plus one, as 0 is the node itself.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    rows: Vec<Option<Box<Function>>>,
    caps: BTreeMap<(u32, u32), Limit>,
    admissions: BTreeMap<(u32, u32), Limit>,
    trust: BTreeMap<u32, Trust>,
    buckets: BTreeMap<Bucket, u64>,
    draws: Vec<u32>,
}

/// The tables at a time.
struct Now<'a> {
    kernel: &'a mut Kernel,
    now_ns: u64,
}

impl Kernel {
    /// Follows a policy.
    pub(super) fn apply(
        &mut self,
        policy: &Policy,
        functions: &[FunctionName],
        numbers: &BTreeMap<NodeId, u32>,
    ) {
        let index = |id: &NodeId| numbers.get(id).map(|number| number + 1);
        self.draws.resize(functions.len(), 0);
        self.rows = (0..)
            .zip(functions)
            .map(|(id, name)| {
                let function = policy.functions.get(name)?;
                Some(Box::new(row(id, function, &index)))
            })
            .collect();
        self.caps.clear();
        self.admissions.clear();
        for (id, name) in (0..).zip(functions) {
            let Some(function) = policy.functions.get(name) else {
                continue;
            };
            let caps = function.routes.iter();
            let caps =
                caps.filter_map(|(peer, route)| Some(((id, index(peer)?), steering::cap(route.cap_rps, 0))));
            self.caps.extend(caps);
            let admissions = function.admit.iter();
            let admissions =
                admissions.filter_map(|(peer, &rps)| Some(((id, index(peer)?), steering::admission(rps, 0))));
            self.admissions.extend(admissions);
        }
        let peers = policy.peers.iter();
        self.trust = peers
            .filter_map(|(id, peer)| Some((index(id)?, peer.trust)))
            .collect();
    }

    /// What becomes of a user's request.
    pub(super) fn decide_user(&mut self, function: u32, failed: Failed, now_ns: u64) -> Decision {
        self.decide(function, Origin::User, failed, now_ns)
    }

    /// What becomes of a peer's request that comes with this token.
    pub(super) fn decide_peer(
        &mut self,
        function: u32,
        peer: u32,
        token: Option<Token>,
        now_ns: u64,
    ) -> Decision {
        let origin = match self.trust.get(&peer) {
            None => Origin::Stranger,
            Some(trust) if trust.tokenless || (token.is_some() && trust.accepts.contains(&token)) => {
                Origin::Peer(peer)
            }
            Some(_) => Origin::Forged,
        };
        self.decide(function, origin, Failed::NONE, now_ns)
    }

    /// What goes with requests to a peer.
    pub(super) fn token_for(&self, peer: u32) -> Option<Token> {
        self.trust.get(&peer)?.sends
    }

    fn decide(&mut self, function: u32, origin: Origin, failed: Failed, now_ns: u64) -> Decision {
        // The row is taken out, as buckets are written while it is read.
        let row = self.rows.get_mut(function as usize).and_then(Option::take);
        let mut now = Now {
            kernel: self,
            now_ns: now_ns + CLOCK_START_NS,
        };
        let decision = decide::decide(row.as_deref(), origin, failed, &mut now);
        if let Some(place) = self.rows.get_mut(function as usize) {
            *place = row;
        }
        decision
    }

    fn take(&mut self, bucket: Bucket, limit: &Limit, now_ns: u64) -> bool {
        let arrival_ns = self.buckets.entry(bucket).or_insert(0);
        let next_ns = meter::admit(*arrival_ns, now_ns, limit);
        *arrival_ns = next_ns.unwrap_or(*arrival_ns);
        next_ns.is_some()
    }
}

impl Meter for Now<'_> {
    fn take_local(&mut self, function: &Function) -> bool {
        let bucket = Bucket::Local(function.id);
        self.kernel.take(bucket, &function.local, self.now_ns)
    }

    fn take_admission(&mut self, function: &Function, peer: u32) -> bool {
        let limit = self.kernel.admissions.get(&(function.id, peer)).copied();
        limit.is_some_and(|limit| {
            let bucket = Bucket::Admission(function.id, peer);
            self.kernel.take(bucket, &limit, self.now_ns)
        })
    }

    fn draw(&mut self, function: &Function) -> u32 {
        let draw = &mut self.kernel.draws[function.id as usize];
        *draw = draw.wrapping_add(1);
        function.slots[pick::slot(*draw)].into()
    }

    fn take_cap(&mut self, function: &Function, index: u32) -> bool {
        let limit = self.kernel.caps.get(&(function.id, index)).copied();
        limit.is_some_and(|limit| {
            self.kernel
                .take(Bucket::Cap(function.id, index), &limit, self.now_ns)
        })
    }
}

fn row(id: u32, function: &FunctionPolicy, index: &impl Fn(&NodeId) -> Option<u32>) -> Function {
    let ways = function.routes.iter().filter_map(|(peer, route)| {
        Some(Way {
            target: u16::try_from(index(peer)?).ok()?,
            weight: route.weight,
            cap_rps: route.cap_rps,
        })
    });
    let here = if function.hosted { function.here } else { 0.0 };
    let choice = Choice::new(here, &ways.collect::<Vec<_>>());
    Function {
        id,
        hosted: u32::from(function.hosted),
        local: steering::local(function.local_rps, 0),
        slots: choice.slots,
        fallbacks: choice.fallbacks,
    }
}
