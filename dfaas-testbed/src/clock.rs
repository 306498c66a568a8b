//! The only place of this crate that reads the clock.

use std::{
    env,
    ops::RangeInclusive,
    process::Command,
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::Network;

/// How often a condition is looked at while it is waited for.
const STEP: Duration = Duration::from_millis(20);
/// Says how many times longer than on a real machine things may take, or [`MEASURED`]: for emulated ones.
const SLOWNESS: &str = "DFAAS_TEST_SLOWNESS";
const MEASURED: &str = "measured";
/// What is measured: how long it takes to start programs that do nothing, and how long it takes on a real machine.
const STARTS: (u32, Duration) = (20, Duration::from_millis(40));
/// An emulated machine may be at rest while it is measured, and a longer patience than this helps nobody.
const TIMES: RangeInclusive<u32> = 4..=12;

/// How many times longer things may take over bad links: of a request, several packets in a row may be lost, each of
/// which is sent again twice as late as the one before.
const OVER_BAD_LINKS: u32 = 4;

static SLOWER: LazyLock<u32> = LazyLock::new(|| match env::var(SLOWNESS) {
    Ok(times) if times == MEASURED => measured(),
    Ok(times) => times.parse().unwrap_or(1),
    Err(_) => 1,
});

/// The present moment.
#[expect(clippy::disallowed_methods, reason = "a test bed measures real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// The longest that something may take on this machine that may take so long on a real one.
pub fn patience(at_most: Duration) -> Duration {
    let over_links = if Network::is_impaired() { OVER_BAD_LINKS } else { 1 };
    at_most * *SLOWER * over_links
}

/// The period of what agents of this machine do again and again: longer periods than this make tests no surer.
pub fn pace(period: Duration) -> Duration {
    period * (*SLOWER).min(*TIMES.start())
}

/// How many times slower than a real machine this one is now.
fn measured() -> u32 {
    let (starts, usual) = STARTS;
    let start = now();
    for _ in 0..starts {
        // Without the program, the machine counts as fast.
        let _absent = Command::new("true").status();
    }
    let took = start.elapsed();
    let times = took.div_duration_f64(usual).ceil() as u32;
    eprintln!("slowness: {took:.1?} for {starts} programs: {times} times a real machine's");
    times.clamp(*TIMES.start(), *TIMES.end())
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
