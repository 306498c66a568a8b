//! A listener that is lent to the kernel: found by its port, followed over restarts of its program.

use std::os::fd::AsFd;

use anyhow::{Context, Result};
use aya::maps::{MapData, MapError, SockMap};
use tracing::{debug, info, warn};

use super::{Listener, listener, sys};

/// The place of one listener in the map, and what is there.
pub(super) struct Loan {
    slot: u32,
    /// Whose listener it is.
    whose: &'static str,
    takes_data_in_syn: bool,
    lent: Option<u64>,
}

impl Loan {
    pub(super) fn new(slot: u32, whose: &'static str, takes_data_in_syn: bool) -> Self {
        Self {
            slot,
            whose,
            takes_data_in_syn,
            lent: None,
        }
    }

    /// Lends what listens on a port; cheap when nothing has changed.
    pub(super) fn follow(&mut self, listeners: &mut SockMap<MapData>, port: u16) -> Result<Listener> {
        let whose = self.whose;
        let found = listener::find(port)?;
        if found == self.lent {
            return Ok(if found.is_some() {
                Listener::Present
            } else {
                Listener::Absent
            });
        }
        // The kernel takes a closed socket out of the map by itself.
        self.lent = None;
        let Some(inode) = found else {
            warn!(whose, port, "Nobody listens on the port any more");
            return Ok(Listener::Absent);
        };
        let Some(socket) = listener::borrow(inode)? else {
            debug!(whose, inode, "The listener's process is not in sight");
            return Ok(Listener::Absent);
        };
        if self.takes_data_in_syn
            && let Err(error) = sys::accept_data_in_syn(socket.as_fd())
        {
            warn!(whose, %error, "The listener takes no data in SYNs; requests are replayed to it");
        }
        listeners
            .set(self.slot, &socket, 0)
            .context("writing LISTENERS")?;
        self.lent = Some(inode);
        info!(whose, port, inode, "Lent a listener to the kernel");
        Ok(Listener::Present)
    }

    /// Takes it back, if it is lent.
    pub(super) fn end(&mut self, listeners: &mut SockMap<MapData>) -> Result<()> {
        if self.lent.take().is_none() {
            return Ok(());
        }
        info!(whose = self.whose, "Took a listener back from the kernel");
        match listeners.clear_index(&self.slot) {
            // Its socket was closed, which has emptied the place.
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EINVAL) => {
                Ok(())
            }
            Err(MapError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::NotFound => {
                Ok(())
            }
            Err(error) => Err(error).context("clearing LISTENERS"),
        }
    }
}
