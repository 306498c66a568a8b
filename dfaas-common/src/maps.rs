//! Keys and values of the eBPF maps: plain structs without padding, as kernel, agent and `bpftool` see them.
//!
//! Addresses and ports are in network order, addresses of both versions of IP in sixteen bytes.

mod client;
mod config;
mod events;
mod opening;
mod upstream;

pub use client::{Client, KNOWN, Known, Phase};
pub use config::{
    Config, DATA_IN_SYN_FROM_ALL, DATA_IN_SYN_FROM_PEERS, DATA_IN_SYN_LOCAL, LOCAL, LOCAL_IPV6, PROXY,
    PROXY_COMES, PROXY_IPV6,
};

pub use events::Events;
pub use opening::{Farewell, Greeting, HEAD_PART, Opening, SYN_FLAGS, SYN_IS_PARTIAL, SYN_PERMITS_SACK};
pub use upstream::Upstream;

use crate::{
    histogram::BINS,
    http::{HELD_BYTES, NAME_BYTES, NODE_ID_BYTES},
    meter::Limit,
    packet::{Address, Be16, Segment},
    pairing::{TOKENS_ACCEPTED, TokenText},
    pick::SLOTS,
};

/// How many functions a node can know.
pub const FUNCTIONS: usize = 16_384;
/// How many peers a node can have, itself (index 0) included: a thousand, and as many that have just left.
pub const TARGETS: usize = 2_048;
/// How many clients' connections can be live.
pub const CLIENTS: usize = 131_072;
/// How many connections to servers can be live on their behalf.
pub const UPSTREAMS: usize = 196_608;
/// How many connections can be half open; the oldest go first.
pub const OPENINGS: usize = 65_536;
/// How many first segments are kept; the oldest go first.
pub const HELDS: usize = 4_096;
/// How many buckets there are for limits of all kinds.
pub const BUCKETS: usize = 65_536;
/// How many pairs of a function and a peer are counted. Each takes memory only once there was a request.
pub const PAIRS: usize = 65_536;
/// The room for a stamp, in bytes: `DFaaS-Node-ID` with an identity, and `DFaaS-Node-Token` with a token.
pub const STAMP_BYTES: usize = 128;
/// The room for an answer of the data plane itself, in bytes.
pub const REPLY_BYTES: usize = 248;
/// The function id in counters of requests that name no known function.
pub const NO_FUNCTION: u32 = u32::MAX;

/// How many targets are tried when those drawn are full.
pub const FALLBACKS: usize = 4;

/// Bit of [`Target::flags`]: the request may travel in the SYN to this peer.
pub const TARGET_DATA_IN_SYN: u32 = 1;

/// How long a peer gets no data in SYNs after it was lost in one, in [`Config::tick`]s, which are seconds: ten minutes.
pub const SYN_DATA_LOST_TICKS: u32 = 600;

/// What is written into each request forwarded to a peer. Agent -> kernel; replaced as a whole, and always of the same
/// length, because a client may send a request again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Stamp {
    /// Number of bytes in use.
    pub length: u32,
    /// Keeps the layout free of padding.
    pub reserved: u32,
    /// Whole header fields, each with its line end.
    pub bytes: [u8; STAMP_BYTES],
}

/// A function's name, filled up with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FunctionKey {
    /// The name, with or without namespace.
    pub name: [u8; NAME_BYTES],
}

/// What is decided about a function. Agent -> kernel; replaced as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Function {
    /// Index in the counters and limits.
    pub id: u32,
    /// 1 if the local platform runs it.
    pub hosted: u32,
    /// The local platform's capacity.
    pub local: Limit,
    /// Target indices in proportion to their weights, [`crate::pick::HERE`] for this node's own share;
    /// [`crate::pick::SELF`] everywhere if there is none.
    pub slots: [u16; SLOTS],
    /// Targets to try, in this order, when those drawn are full; filled up with [`crate::pick::SELF`].
    pub fallbacks: [u16; FALLBACKS],
}

/// A peer as a place to send to. Agent -> kernel; the index is the peer's in counters, limits and slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Target {
    /// Its addresses, that of IPv6 being none if it has none; none at all for an index without a peer.
    pub addresses: [Address; 2],
    /// Its service port.
    pub port: [u8; 2],
    /// Keeps the layout free of padding.
    pub reserved: u16,
    /// `TARGET_*`.
    pub flags: u32,
}

/// A peer's identity as it stands in `DFaaS-Node-ID`, filled up with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PeerKey {
    /// The text of the libp2p peer id.
    pub id: [u8; NODE_ID_BYTES],
}

/// A peer as a sender. Agent -> kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Peer {
    /// Its index.
    pub index: u32,
    /// Its addresses, that of IPv6 being none if it has none.
    pub addresses: [Address; 2],
    /// `PEER_*`.
    pub flags: u32,
    /// The tokens that it may send; zeros for an empty place.
    pub tokens: [TokenText; TOKENS_ACCEPTED],
}

/// A function and a peer: the key of limits and counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct Pair {
    /// Function id.
    pub function: u32,
    /// Peer index; 0 is this node.
    pub peer: u32,
}

/// A number that a function or a peer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Number {
    /// 0 for a function, 1 for a peer.
    pub kind: u32,
    /// The number.
    pub index: u32,
}

/// Who has it, filled up with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Name {
    /// The name of a function, or the identity of a peer.
    pub text: [u8; NAME_BYTES],
}

/// A value that several processors change, with the lock for it. Kernel only.
///
/// The kernel's own type of the lock is `struct bpf_spin_lock` (Linux 5.1); programs have it in a mirror of this type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Locked<T> {
    /// What is locked. For a token bucket, the theoretical arrival time of its next request, in nanoseconds of the
    /// monotonic clock.
    pub value: T,
    /// `struct bpf_spin_lock`.
    pub lock: u32,
    /// Keeps the layout free of padding.
    pub reserved: u32,
}

impl<T> core::ops::Deref for Locked<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> core::ops::DerefMut for Locked<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// A connection from the side of who is remote: client or peer. Our own address is the one that we have in the version
/// of IP that theirs is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C, align(4))]
pub struct FlowKey {
    /// Its address.
    pub remote: Address,
    /// Its port.
    pub remote_port: [u8; 2],
    /// Our port.
    pub local_port: [u8; 2],
}

impl FlowKey {
    /// Whether IPv6 carries it.
    #[inline(always)]
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        self.remote.is_ipv6()
    }

    /// Sends a segment that came to this node on over this connection.
    #[inline(always)]
    pub const fn readdress(&self, segment: &mut Segment) {
        segment.source = segment.destination;
        segment.destination = self.remote;
        segment.source_port = Be16::from_raw(u16::from_ne_bytes(self.local_port));
        segment.destination_port = Be16::from_raw(u16::from_ne_bytes(self.remote_port));
    }
}

/// The first bytes of a connection. Kernel only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Held {
    /// Number of bytes.
    pub length: u32,
    /// The sequence number of the first one, where they are held until their turn.
    pub at: u32,
    /// The bytes as the server is to get them, stamp included.
    pub bytes: [u8; HELD_BYTES],
}

/// Bit of [`Client::flags`] and [`Upstream::flags`]: packets of the other side have the local stack's addresses.
pub const IS_LOCAL: u8 = 1;
/// Bit of [`Client::flags`] and [`Upstream::flags`]: the handshake was the local stack's own, so numbers are equal.
pub const IS_NATURAL: u8 = 2;
/// Bit of [`Client::flags`] and [`Upstream::flags`]: the local proxy has the connection, for the rest of it.
pub const IS_PROXIED: u8 = 4;
/// Bit of [`Client::flags`]: its connection ends as soon as it has all that it was sent.
pub const IS_OVER: u8 = 8;
/// Bit of [`Upstream::flags`]: both sides' numbers are known.
pub const IS_SPLICED: u8 = 8;
/// Bit of [`Upstream::flags`]: its client's current request is here.
pub const IS_CURRENT: u8 = 16;
/// Bit of [`Upstream::flags`]: the server has begun to take the current request, which is counted.
pub const IS_TAKEN: u8 = 32;
/// Bit of [`Upstream::flags`]: the client expects the connection to end behind the response.
pub const IS_LAST: u8 = 64;
/// Bit of [`Upstream::flags`]: a side has begun to close.
pub const IS_CLOSING: u8 = 128;

/// An answer of the data plane itself. Agent -> kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Reply {
    /// Number of bytes.
    pub length: u32,
    /// The sum of the bytes as the Internet checksum takes it.
    pub sum: u32,
    /// The whole response.
    pub bytes: [u8; REPLY_BYTES],
}

/// What became of the requests for a function, by peer. Kernel -> agent, per CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// Requests of users that a server here has taken.
    pub local: u64,
    /// Requests of users that this peer has taken.
    pub forwarded: u64,
    /// Requests of this peer that a server here has taken.
    pub admitted: u64,
    /// Requests refused because the function is not known or not here (404).
    pub not_found: u64,
    /// Requests of this peer over its limit (429).
    pub over_limit: u64,
    /// Requests of users that nobody had room for (503).
    pub unavailable: u64,
}

/// Who served, and whom: the key of the latency histograms.
pub type LatencyKey = Pair;

/// Times to the first byte of the answer. Kernel -> agent, per CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Latency {
    /// Sum in nanoseconds.
    pub sum_ns: u64,
    /// Counts by [`crate::histogram::bin`].
    pub bins: [u64; BINS],
}

const _: () = {
    assert!(size_of::<Config>() == 72);
    assert!(size_of::<Stamp>() == 8 + STAMP_BYTES);
    assert!(size_of::<Function>() == 8 + 24 + 2 * SLOTS + 2 * FALLBACKS);
    assert!(size_of::<Target>() == 40);
    assert!(size_of::<Peer>() == 104);
    assert!(size_of::<Locked<u64>>() == 16);
    assert!(size_of::<FlowKey>() == 20);
    assert!(size_of::<Opening>() == 32);
    assert!(size_of::<Held>() == 8 + HELD_BYTES);
    assert!(size_of::<Client>() == 192 && size_of::<Locked<Client>>() == 200);
    assert!(size_of::<Upstream>() == 112 && size_of::<Locked<Upstream>>() == 120);
    assert!(size_of::<Reply>() == 8 + REPLY_BYTES);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maps_fit_a_small_edge_host() {
        const MIB: usize = 1 << 20;
        // The kernel adds about 64 bytes to an element of a hash table.
        let element = |value: usize, key: usize| value + key + 64;
        let clients = CLIENTS * element(size_of::<Locked<Client>>(), size_of::<FlowKey>());
        let upstreams = UPSTREAMS * element(size_of::<Locked<Upstream>>(), size_of::<FlowKey>());
        let openings = OPENINGS * element(size_of::<Opening>(), size_of::<FlowKey>());
        let held = 2 * HELDS * element(size_of::<Held>(), size_of::<FlowKey>());
        let buckets = BUCKETS * size_of::<Locked<u64>>();
        let total = clients + upstreams + openings + held + buckets;
        assert!(total < 96 * MIB, "{total} bytes");
    }
}
