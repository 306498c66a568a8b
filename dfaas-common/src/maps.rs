//! Keys and values of the eBPF maps: plain structs without padding, as kernel, agent and `bpftool` see them.
//!
//! Addresses and ports are in network order, addresses of both versions of IP in sixteen bytes.

mod config;
mod opening;

pub use config::{
    Config, DATA_IN_SYN_FROM_ALL, DATA_IN_SYN_FROM_PEERS, DATA_IN_SYN_LOCAL, LOCAL, LOCAL_IPV6, PROXY,
    PROXY_IPV6,
};

pub use opening::{HEAD_PART, Opening, SYN_FLAGS, SYN_IS_PARTIAL, SYN_PERMITS_SACK};

use crate::{
    closing::Closing,
    extent::Extent,
    histogram::BINS,
    http::{HELD_BYTES, NAME_BYTES, NODE_ID_BYTES, Response, Stage},
    meter::Limit,
    numbering::Numbering,
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

/// What a client's connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// The client for (more of) a request, or for the end of an answer of ours.
    Asking = 0,
    /// A server for our SYN.
    Connecting = 1,
    /// Nobody: segments pass.
    Spliced = 2,
}

/// Bit of [`Client::flags`] and [`Upstream::flags`]: packets of the other side have the local stack's addresses.
pub const IS_LOCAL: u8 = 1;
/// Bit of [`Client::flags`] and [`Upstream::flags`]: the handshake was the local stack's own, so numbers are equal.
pub const IS_NATURAL: u8 = 2;
/// Bit of [`Client::flags`] and [`Upstream::flags`]: the local proxy has the connection, for the rest of it.
pub const IS_PROXIED: u8 = 4;
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

/// How many servers a client's connection can have at once: the current one and those that are kept for later.
pub const KNOWN: usize = 4;

/// A server that a client's connection has been to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(4))]
pub struct Known {
    /// Peer index; 0 for none.
    pub target: u16,
    /// Our source port to it.
    pub port: [u8; 2],
}

/// A client's connection whose first request was decided. Kernel writes, agent sweeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Client {
    /// The current request.
    pub request: Extent,
    /// What an undecided request needs, and what a server is told of the client.
    pub asking: Opening,
    /// Towards the current server.
    pub numbering: Numbering,
    /// The current server's entry.
    pub upstream: FlowKey,
    /// Which ends are closed, in the client's numbers.
    pub closing: Closing,
    /// [`Config::tick`] when a packet was seen last.
    pub last_seen: u32,
    /// Bytes of the current request that are held until its server has answered.
    pub first_bytes: u32,
    /// [`Phase`] as a number.
    pub phase: u8,
    /// `IS_*`.
    pub flags: u8,
    /// How often the current upstream SYN was sent; behind its answer, the first segment of the request.
    pub attempts: u8,
    /// The place in `known` that is used next.
    pub next_known: u8,
    /// Peers that this connection has been to.
    pub known: [Known; KNOWN],
    /// The version of IP, as an index.
    pub family: u32,
    /// What it has acknowledged of the current response, in its own numbers.
    pub acknowledged: u32,
    /// Keeps the layout free of padding.
    pub reserved: u32,
}

impl Client {
    /// What the connection waits for.
    #[inline(always)]
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match self.phase {
            1 => Phase::Connecting,
            2 => Phase::Spliced,
            _ => Phase::Asking,
        }
    }

    /// Whether a flag is set.
    #[inline(always)]
    #[must_use]
    pub const fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether it is decided what becomes of the request that begins at this number.
    #[inline(always)]
    #[must_use]
    pub const fn has_decided(&self, start: u32) -> bool {
        self.phase != Phase::Asking as u8 && self.numbering.client == start
    }

    /// Becomes what was made of it for a request that begins at this number, unless another processor was faster.
    #[inline(always)]
    pub fn decide(&mut self, start: u32, decided: &Self) -> bool {
        if self.has_decided(start) {
            return false;
        }
        *self = *decided;
        true
    }

    /// Takes the request back from a server, if it is there and the connection waits for this: it is asked again.
    /// Not from the proxy, which is the last resort, and not where the client believes that a part of it has arrived.
    #[inline(always)]
    pub fn take_back(&mut self, server: &FlowKey, waits_for: Phase) -> bool {
        let is_there = self.phase == waits_for as u8 && self.upstream == *server;
        if !is_there || self.is(IS_PROXIED) || self.asking.held != 0 {
            return false;
        }
        self.asking.failures = self.asking.failures.saturating_add(1);
        self.phase = Phase::Asking as u8;
        true
    }

    /// Goes on without its server, which goes, if it has all that it has asked for: as if a handshake had just ended
    /// where its next request begins, and its next byte from us is `next`.
    #[inline(always)]
    pub fn outlive(&mut self, server: &FlowKey, next: u32) -> bool {
        let is_there = self.phase == Phase::Spliced as u8 && self.upstream == *server;
        let has_all = self.request.left == 0 && self.request.ahead == 0 && self.acknowledged == next;
        if !is_there || !has_all || self.closing.has_begun() {
            return false;
        }
        self.asking.await_request(self.request.at, next);
        self.phase = Phase::Asking as u8;
        self.upstream = FlowKey::default();
        true
    }

    /// Whether it waits for nothing but the client's next request.
    #[inline(always)]
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        match self.phase() {
            Phase::Asking => self.asking.held == 0 && self.asking.failures == 0,
            Phase::Connecting => false,
            Phase::Spliced => !self.closing.has_begun(),
        }
    }
}

/// A connection to a server on behalf of a client. Kernel writes, agent sweeps.
///
/// The local stack's is found under the client's own key, a peer's under the peer's address and our source port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Upstream {
    /// When the current request was decided, in nanoseconds of the monotonic clock.
    pub decided_ns: u64,
    /// When the first byte of its answer passed; 0 before that.
    pub first_byte_ns: u64,
    /// The current response.
    pub response: Response,
    /// Towards the client.
    pub numbering: Numbering,
    /// The client's entry.
    pub client: FlowKey,
    /// Function id of the current request.
    pub function: u32,
    /// Peer index of who serves; 0 is this node.
    pub target: u32,
    /// Peer index of who sent the request; 0 is a user.
    pub origin: u32,
    /// [`Config::tick`] when a packet was seen last.
    pub last_seen: u32,
    /// While it is not current: the sequence number of the next byte to it. While it is: the client's number of the
    /// byte behind its request, if that is within reach.
    pub next: u32,
    /// The window that the server promised last, as it stands in its packets.
    pub window: u16,
    /// The link address of the next hop to the server.
    pub next_hop: [u16; 3],
    /// `IS_*`.
    pub flags: u8,
    /// 1 if the end of the current request is within reach.
    pub has_end: u8,
    /// Keeps the layout free of padding.
    pub reserved: [u8; 6],
}

impl Upstream {
    /// Whether a flag is set.
    #[inline(always)]
    #[must_use]
    pub const fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Notes what a segment of the server acknowledges, and how many bytes it brings. Returns whether the server begins
    /// to take the current request with it.
    #[inline(always)]
    pub const fn take(&mut self, acknowledgment: u32, length: u32) -> bool {
        let taken = acknowledgment.wrapping_sub(self.numbering.upstream) as i32;
        if self.is(IS_TAKEN) || (length == 0 && taken <= 0) {
            return false;
        }
        self.flags |= IS_TAKEN;
        true
    }

    /// Whether the next request may go here: all is answered and nobody closes.
    #[inline(always)]
    #[must_use]
    pub const fn is_free(&self) -> bool {
        self.response.stage as u32 == Stage::Idle as u32
            && self.flags & (IS_SPLICED | IS_CLOSING | IS_PROXIED) == IS_SPLICED
    }
}

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

/// Declares the events and a table of their names from one list.
macro_rules! events {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened to packets and connections. Kernel -> agent, per CPU.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[repr(C)]
        pub struct Events {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Events {
            /// Every event with its name.
            #[must_use]
            pub fn named(&self) -> [(&'static str, u64); size_of::<Self>() / 8] {
                [$((stringify!($name), self.$name),)*]
            }
        }
    };
}

events! {
    /// SYNs answered.
    opened,
    /// Requests answered 200 at the root.
    root,
    /// Requests refused as malformed (400).
    malformed,
    /// Requests refused for their path (403).
    forbidden,
    /// Requests refused for an unknown `DFaaS-Node-ID` (403).
    stranger,
    /// Requests refused for a `DFaaS-Node-Token` that is not the peer's (403).
    forged,
    /// Requests for a function that nobody knows (404).
    unknown_function,
    /// Requests refused because their head is too long (431).
    head_too_long,
    /// Parts of a head that were held until the rest came.
    head_continued,
    /// Requests that travelled in the SYN and were taken.
    data_in_syn,
    /// Requests that were sent behind the server's SYN-ACK.
    replayed,
    /// Requests that came in a peer's SYN and were passed up as they are.
    syn_accepted,
    /// Upstream SYNs sent again.
    upstream_retried,
    /// Servers that refused the connection.
    upstream_refused,
    /// Peers left because they acknowledged nothing of a request that came again and again.
    upstream_silent,
    /// Requests taken back from a server that refused or kept silent, and decided again.
    decided_again,
    /// Requests answered 503 because too many servers failed them.
    upstream_failed,
    /// Requests on a connection that had one before.
    asked_again,
    /// Of these, requests that went to another server than the one before.
    steered_again,
    /// Segments with requests that were sent before the last response was complete, held until it is.
    held_ahead,
    /// Requests that were held until the last response was complete, and then decided.
    ahead_asked,
    /// Segments that were sent before the last response was complete and could not be held; they come again.
    too_early,
    /// Segments with the end of one request and the start of another, cut between them.
    cut,
    /// Segments that have to wait for missing ones before them.
    gap,
    /// Segments that no ordinary stack would take, passed on without a look at them.
    out_of_window,
    /// Connections given to the local proxy for a body of unknown length.
    proxied_chunked,
    /// Connections given to the local proxy for a change of protocol.
    proxied_upgrade,
    /// Connections given to the local proxy for lengths that contradict each other.
    proxied_lengths,
    /// Connections given to the local proxy for a head that is too long.
    proxied_head,
    /// Connections given to the local proxy for another protocol.
    proxied_not_http1,
    /// Connections given to the local proxy for a head in too many parts.
    proxied_slow,
    /// Connections of this host itself, given to the local proxy.
    proxied_local,
    /// Connections given to the local proxy because who is to serve is not reached by the client's version of IP.
    proxied_family,
    /// Requests refused because they need a proxy and there is none.
    proxy_missing,
    /// Responses whose end could not be followed.
    response_unknown,
    /// Connections to servers that were reset because nobody needs them any more.
    upstream_dropped,
    /// Servers that closed between requests, which their clients did not notice.
    upstream_left,
    /// Requests that a peer refused, decided again.
    refused_by_peer,
    /// Connections answered 503 because the flow table was full.
    flows_full,
    /// Connections answered 503 because no source port was free.
    ports_exhausted,
    /// Segments dropped because they do not fit the handshake.
    out_of_handshake,
    /// Segments dropped because the held bytes they belong to are gone.
    held_missing,
    /// Bytes that came behind a refused request, in segments.
    drained,
    /// Routers' messages that a packet was too big, told to who sent it.
    too_big,
    /// Connections that ended in order.
    closed,
    /// Connections that were reset.
    reset,
    /// Packets that a helper of the kernel failed on.
    helper_failed,
    /// Requests that are not counted with their function, because that table is full.
    uncounted,
    /// Requests whose time to the first byte is not noted, because that table is full.
    untimed,
    /// Requests that two processors decided about at the same time; only one of the decisions counts.
    decided_twice,
    /// Local connections for which no listener was lent.
    no_listener,
    /// Packets that the guard dropped because their source is blocked.
    guard_blocked,
    /// Packets that the guard dropped for flags that no stack sends.
    guard_flags,
    /// SYNs that the guard dropped because their network sends too many.
    guard_syns,
}

const _: () = {
    assert!(size_of::<Config>() == 52);
    assert!(size_of::<Stamp>() == 8 + STAMP_BYTES);
    assert!(size_of::<Function>() == 8 + 24 + 2 * SLOTS + 2 * FALLBACKS);
    assert!(size_of::<Target>() == 40);
    assert!(size_of::<Peer>() == 104);
    assert!(size_of::<Locked<u64>>() == 16);
    assert!(size_of::<FlowKey>() == 20);
    assert!(size_of::<Opening>() == 24);
    assert!(size_of::<Held>() == 8 + HELD_BYTES);
    assert!(size_of::<Client>() == 136 && size_of::<Locked<Client>>() == 144);
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

    #[test]
    fn a_request_is_decided_once() {
        let spliced = |start| {
            let mut client = Client {
                phase: Phase::Spliced as u8,
                ..Client::default()
            };
            client.numbering.client = start;
            client
        };
        let mut client = spliced(100);
        assert!(client.decide(200, &spliced(200)));
        assert!(!client.decide(200, &spliced(200)), "another processor was faster");
        let server = FlowKey::default();
        assert!(!client.take_back(&server, Phase::Connecting));
        assert!(client.take_back(&server, Phase::Spliced));
        assert_eq!((client.phase(), client.asking.failures), (Phase::Asking, 1));
        assert!(!client.take_back(&server, Phase::Spliced), "it was taken back");
        assert!(client.decide(200, &spliced(200)), "it is asked again");
    }

    #[test]
    fn a_request_is_not_taken_back_from_elsewhere_or_in_parts() {
        let other = FlowKey {
            remote_port: [1, 1],
            ..FlowKey::default()
        };
        let proxied = Client {
            flags: IS_PROXIED,
            ..Client::default()
        };
        let mut in_parts = Client::default();
        in_parts.asking.held = 1;
        assert!(!Client::default().take_back(&other, Phase::Asking));
        for mut client in [proxied, in_parts] {
            assert!(!client.take_back(&FlowKey::default(), Phase::Asking));
        }
    }

    #[test]
    fn a_client_that_has_all_outlives_its_server() {
        let mut idle = Client {
            phase: Phase::Spliced as u8,
            acknowledged: 700,
            ..Client::default()
        };
        idle.request.at = 50;
        let server = FlowKey::default();
        let mut client = idle;
        assert!(client.outlive(&server, 700));
        assert_eq!((client.phase(), client.asking.next()), (Phase::Asking, 50));
        assert_eq!(client.asking.our_isn.wrapping_add(1), 700);
        assert!(client.is_idle());
        let mut waiting = idle;
        waiting.request.left = 1;
        let mut ahead = idle;
        ahead.request.ahead = 1;
        let mut closing = idle;
        closing.closing.client(crate::packet::FIN, 51, 700);
        for mut client in [waiting, ahead, closing] {
            assert!(!client.outlive(&server, 700));
        }
        assert!(!idle.outlive(&server, 701), "a byte may come again");
    }

    #[test]
    fn a_request_is_taken_once() {
        let mut upstream = Upstream::default();
        upstream.numbering.upstream = u32::MAX;
        assert!(!upstream.take(u32::MAX, 0), "of the request before");
        assert!(upstream.take(0, 0));
        assert!(!upstream.take(5, 10), "counted already");
        let mut upstream = Upstream::default();
        assert!(upstream.take(0, 1), "an answer before anything is acknowledged");
    }

    #[test]
    fn events_keep_their_names() {
        let events = Events {
            opened: 3,
            guard_syns: 4,
            ..Events::default()
        };
        let named = events.named();
        assert_eq!(named[0], ("opened", 3));
        assert_eq!(*named.last().unwrap(), ("guard_syns", 4));
    }
}
