//! What the supervisor of this process is told: that it works, that it still does, that it stops (`sd_notify(3)`).
//!
//! Nothing is told where nobody asks (`NOTIFY_SOCKET`), so the agent is the same without systemd.

use std::{future::pending, io, time::Duration};

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::warn;

/// Tells the supervisor from within the loop, so that a loop that hangs is noticed.
pub(crate) struct Supervisor {
    /// When to say that the loop goes on; nothing without a watchdog (`WatchdogSec=`).
    beats: Option<Interval>,
    /// What was said last of how the node is.
    said: String,
}

impl Supervisor {
    /// Asks the environment who wants to be told.
    pub(crate) fn new() -> Self {
        Self {
            beats: sd_notify::watchdog_enabled().map(beats),
            said: String::new(),
        }
    }

    /// Says that the node works, whether or not its platform is there.
    pub(crate) fn ready() {
        tell(sd_notify::notify(&[NotifyState::Ready]));
    }

    /// Says that it works no more, and ends in order.
    pub(crate) fn stopping() {
        tell(sd_notify::notify(&[NotifyState::Stopping]));
    }

    /// Says in a sentence how the node is, if that has changed.
    pub(crate) fn says(&mut self, text: String) {
        if self.said != text {
            tell(sd_notify::notify(&[NotifyState::Status(&text)]));
            self.said = text;
        }
    }

    /// Waits until the loop is to say that it goes on.
    pub(crate) async fn due(&mut self) {
        match &mut self.beats {
            Some(beats) => {
                beats.tick().await;
            }
            None => pending().await,
        }
    }

    /// Says that the loop goes on.
    pub(crate) fn beat() {
        tell(sd_notify::notify(&[NotifyState::Watchdog]));
    }
}

/// Twice as often as the watchdog asks for, as `sd_watchdog_enabled(3)` recommends.
fn beats(patience: Duration) -> Interval {
    let mut beats = interval((patience / 2).max(Duration::from_millis(1)));
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}

fn tell(told: io::Result<()>) {
    if let Err(error) = told {
        warn!(%error, "The supervisor cannot be told how the agent is (NOTIFY_SOCKET)");
    }
}
