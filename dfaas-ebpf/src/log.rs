//! What the programs have to say about requests, where the operator asks for it.
//!
//! The agent reads it (`dfaas-agent/src/data_plane/log.rs`): a text, and behind a colon numbers with names.

use aya_ebpf::Global;
use aya_log_ebpf::{debug, info, macro_support::Level};
use dfaas_common::{decide::Answer, log::NOTHING};

/// The most that is told: nothing, or a level of `aya-log`, whose own switch is on from the start and stays so.
///
/// The loader writes it into a map that the kernel freezes, so that the verifier knows its value, and takes out of the
/// programs what it does not let through.
#[unsafe(no_mangle)]
static DFAAS_LOG_LEVEL: Global<u8> = Global::new(NOTHING);

#[inline(always)]
fn tells(level: Level) -> bool {
    level as u8 <= DFAAS_LOG_LEVEL.load()
}

/// Tells of a request that a peer takes.
#[inline(always)]
pub(crate) fn forwarded(function: u32, peer: u32) {
    if tells(Level::Debug) {
        dfaas_log_forwarded(function, peer);
    }
}

/// Tells of a request of a peer that is served here.
#[inline(always)]
pub(crate) fn admitted(function: u32, peer: u32) {
    if tells(Level::Debug) {
        dfaas_log_admitted(function, peer);
    }
}

/// Tells of a request of a user that is served here.
#[inline(always)]
pub(crate) fn local(function: u32) {
    if tells(Level::Debug) {
        dfaas_log_local(function);
    }
}

/// Tells of a request that is refused; the peer is the one that sent it, 0 if it was none.
#[inline(always)]
pub(crate) fn refused(function: u32, peer: u32, answer: Answer) {
    if tells(Level::Info) {
        dfaas_log_refused(function, peer, answer as u32);
    }
}

/// Tells of a request that is taken back from its server, 0 if that is this node's.
#[inline(always)]
pub(crate) fn taken_back(function: u32, peer: u32) {
    if tells(Level::Info) {
        dfaas_log_taken_back(function, peer);
    }
}

/// Global functions: they have a stack of their own, the verifier looks at each once, and at nothing in them unless they tell
/// something.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_log_forwarded(function: u32, peer: u32) -> u32 {
    if tells(Level::Debug) {
        debug!(&(), "Forwarded a request: function={} peer={}", function, peer);
    }
    0
}

/// As [`dfaas_log_forwarded`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_log_admitted(function: u32, peer: u32) -> u32 {
    if tells(Level::Debug) {
        debug!(&(), "Admitted a request: function={} peer={}", function, peer);
    }
    0
}

/// As [`dfaas_log_forwarded`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_log_local(function: u32) -> u32 {
    if tells(Level::Debug) {
        debug!(&(), "Served a request: function={}", function);
    }
    0
}

/// As [`dfaas_log_forwarded`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_log_refused(function: u32, peer: u32, answer: u32) -> u32 {
    if tells(Level::Info) {
        info!(
            &(),
            "Refused a request: function={} peer={} answer={}", function, peer, answer
        );
    }
    0
}

/// As [`dfaas_log_forwarded`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dfaas_log_taken_back(function: u32, peer: u32) -> u32 {
    if tells(Level::Info) {
        info!(
            &(),
            "Took a request back from its server: function={} peer={}", function, peer
        );
    }
    0
}
