//! Intervals and limits of the overlay.

use std::time::Duration;

/// The least silence for which a connection is given up. With a ping every 0.5 s that waits 1 s for its answer, one lost
/// ping is answered anew after 2 s; the limit is reached only if that one is lost too.
const SILENCE_MIN: Duration = Duration::from_secs(3);
/// The longest that anybody has to wait for it.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Intervals and limits of the overlay.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tuning {
    /// Connections at a time.
    pub(crate) connections_max: u32,
    /// Connections at a time with one node.
    pub(crate) connections_per_peer_max: u32,
    /// Incoming connections at a time that have not proven who they are.
    pub(crate) pending_max: u32,
    /// How long a connection may take to open.
    pub(crate) dial_timeout: Duration,
    /// The longest time between two attempts to reach a node.
    pub(crate) dial_delay_max: Duration,
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    /// For how long a connection may be without an answer.
    pub(crate) silence: Duration,
    /// For how long a node may be connected that has not joined the topic.
    pub(crate) stranger_time: Duration,
    /// How many messages a second each author may write.
    pub(crate) message_rate_max: u32,
    /// How many messages that nobody can read a peer may pass on within a minute or so.
    pub(crate) malformed_max: u32,
    /// For how long a peer is banned that passes on more.
    pub(crate) ban_time: Duration,
    /// How often gossip keeps its house.
    pub(crate) heartbeat: Duration,
    /// How often multicast DNS asks.
    pub(crate) mdns_interval: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            // A federation of a thousand, while both ends of a connection may have dialled.
            connections_max: 2048,
            // Both sides may dial at once, over each transport.
            connections_per_peer_max: 8,
            pending_max: 64,
            dial_timeout: Duration::from_secs(5),
            dial_delay_max: Duration::from_secs(10),
            ping_interval: Duration::from_millis(500),
            ping_timeout: Duration::from_secs(1),
            silence: SILENCE_MIN,
            stranger_time: Duration::from_secs(30),
            // A node writes one or two a period, and a period is at least 100 ms.
            message_rate_max: 50,
            malformed_max: 10,
            ban_time: Duration::from_secs(300),
            heartbeat: Duration::from_millis(300),
            mdns_interval: Duration::from_secs(10),
        }
    }
}

/// For how long a connection may be without an answer. Who has time for longer periods, on a slow machine, has time for
/// longer silence: a federation falls apart if it takes longer to come back than to be given up.
pub(crate) fn silence(period: Duration) -> Duration {
    period.saturating_mul(3).clamp(SILENCE_MIN, SILENCE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_longer_periods_bears_longer_silence() {
        for (period_s, want_s) in [(0, 3), (1, 3), (4, 12), (5, 15), (60, 15)] {
            assert_eq!(
                silence(Duration::from_secs(period_s)),
                Duration::from_secs(want_s)
            );
        }
    }
}
