//! The maps, who writes them and who reads them, and the getters that hide what is unsafe about them.

use core::ops::{Deref, DerefMut};

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_F_NO_PREALLOC, BPF_NOEXIST, bpf_spin_lock},
    btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, PerCpuHashMap, SockMap, lpm_trie::Key},
    helpers::{bpf_spin_lock as lock, bpf_spin_unlock as unlock},
    macros::btf_map,
    programs::SkLookupContext,
};
use dfaas_common::{
    decide::ANSWERS,
    guard::{self, Guard},
    http::{ChunkLine, Marks, NODE_ID_BYTES, Response},
    maps::{
        self, Client, Config, Counters, Events, FlowKey, Function, FunctionKey, Held, Latency, Name, Number,
        Opening, Pair, Peer, PeerKey, Reply, Stamp, Target, Upstream,
    },
    meter::{self, Limit},
    packet::{
        Address, Headers, Ipv4Frame, Ipv4Start, Ipv4TooBig, Ipv6Frame, Ipv6Start, Ipv6TooBig, Quoted,
        Segment, TcpStart,
    },
    tcp_options::OptionMarks,
};

use crate::ctx::SUMMED_BYTES;

/// A value that several processors change, with the kernel's own lock type, which the verifier finds by its name.
#[repr(C)]
pub(crate) struct Locked<T> {
    value: T,
    lock: bpf_spin_lock,
    reserved: u32,
}

const _: () = {
    assert!(size_of::<Locked<u64>>() == size_of::<maps::Locked<u64>>());
    assert!(size_of::<Locked<Client>>() == size_of::<maps::Locked<Client>>());
    assert!(size_of::<Locked<Upstream>>() == size_of::<maps::Locked<Upstream>>());
};

impl<T> Locked<T> {
    /// Changes the value while no other processor does. Nothing may be called meanwhile ("function calls are not
    /// allowed while holding a lock").
    #[inline(always)]
    pub(crate) fn update<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the value lies in a map with locks, and nobody holds two of them.
        unsafe { lock(&raw mut self.lock) };
        let result = change(&mut self.value);
        // SAFETY: it was locked above.
        unsafe { unlock(&raw mut self.lock) };
        result
    }
}

impl<T> Deref for Locked<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Locked<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// A packet's headers as they lie in it, and what they say.
#[repr(C)]
pub(crate) struct Seen {
    pub(crate) ipv4: Ipv4Frame,
    pub(crate) ipv6: Ipv6Frame,
    pub(crate) headers: Headers,
    pub(crate) ipv4_too_big: Ipv4TooBig,
    pub(crate) ipv6_too_big: Ipv6TooBig,
    /// What is read of packets that the programs do not handle.
    pub(crate) ipv4_start: Ipv4Start,
    pub(crate) ipv6_start: Ipv6Start,
    pub(crate) tcp_start: TcpStart,
    /// The segment that a router's message quotes.
    pub(crate) quoted: Quoted,
    /// Its connection.
    pub(crate) key: FlowKey,
}

/// What does not fit on the stack.
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) held: Held,
    /// What is to be held until its turn.
    pub(crate) ahead: Held,
    /// For sums, and for bytes on their way from one place of a packet to another.
    pub(crate) copy: [u8; SUMMED_BYTES],
    pub(crate) marks: Marks,
    pub(crate) options: [u8; 64],
    pub(crate) option_marks: OptionMarks,
    pub(crate) function: FunctionKey,
    pub(crate) peer: PeerKey,
    pub(crate) token: [u8; NODE_ID_BYTES],
    /// What is to be made of the packet.
    pub(crate) segment: Segment,
    pub(crate) made_ipv4: Ipv4Frame,
    pub(crate) made_ipv6: Ipv6Frame,
    pub(crate) opening: Opening,
    pub(crate) client: maps::Locked<Client>,
    pub(crate) upstream: maps::Locked<Upstream>,
    pub(crate) line: ChunkLine,
    pub(crate) response: Response,
    /// How far a response is followed in the packet.
    pub(crate) offset: u32,
    /// Where following it began, in its server's numbers.
    pub(crate) from: u32,
    /// The key of the client whose servers are let go.
    pub(crate) owner: FlowKey,
    /// The key of a server that is looked for.
    pub(crate) server: FlowKey,
    /// Always zero: a new histogram is made from it.
    pub(crate) latency: Latency,
}

/// Agent -> kernel.
#[btf_map]
static CONFIG: Array<Config, 1> = Array::new();
/// Agent -> kernel, by target index. An element is replaced as a whole, so no request gets halves of two tokens.
#[btf_map]
static STAMPS: HashMap<u32, Stamp, { maps::TARGETS }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();
/// Agent -> kernel, by name with and without namespace. An element is replaced as a whole, so a reader sees the
/// old row or the new one; without preallocation an element lives until its last reader is done.
#[btf_map]
static FUNCTIONS: HashMap<FunctionKey, Function, { 2 * maps::FUNCTIONS }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
/// Agent -> kernel.
#[btf_map]
static TARGETS: Array<Target, { maps::TARGETS }> = Array::new();
/// Agent -> kernel, by identity.
#[btf_map]
static PEERS: HashMap<PeerKey, Peer, { maps::TARGETS }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();
/// Agent -> kernel: what a peer may send us.
#[btf_map]
static ADMISSIONS: HashMap<Pair, Limit, { maps::BUCKETS }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();
/// Agent -> kernel: what we may send to a peer.
#[btf_map]
static CAPS: HashMap<Pair, Limit, { maps::BUCKETS }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();
/// Agent -> kernel, by `dfaas_common::decide::Answer::number`.
#[btf_map]
static REPLIES: Array<Reply, { 2 * ANSWERS }> = Array::new();
/// Agent -> kernel: for IPv4 the platform's listener at 0 and the proxy's at 1, for IPv6 at 2 and 3.
#[btf_map]
static LISTENERS: SockMap<4> = SockMap::new();
/// Kernel only.
#[btf_map]
static BUCKETS: Array<Locked<u64>, { maps::BUCKETS }> = Array::new();
/// Kernel only: how many targets were drawn for a function.
#[btf_map]
static DRAWS: PerCpuArray<u32, { maps::FUNCTIONS }> = PerCpuArray::new();
/// Kernel only, by target index: one more than [`Config::tick`] when a SYN with data was lost last, and one without was not.
#[btf_map]
static SYN_DATA_LOST: Array<u32, { maps::TARGETS }> = Array::new();
/// Kernel only.
#[btf_map]
static OPENING: LruHashMap<FlowKey, Opening, { maps::OPENINGS }> = LruHashMap::new();
/// Kernel only.
#[btf_map]
static HELD: LruHashMap<FlowKey, Held, { maps::HELDS }> = LruHashMap::new();
/// Kernel only: what clients sent before its turn.
#[btf_map]
static AHEAD: LruHashMap<FlowKey, Held, { maps::HELDS }> = LruHashMap::new();
/// Kernel writes, agent sweeps.
#[btf_map]
static CLIENTS: HashMap<FlowKey, Locked<Client>, { maps::CLIENTS }> = HashMap::new();
/// Kernel writes, agent sweeps.
#[btf_map]
static UPSTREAMS: HashMap<FlowKey, Locked<Upstream>, { maps::UPSTREAMS }> = HashMap::new();
/// Kernel -> agent.
#[btf_map]
static STATS: PerCpuHashMap<Pair, Counters, { maps::PAIRS }, { BPF_F_NO_PREALLOC as usize }> =
    PerCpuHashMap::new();
/// Kernel -> agent.
#[btf_map]
static LATENCY: PerCpuHashMap<Pair, Latency, { maps::PAIRS }, { BPF_F_NO_PREALLOC as usize }> =
    PerCpuHashMap::new();
/// Kernel -> agent.
#[btf_map]
static EVENTS: PerCpuArray<Events, 1> = PerCpuArray::new();
/// Agent -> the agent that comes next: whom numbers of functions and peers belong to.
#[btf_map]
static NAMES: HashMap<Number, Name, { maps::FUNCTIONS + maps::TARGETS }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
/// Agent -> kernel.
#[btf_map]
static GUARD: Array<Guard, 1> = Array::new();
/// Agent -> kernel: prefixes of sources that are blocked.
#[btf_map]
static BLOCKED: LpmTrie<Address, u32, { guard::BLOCKED }> = LpmTrie::new();
/// Kernel only, by network: the theoretical arrival time of its next SYN, in nanoseconds of the monotonic clock. Tables
/// whose oldest entries go first may have no lock: two processors at once may take one SYN too many.
#[btf_map]
static SYNS: LruHashMap<Address, u64, { guard::NETWORKS }> = LruHashMap::new();
/// Kernel only.
#[btf_map]
static SEEN: PerCpuArray<Seen, 1> = PerCpuArray::new();
/// Kernel only.
#[btf_map]
static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

#[inline(always)]
pub(crate) fn config() -> Option<&'static Config> {
    CONFIG.get(0)
}

#[inline(always)]
pub(crate) fn stamp(target: u32) -> Option<&'static Stamp> {
    // SAFETY: as in `function`.
    STAMPS.get_ptr(&target).map(|stamp| unsafe { &*stamp })
}

#[inline(always)]
pub(crate) fn reply_by_number(number: u8) -> Option<&'static Reply> {
    REPLIES.get(u32::from(number))
}

/// The place for the headers of the packet at hand.
#[inline(always)]
pub(crate) fn seen() -> Option<&'static mut Seen> {
    // SAFETY: as in `scratch`.
    SEEN.get_ptr_mut(0).map(|seen| unsafe { &mut *seen })
}

/// The scratch space of this CPU. Programs do not nest at one hook, and nothing in it outlives a packet.
#[inline(always)]
pub(crate) fn scratch() -> Option<&'static mut Scratch> {
    // SAFETY: per CPU, and every entry function takes it once.
    SCRATCH.get_ptr_mut(0).map(|scratch| unsafe { &mut *scratch })
}

#[inline(always)]
pub(crate) fn function(key: &FunctionKey) -> Option<&'static Function> {
    // SAFETY: the element lives until this run ends (RCU); the agent replaces elements and never writes into one.
    FUNCTIONS.get_ptr(key).map(|function| unsafe { &*function })
}

#[inline(always)]
pub(crate) fn target(index: u32) -> Option<&'static Target> {
    TARGETS.get(index)
}

/// Whether a peer may get data in a SYN again: not for a while after it was lost (RFC 7413, section 4.1.3.1).
#[inline(always)]
pub(crate) fn takes_data_in_syn(target: u32) -> bool {
    let (Some(lost), Some(config)) = (SYN_DATA_LOST.get(target), config()) else {
        return true;
    };
    *lost == 0 || config.tick.wrapping_add(1).wrapping_sub(*lost) > maps::SYN_DATA_LOST_TICKS
}

/// Notes that a peer did not get a SYN with data, and got one without.
#[inline(always)]
pub(crate) fn note_syn_data_lost(target: u32) {
    let (Some(lost), Some(config)) = (SYN_DATA_LOST.get_ptr_mut(target), config()) else {
        return;
    };
    // SAFETY: as in `opening`.
    unsafe { *lost = config.tick.wrapping_add(1) };
}

#[inline(always)]
pub(crate) fn peer(key: &PeerKey) -> Option<&'static Peer> {
    // SAFETY: as in `function`.
    PEERS.get_ptr(key).map(|peer| unsafe { &*peer })
}

#[inline(always)]
pub(crate) fn admission(pair: &Pair) -> Option<&'static Limit> {
    // SAFETY: as in `function`.
    ADMISSIONS.get_ptr(pair).map(|limit| unsafe { &*limit })
}

#[inline(always)]
pub(crate) fn cap(pair: &Pair) -> Option<&'static Limit> {
    // SAFETY: as in `function`.
    CAPS.get_ptr(pair).map(|limit| unsafe { &*limit })
}

/// Takes a token, if the limit has one at this time.
#[inline(always)]
pub(crate) fn take(limit: &Limit, now_ns: u64) -> bool {
    let limit = *limit;
    let Some(bucket) = BUCKETS.get_ptr_mut(limit.bucket) else {
        return false;
    };
    // SAFETY: as in `opening`.
    let bucket = unsafe { &mut *bucket };
    bucket.update(|arrival_ns| {
        let next_ns = meter::admit(*arrival_ns, now_ns, &limit);
        *arrival_ns = if let Some(next_ns) = next_ns {
            next_ns
        } else {
            *arrival_ns
        };
        next_ns.is_some()
    })
}

/// The number of this draw for a function, on this CPU.
#[inline(always)]
pub(crate) fn next_draw(function: u32) -> u32 {
    let Some(draws) = DRAWS.get_ptr_mut(function) else {
        return 0;
    };
    // SAFETY: per CPU.
    unsafe {
        *draws = (*draws).wrapping_add(1);
        *draws
    }
}

#[inline(always)]
pub(crate) fn opening(key: &FlowKey) -> Option<&'static mut Opening> {
    // SAFETY: integers only, so a torn read under a race is a wrong number, not a wrong type.
    OPENING.get_ptr_mut(key).map(|opening| unsafe { &mut *opening })
}

#[inline(always)]
pub(crate) fn insert_opening(key: &FlowKey, opening: &Opening) -> bool {
    OPENING.insert(key, opening, BPF_ANY.into()).is_ok()
}

#[inline(always)]
pub(crate) fn remove_opening(key: &FlowKey) {
    let _missing = OPENING.remove(key);
}

#[inline(always)]
pub(crate) fn held(key: &FlowKey) -> Option<&'static mut Held> {
    // SAFETY: as in `opening`.
    HELD.get_ptr_mut(key).map(|held| unsafe { &mut *held })
}

#[inline(always)]
pub(crate) fn insert_held(key: &FlowKey, held: &Held) -> bool {
    HELD.insert(key, held, BPF_ANY.into()).is_ok()
}

#[inline(always)]
pub(crate) fn remove_held(key: &FlowKey) {
    let _missing = HELD.remove(key);
}

#[inline(always)]
pub(crate) fn ahead(key: &FlowKey) -> Option<&'static mut Held> {
    // SAFETY: as in `opening`.
    AHEAD.get_ptr_mut(key).map(|held| unsafe { &mut *held })
}

#[inline(always)]
pub(crate) fn insert_ahead(key: &FlowKey, held: &Held) -> bool {
    AHEAD.insert(key, held, BPF_ANY.into()).is_ok()
}

#[inline(always)]
pub(crate) fn remove_ahead(key: &FlowKey) {
    let _missing = AHEAD.remove(key);
}

#[inline(always)]
pub(crate) fn client(key: &FlowKey) -> Option<&'static mut Locked<Client>> {
    // SAFETY: as in `opening`.
    CLIENTS.get_ptr_mut(key).map(|client| unsafe { &mut *client })
}

/// Inserts a client under a key that must be free.
#[inline(always)]
pub(crate) fn claim_client(key: &FlowKey, client: &maps::Locked<Client>) -> bool {
    // SAFETY: of one layout; the kernel leaves the lock out when it copies.
    let client = unsafe { &*(&raw const *client).cast::<Locked<Client>>() };
    CLIENTS.insert(key, client, BPF_NOEXIST.into()).is_ok()
}

#[inline(always)]
pub(crate) fn remove_client(key: &FlowKey) {
    let _missing = CLIENTS.remove(key);
}

#[inline(always)]
pub(crate) fn upstream(key: &FlowKey) -> Option<&'static mut Locked<Upstream>> {
    // SAFETY: as in `opening`.
    UPSTREAMS
        .get_ptr_mut(key)
        .map(|upstream| unsafe { &mut *upstream })
}

/// Inserts an upstream under a key that must be free.
#[inline(always)]
pub(crate) fn claim_upstream(key: &FlowKey, upstream: &maps::Locked<Upstream>) -> bool {
    // SAFETY: as in `claim_client`.
    let upstream = unsafe { &*(&raw const *upstream).cast::<Locked<Upstream>>() };
    UPSTREAMS.insert(key, upstream, BPF_NOEXIST.into()).is_ok()
}

#[inline(always)]
pub(crate) fn remove_upstream(key: &FlowKey) {
    let _missing = UPSTREAMS.remove(key);
}

/// The counters of a pair; made at first use.
#[inline(always)]
pub(crate) fn counters(pair: &Pair) -> Option<&'static mut Counters> {
    if STATS.get_ptr_mut(pair).is_none() {
        let _full_or_raced = STATS.insert(pair, Counters::default(), BPF_NOEXIST.into());
    }
    // SAFETY: per CPU.
    STATS.get_ptr_mut(pair).map(|counters| unsafe { &mut *counters })
}

/// The histogram of a pair; made at first use from the zeros in the scratch space.
#[inline(always)]
pub(crate) fn latency(pair: &Pair) -> Option<&'static mut Latency> {
    if LATENCY.get_ptr_mut(pair).is_none() {
        let zeros = scratch()?;
        let _full_or_raced = LATENCY.insert(pair, &zeros.latency, BPF_NOEXIST.into());
    }
    // SAFETY: per CPU.
    LATENCY.get_ptr_mut(pair).map(|latency| unsafe { &mut *latency })
}

#[inline(always)]
pub(crate) fn events() -> Option<&'static mut Events> {
    // SAFETY: per CPU.
    EVENTS.get_ptr_mut(0).map(|events| unsafe { &mut *events })
}

#[inline(always)]
pub(crate) fn guard() -> Option<&'static Guard> {
    GUARD.get(0)
}

/// Whether an address is of a prefix that is blocked.
#[inline(always)]
pub(crate) fn is_blocked(source: &Address) -> bool {
    BLOCKED.get(&Key::new(guard::ADDRESS_BITS, *source)).is_some()
}

/// Takes a SYN of a network, if it may send one at this time. One for which there is no room may.
#[inline(always)]
pub(crate) fn take_syn(network: &Address, limit: &Limit, now_ns: u64) -> bool {
    let Some(arrival) = SYNS.get_ptr_mut(network) else {
        let first_ns = meter::admit(now_ns, now_ns, limit);
        return first_ns.is_some_and(|next_ns| {
            let _full = SYNS.insert(network, next_ns, BPF_ANY.into());
            true
        });
    };
    // SAFETY: as in `opening`.
    let arrival = unsafe { &mut *arrival };
    let Some(next_ns) = meter::admit(*arrival, now_ns, limit) else {
        return false;
    };
    *arrival = next_ns;
    true
}

/// Gives a connection to the platform's listener, if one is lent.
#[inline(always)]
pub(crate) fn assign_platform(ctx: &SkLookupContext, key: &FlowKey) -> bool {
    let place = if key.is_ipv6() { 2 } else { 0 };
    LISTENERS.redirect_sk_lookup(ctx, place, 0).is_ok()
}

/// Gives a connection to the proxy's listener, if one is lent.
#[inline(always)]
pub(crate) fn assign_proxy(ctx: &SkLookupContext, key: &FlowKey) -> bool {
    let place = if key.is_ipv6() { 3 } else { 1 };
    LISTENERS.redirect_sk_lookup(ctx, place, 0).is_ok()
}
