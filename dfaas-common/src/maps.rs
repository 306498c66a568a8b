//! Keys and values of the eBPF maps: plain structs without padding, as kernel, agent and `bpftool` see them.
//!
//! Addresses and ports are byte arrays in network order, so that a dump shows `[10, 77, 0, 1]`.

use crate::{
    flow::{Closing, Role},
    histogram::BINS,
    http::{HELD_BYTES, NAME_BYTES, NODE_ID_BYTES},
    meter::Limit,
    pick::SLOTS,
};

/// How many functions a node can know.
pub const FUNCTIONS: usize = 16_384;
/// How many peers a node can have, itself (index 0) included.
pub const TARGETS: usize = 1_024;
/// How many connections can be live.
pub const FLOWS: usize = 131_072;
/// How many connections can be half open; the oldest go first.
pub const OPENINGS: usize = 65_536;
/// How many first segments are kept; the oldest go first.
pub const HELDS: usize = 4_096;
/// How many buckets there are for limits of all kinds.
pub const BUCKETS: usize = 65_536;
/// The room for a stamp, in bytes: `DFaaS-Node-ID`, an identity, and what later versions add.
pub const STAMP_BYTES: usize = 128;
/// The room for an answer of the data plane itself, in bytes.
pub const REPLY_BYTES: usize = 248;
/// The function id in counters of requests that name no known function.
pub const NO_FUNCTION: u32 = u32::MAX;

/// How many targets are tried when those drawn are full.
pub const FALLBACKS: usize = 4;

/// Bit of [`Config::flags`]: the request may travel in the SYN to the local listener.
pub const DATA_IN_SYN_LOCAL: u32 = 1;
/// Bit of [`Config::flags`]: a SYN with data is accepted from peers.
pub const DATA_IN_SYN_FROM_PEERS: u32 = 2;
/// Bit of [`Config::flags`]: a SYN with data is accepted from anybody.
pub const DATA_IN_SYN_FROM_ALL: u32 = 4;
/// Bit of [`Config::flags`]: `LISTENERS` slot 1 holds HAProxy's listener.
pub const PROXY: u32 = 8;
/// Bit of [`Target::flags`]: the request may travel in the SYN to this peer.
pub const TARGET_DATA_IN_SYN: u32 = 1;

/// The node's own settings. Agent -> kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Config {
    /// The address at which users and peers reach this node.
    pub address: [u8; 4],
    /// The port at which they do.
    pub port: [u8; 2],
    /// The segment size that clients are told, in bytes: what the link carries less the room for a stamp.
    pub segment_size: u16,
    /// First source port of forwarded connections.
    pub nat_first: u16,
    /// Number of these ports less one; the number is a power of two.
    pub nat_mask: u16,
    /// `DATA_IN_SYN_*`.
    pub flags: u32,
    /// Counts the agent's sweeps; live flows note it, so idleness costs no clock.
    pub tick: u32,
    /// Keeps sequence numbers of forwarded connections from being guessed; drawn at start.
    pub secret: u32,
}

/// What is written into each forwarded request. Agent -> kernel.
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
    /// Target indices in proportion to their weights; [`crate::pick::SELF`] everywhere if there is none.
    pub slots: [u16; SLOTS],
    /// Targets to try, in this order, when those drawn are full; filled up with [`crate::pick::SELF`].
    pub fallbacks: [u16; FALLBACKS],
}

/// A peer as a place to send to. Agent -> kernel; the index is the peer's in counters, limits and slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Target {
    /// Its address; zeros for an index without a peer.
    pub address: [u8; 4],
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
    /// Its address.
    pub address: [u8; 4],
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

/// The state of one token bucket. Kernel only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Bucket {
    /// `struct bpf_spin_lock`.
    pub lock: u32,
    /// Keeps the layout free of padding.
    pub reserved: u32,
    /// Theoretical arrival time of the next request, in nanoseconds of the monotonic clock.
    pub arrival_ns: u64,
}

/// A connection from the side of who is remote: client or peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct FlowKey {
    /// Its address.
    pub remote: [u8; 4],
    /// Our address.
    pub local: [u8; 4],
    /// Its port.
    pub remote_port: [u8; 2],
    /// Our port.
    pub local_port: [u8; 2],
}

/// A connection whose request is not decided yet, or that the data plane answered itself. Kernel only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Opening {
    /// The client's initial sequence number.
    pub client_isn: u32,
    /// Ours.
    pub our_isn: u32,
    /// Bytes of the request that are held and acknowledged.
    pub held: u32,
    /// The acknowledgment number of our answer, if there was one.
    pub answered: u32,
    /// The client's window in its SYN.
    pub window: u16,
    /// The client's maximum segment size.
    pub segment_size: u16,
    /// The client's window scale, or `NO_WINDOW_SCALE`.
    pub window_scale: u8,
    /// 1 if the SYN's checksum was left to hardware.
    pub partial: u8,
    /// One more than the number of our answer; 0 before it.
    pub reply: u8,
    /// How many servers have failed this request.
    pub failures: u8,
}

/// The first bytes of a connection. Kernel only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Held {
    /// Number of bytes.
    pub length: u32,
    /// Keeps the layout free of padding.
    pub reserved: u32,
    /// The bytes as the server is to get them, stamp included.
    pub bytes: [u8; HELD_BYTES],
}

/// A decided connection, seen from one side. Kernel writes, agent sweeps.
///
/// A local connection has one entry, under the client's key. A forwarded one has two, which name each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Flow {
    /// When the request was decided, in nanoseconds of the monotonic clock.
    pub decided_ns: u64,
    /// When the first byte of the answer passed; 0 before that.
    pub first_byte_ns: u64,
    /// [`Role`] as a number.
    pub role: u8,
    /// 1 once both sides' numbers are known.
    pub spliced: u8,
    /// The client's window scale.
    pub client_scale: u8,
    /// The server's window scale.
    pub server_scale: u8,
    /// [`Config::tick`] when a packet was seen last.
    pub last_seen: u32,
    /// Function id.
    pub function: u32,
    /// Peer index of who serves; 0 is this node.
    pub target: u32,
    /// Peer index of who sent the request; 0 is a user.
    pub origin: u32,
    /// The client's initial sequence number.
    pub client_isn: u32,
    /// Ours towards the client.
    pub our_isn: u32,
    /// Ours towards the server.
    pub upstream_isn: u32,
    /// The server's.
    pub server_isn: u32,
    /// Bytes of the client that went with, or right behind, the upstream SYN.
    pub first_bytes: u32,
    /// Bytes of stamp among them on the upstream side.
    pub stamp_bytes: u32,
    /// How often the upstream SYN was sent.
    pub attempts: u32,
    /// Source address of packets that leave in this direction.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
    /// Source port.
    pub source_port: [u8; 2],
    /// Destination port.
    pub destination_port: [u8; 2],
    /// The client's window in its SYN.
    pub window: u16,
    /// The client's maximum segment size.
    pub segment_size: u16,
    /// 1 if the client's packets leave their checksum to hardware.
    pub partial: u32,
    /// Which ends are closed, in the client's numbers.
    pub closing: Closing,
    /// The other entry of a forwarded connection.
    pub other: FlowKey,
    /// How many servers have failed this request.
    pub failures: u32,
}

impl Flow {
    /// What the entry is for.
    #[inline(always)]
    #[must_use]
    pub const fn role(&self) -> Role {
        match self.role {
            1 => Role::ToPeer,
            2 => Role::ToClient,
            3 => Role::Passed,
            _ => Role::Local,
        }
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
    /// Requests taken back from a server that refused or kept silent, and decided again.
    decided_again,
    /// Requests answered 503 because too many servers failed them.
    upstream_failed,
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
    /// Connections that ended in order.
    closed,
    /// Connections that were reset.
    reset,
    /// Packets that a helper of the kernel failed on.
    helper_failed,
    /// Local connections for which no listener was lent.
    no_listener,
}

const _: () = {
    assert!(size_of::<Config>() == 24);
    assert!(size_of::<Stamp>() == 8 + STAMP_BYTES);
    assert!(size_of::<Function>() == 8 + 24 + 2 * SLOTS + 2 * FALLBACKS);
    assert!(size_of::<Target>() == 12);
    assert!(size_of::<Peer>() == 8);
    assert!(size_of::<Bucket>() == 16);
    assert!(size_of::<FlowKey>() == 12);
    assert!(size_of::<Opening>() == 24);
    assert!(size_of::<Held>() == 8 + HELD_BYTES);
    assert!(size_of::<Flow>() == 112);
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
        let flows = FLOWS * element(size_of::<Flow>(), size_of::<FlowKey>());
        let openings = OPENINGS * element(size_of::<Opening>(), size_of::<FlowKey>());
        let held = HELDS * element(size_of::<Held>(), size_of::<FlowKey>());
        let buckets = BUCKETS * size_of::<Bucket>();
        let total = flows + openings + held + buckets;
        assert!(total < 64 * MIB, "{total} bytes");
    }

    #[test]
    fn events_keep_their_names() {
        let events = Events {
            opened: 3,
            no_listener: 4,
            ..Events::default()
        };
        let named = events.named();
        assert_eq!(named[0], ("opened", 3));
        assert_eq!(*named.last().unwrap(), ("no_listener", 4));
    }
}
