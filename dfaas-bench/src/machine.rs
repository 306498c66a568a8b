//! What the whole machine does.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result};

/// `USER_HZ` is 100 wherever Linux runs: it is part of its interface.
const TICK_US: u64 = 10_000;
/// The times that are not work: idle and waiting for disks (proc(5), `/proc/stat`).
const IDLE_COLUMNS: [usize; 2] = [3, 4];
/// Guests' times are within users' times.
const COLUMNS: usize = 8;

/// For how long all CPUs together have been busy since the machine started, softirq included.
///
/// # Errors
///
/// When `/proc/stat` cannot be read.
pub(crate) fn busy_us() -> Result<u64> {
    let text = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    busy_ticks(line)
        .map(|ticks| ticks * TICK_US)
        .context("/proc/stat does not begin with the sum of all CPUs")
}

fn busy_ticks(line: &str) -> Option<u64> {
    let columns = line.strip_prefix("cpu ")?.split_whitespace().take(COLUMNS);
    let mut sum = 0;
    for (column, ticks) in columns.enumerate() {
        let ticks: u64 = ticks.parse().ok()?;
        if !IDLE_COLUMNS.contains(&column) {
            sum += ticks;
        }
    }
    Some(sum)
}

/// How busy the machine is with what others do: microseconds in each second of waiting.
///
/// # Errors
///
/// When `/proc/stat` cannot be read.
pub(crate) fn background(wait: Duration) -> Result<f64> {
    let before = busy_us()?;
    thread::sleep(wait);
    Ok((busy_us()? - before) as f64 / wait.as_secs_f64())
}

/// The load averages of one, five and fifteen minutes.
///
/// # Errors
///
/// When `/proc/loadavg` cannot be read.
pub(crate) fn load_average() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg").context("reading /proc/loadavg")?;
    let three: Vec<&str> = text.split_whitespace().take(3).collect();
    Ok(three.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_times_and_guests_are_no_work() {
        assert_eq!(
            busy_ticks("cpu  1 20 300 4000 50000 600000 7000000 80000000 900000000 0"),
            Some(87_600_321)
        );
        assert_eq!(busy_ticks("cpu0 1 2 3 4 5 6 7 8 9 10"), None);
        assert_eq!(busy_ticks("cpu  one"), None);
    }

    #[test]
    fn this_machine_works() {
        assert!(busy_us().unwrap() > 0);
        assert_eq!(load_average().unwrap().split(' ').count(), 3);
    }
}
