//! What the programs know about their own node.

use crate::packet::Address;

/// Bit of [`Config::flags`]: the request may travel in the SYN to the local listener.
pub const DATA_IN_SYN_LOCAL: u32 = 1;
/// Bit of [`Config::flags`]: a SYN with data is accepted from peers.
pub const DATA_IN_SYN_FROM_PEERS: u32 = 2;
/// Bit of [`Config::flags`]: a SYN with data is accepted from anybody.
pub const DATA_IN_SYN_FROM_ALL: u32 = 4;
/// Bit of [`Config::flags`]: `LISTENERS` holds a listener of HAProxy for IPv4.
pub const PROXY: u32 = 8;
/// Bit of [`Config::flags`]: it holds one for IPv6.
pub const PROXY_IPV6: u32 = PROXY << 1;
/// Bit of [`Config::flags`]: the platform is asked by IPv4.
pub const LOCAL: u32 = 32;
/// Bit of [`Config::flags`]: it is asked by IPv6, too: `LISTENERS` holds a listener for it.
pub const LOCAL_IPV6: u32 = LOCAL << 1;

/// Bit of [`Config::flags`]: this node runs a HAProxy, though it may be starting just now.
pub const PROXY_COMES: u32 = 128;

/// The node's own settings. Agent -> kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Config {
    /// The addresses at which users and peers reach this node, that of IPv6 being none if there is none.
    pub addresses: [Address; 2],
    /// The port at which they do.
    pub port: [u8; 2],
    /// The segment size that clients are told in IPv4, in bytes: what the link carries less the room for a stamp, in whole
    /// units of the window.
    pub segment_bytes: u16,
    /// First source port of forwarded connections.
    pub nat_first: u16,
    /// Number of these ports less one; the number is a power of two.
    pub nat_mask: u16,
    /// `DATA_IN_SYN_*`.
    pub flags: u32,
    /// Counts the agent's sweeps; live flows note it, so idleness costs no clock.
    pub tick: u32,
    /// The key of [`crate::siphash`], so that nobody can guess sequence numbers and ports; drawn at start.
    pub secret: [u64; 2],
    /// Until when there is an agent, in nanoseconds of the monotonic clock. It moves this on with every tick; while none
    /// does, nothing is sent to peers and nothing is admitted from them.
    pub attended_until_ns: u64,
}

impl Config {
    /// The segment size that clients are told in a version of IP, in bytes.
    #[inline(always)]
    #[must_use]
    pub const fn segment_size(&self, family: u32) -> u16 {
        self.segment_bytes
            .wrapping_sub(IPV6_MORE_BYTES * (family & 1) as u16)
    }

    /// Whether HAProxy takes connections of a version of IP.
    #[inline(always)]
    #[must_use]
    pub const fn has_proxy(&self, family: u32) -> bool {
        (self.flags >> (family & 1)) & PROXY != 0
    }

    /// Whether HAProxy takes connections, or soon will again.
    #[inline(always)]
    #[must_use]
    pub const fn awaits_proxy(&self) -> bool {
        self.flags & PROXY_COMES != 0
    }

    /// Whether an agent has moved the clock on lately, so that peers may be dealt with.
    #[inline(always)]
    #[must_use]
    pub const fn is_attended(&self, now_ns: u64) -> bool {
        now_ns < self.attended_until_ns
    }

    /// Whether the platform takes connections of a version of IP.
    #[inline(always)]
    #[must_use]
    pub const fn has_local(&self, family: u32) -> bool {
        (self.flags >> (family & 1)) & LOCAL != 0
    }
}

/// What an IPv6 header has more than one of IPv4, in whole units of the window, in bytes.
const IPV6_MORE_BYTES: u16 = 128;
