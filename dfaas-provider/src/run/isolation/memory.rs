//! How much memory a process and its children take, for hosts that cannot bound it.

use std::fs;
use std::time::Duration;

use tokio::time::sleep;

/// A process fills some tens of megabytes in that time.
const INTERVAL: Duration = Duration::from_millis(20);

/// Ends when the process and its children hold more than `limit` bytes.
pub(crate) async fn exceeded(process: u32, limit: u64) {
    while resident(process) <= limit {
        sleep(INTERVAL).await;
    }
}

/// In bytes, without the pages of programs and libraries, which are the host's.
pub(crate) fn resident(process: u32) -> u64 {
    family(process).into_iter().filter_map(resident_alone).sum()
}

/// A process and its children, and theirs.
pub(crate) fn family(process: u32) -> Vec<u32> {
    let mut family = vec![process];
    let mut at = 0;
    while let Some(&process) = family.get(at) {
        at += 1;
        let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
        let children = children.unwrap_or_default();
        family.extend(
            children
                .split_ascii_whitespace()
                .filter_map(|child| child.parse::<u32>().ok()),
        );
    }
    family
}

fn resident_alone(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    let mut fields = text.split_ascii_whitespace().skip(1);
    let (resident, shared): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}
