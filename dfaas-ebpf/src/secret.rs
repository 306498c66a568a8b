//! Numbers that nobody without the node's secret can compute.

use dfaas_common::{
    maps::FlowKey,
    siphash::{self, Purpose},
};

use crate::maps;

/// The keyed hash of a connection, for a purpose, and of what else tells it from others.
#[inline(always)]
pub(crate) fn hash(key: &FlowKey, purpose: Purpose, more: u64) -> u64 {
    let [remote_high, remote_low, ports] = siphash::words(key, purpose);
    dfaas_hash(remote_high, remote_low, ports, more)
}

/// The first sequence number of a connection at a time.
#[inline(never)]
pub(crate) fn sequence_start(key: &FlowKey, purpose: Purpose, now_ns: u64) -> u32 {
    siphash::sequence_start(hash(key, purpose, 0), now_ns)
}

/// As [`hash`], but global: it has a stack of its own, and the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_hash(remote_high: u64, remote_low: u64, ports: u64, more: u64) -> u64 {
    let Some(config) = maps::config() else {
        return 0;
    };
    siphash::hash(config.secret, [remote_high, remote_low, ports, more])
}
