//! The only place of this crate that reads the clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

#[expect(
    clippy::disallowed_methods,
    reason = "a server is a shell: it stamps requests as they arrive"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn timestamp() -> Timestamp {
    Timestamp::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a server is a shell: it stamps requests as they arrive"
)]
pub(crate) fn unix_nanos() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos())
}
