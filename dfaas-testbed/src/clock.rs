//! The only place of this crate that reads the clock.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How often a condition is looked at while it is waited for.
const STEP: Duration = Duration::from_millis(20);

/// The present moment.
#[expect(clippy::disallowed_methods, reason = "a test bed measures real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Waits until a condition holds, and returns how long that took.
///
/// # Errors
///
/// When it does not hold within the time given.
pub fn wait_until(what: &str, at_most: Duration, mut holds: impl FnMut() -> bool) -> Result<Duration> {
    let start = now();
    while !holds() {
        if start.elapsed() > at_most {
            bail!("{what}: not within {at_most:?}");
        }
        thread::sleep(STEP);
    }
    Ok(start.elapsed())
}
