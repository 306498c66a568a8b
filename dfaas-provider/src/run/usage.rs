//! What the processes of a function take now, as `GET /system/function/NAME?usage=1` tells it.

use std::fs;
use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use crate::run::isolation::memory;

/// Over how long the use of processors is measured.
const SPAN: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    /// In thousandths of a processor.
    cpu: f64,
    total_memory_bytes: u64,
}

/// Measures the processes and their children for a moment.
pub(crate) async fn measure(processes: &[u32]) -> Usage {
    let before = ticks(processes);
    sleep(SPAN).await;
    let spent = ticks(processes).saturating_sub(before);
    let seconds = spent as f64 / rustix::param::clock_ticks_per_second() as f64;
    Usage {
        cpu: seconds / SPAN.as_secs_f64() * 1000.0,
        total_memory_bytes: processes.iter().copied().map(memory::resident).sum(),
    }
}

fn ticks(processes: &[u32]) -> u64 {
    let all = processes.iter().flat_map(|&process| memory::family(process));
    all.filter_map(ticks_of).sum()
}

/// The time that a process spent, and that children spent which it has waited for (proc_pid_stat(5)).
fn ticks_of(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name stands in brackets and may hold anything.
    let fields = text.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some(fields.take(4).filter_map(|field| field.parse::<u64>().ok()).sum())
}
