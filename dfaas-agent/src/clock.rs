//! The only place of this crate that reads the clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[expect(
    clippy::disallowed_methods,
    reason = "the agent is the shell that tells its core the time"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds of the clock that the kernel's programs read (`bpf_ktime_get_ns`).
pub(crate) fn monotonic_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (time.tv_sec as u64).saturating_mul(1_000_000_000) + time.tv_nsec as u64
}

/// Milliseconds since 1970, which grow from one start of this node to the next.
#[expect(
    clippy::disallowed_methods,
    reason = "the agent is the shell that tells its core the time"
)]
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
