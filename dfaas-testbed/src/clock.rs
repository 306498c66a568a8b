//! The only place of this crate that reads the clock.

use std::{
    env,
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How often a condition is looked at while it is waited for.
const STEP: Duration = Duration::from_millis(20);
/// Says how many times longer than on a real machine things may take: for emulated ones.
const SLOWNESS: &str = "DFAAS_TEST_SLOWNESS";

/// The present moment.
#[expect(clippy::disallowed_methods, reason = "a test bed measures real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// The longest that something may take on this machine that may take so long on a real one.
pub fn patience(at_most: Duration) -> Duration {
    static TIMES: LazyLock<u32> = LazyLock::new(|| {
        let times = env::var(SLOWNESS).ok().and_then(|times| times.parse().ok());
        times.unwrap_or(1)
    });
    at_most * *TIMES
}

/// Waits until a condition holds, and returns how long that took.
///
/// # Errors
///
/// When it does not hold within the [`patience`] of the time given.
pub fn wait_until(what: &str, at_most: Duration, mut holds: impl FnMut() -> bool) -> Result<Duration> {
    let (start, at_most) = (now(), patience(at_most));
    while !holds() {
        if start.elapsed() > at_most {
            bail!("{what}: not within {at_most:?}");
        }
        thread::sleep(STEP);
    }
    Ok(start.elapsed())
}
