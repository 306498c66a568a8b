//! The only place of this crate that reads the clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[expect(
    clippy::disallowed_methods,
    reason = "the agent is the shell that tells its core the time"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
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
