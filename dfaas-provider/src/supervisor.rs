//! What the supervisor of this process is told: that it works, that it still does, that it stops (`sd_notify(3)`).
//!
//! Nothing is told where nobody asks (`NOTIFY_SOCKET`), so the platform is the same without systemd.

use std::{future::pending, io, time::Duration};

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

/// Tells the supervisor from a task of the runtime that serves calls.
pub(crate) struct Supervisor {
    /// After what silence the supervisor ends the process (`WatchdogSec=`).
    patience: Option<Duration>,
}

impl Supervisor {
    /// Says that calls are served from now on, and asks the environment whether there is a watchdog.
    pub(crate) fn ready() -> Self {
        tell(sd_notify::notify(&[NotifyState::Ready]));
        Self {
            patience: sd_notify::watchdog_enabled(),
        }
    }

    /// Says that no more calls are taken, and that those in flight are finished.
    pub(crate) fn stopping() {
        tell(sd_notify::notify(&[NotifyState::Stopping]));
    }

    /// Says for ever that the process goes on: twice as often as asked, as `sd_watchdog_enabled(3)` recommends.
    pub(crate) async fn follow(self) {
        let Some(patience) = self.patience else {
            return pending().await;
        };
        let mut beats = interval((patience / 2).max(Duration::from_millis(1)));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            tell(sd_notify::notify(&[NotifyState::Watchdog]));
        }
    }
}

fn tell(told: io::Result<()>) {
    if let Err(error) = told {
        warn!(%error, "The supervisor cannot be told how the platform is (NOTIFY_SOCKET)");
    }
}
