//! What this host uses, as the kernel tells.

use std::{
    fs,
    time::{Duration, Instant},
};

use dfaas_control::NodeUsage;

/// The unit of times in `/proc/stat` (`proc(5)`; the kernel's `USER_HZ` is the same everywhere).
const TICKS_PER_SECOND: f64 = 100.0;
/// The processors' energy, where there is a meter (`Documentation/power/powercap`).
const ENERGY: &str = "/sys/class/powercap/intel-rapl:0/energy_uj";

/// Remembers the last reading, because what is told are rates.
#[derive(Debug, Default)]
pub(crate) struct UsageMeter {
    last: Option<(Instant, Reading)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Reading {
    busy_ticks: Option<u64>,
    energy_microjoules: Option<u64>,
}

impl UsageMeter {
    /// The usage since the last reading, if that was as long ago as `interval`.
    pub(crate) fn read(&mut self, now: Instant, interval: Duration) -> Option<NodeUsage> {
        let since = self.last.as_ref().map(|(last, _)| now.duration_since(*last));
        if since.is_some_and(|since| since < interval) {
            return None;
        }
        let read = |path| fs::read_to_string(path).ok();
        let reading = Reading {
            busy_ticks: read("/proc/stat").and_then(|text| busy_ticks(&text)),
            energy_microjoules: read(ENERGY).and_then(|text| text.trim().parse().ok()),
        };
        let (_, before) = self.last.replace((now, reading))?;
        let elapsed_s = since?.as_secs_f64();
        let rate =
            |now: Option<u64>, before: Option<u64>| Some(now?.checked_sub(before?)? as f64 / elapsed_s);
        Some(NodeUsage {
            cpu_percent: rate(reading.busy_ticks, before.busy_ticks)
                .map(|ticks| ticks / TICKS_PER_SECOND * 100.0),
            ram_bytes: read("/proc/meminfo").and_then(|text| used_bytes(&text)),
            power_microwatts: rate(reading.energy_microjoules, before.energy_microjoules),
        })
    }
}

/// The time that all processors were neither idle nor waiting.
fn busy_ticks(stat: &str) -> Option<u64> {
    let all = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = all
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in user already.
    let busy = [0, 1, 2, 5, 6, 7].map(|field| ticks.get(field).copied());
    busy.into_iter().sum()
}

fn used_bytes(meminfo: &str) -> Option<f64> {
    let field = |name: &str| -> Option<f64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse().ok()
    };
    Some((field("MemTotal:")? - field("MemAvailable:")?) * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_and_what_is_counted_twice_are_left_out() {
        assert_eq!(busy_ticks("cpu  1 2 4 100 200 8 16 32 64 0\ncpu0 9"), Some(63));
        assert_eq!(busy_ticks("cpu  1 2"), None);
        assert_eq!(busy_ticks("intr 1"), None);
    }

    #[test]
    fn used_is_what_is_not_available() {
        let text = "MemTotal:       100 kB\nMemFree: 7 kB\nMemAvailable:    40 kB\n";
        assert_eq!(used_bytes(text), Some(60.0 * 1024.0));
        assert_eq!(used_bytes("MemTotal: 1 kB"), None);
    }

    #[test]
    fn this_host_uses_something() {
        let mut meter = UsageMeter::default();
        let now = crate::clock::now();
        assert_eq!(meter.read(now, Duration::from_secs(1)), None);
        assert_eq!(meter.read(now, Duration::from_secs(1)), None, "too soon");
        let usage = meter
            .read(now + Duration::from_secs(1), Duration::from_secs(1))
            .unwrap();
        assert!(usage.ram_bytes.unwrap() > 1e6 && usage.cpu_percent.is_some());
    }
}
