//! A listener that is lent to the kernel: found by its port, followed over restarts of its program.

use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result};
use aya::maps::{MapData, MapError, SockMap};
use tracing::{debug, info, warn};

use super::{Listener, listener, relay, relay::Relay, sys};

/// Whose listener is where in the map, and of which version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Platform = 0,
    Haproxy = 1,
    PlatformIpv6 = 2,
    HaproxyIpv6 = 3,
}

impl Place {
    fn whose(self) -> &'static str {
        match self {
            Self::Platform | Self::PlatformIpv6 => "the platform",
            Self::Haproxy | Self::HaproxyIpv6 => "HAProxy",
        }
    }

    fn is_ipv6(self) -> bool {
        matches!(self, Self::PlatformIpv6 | Self::HaproxyIpv6)
    }

    fn find(self, port: u16) -> Result<Option<u64>> {
        if self.is_ipv6() {
            listener::find_ipv6(port)
        } else {
            listener::find(port)
        }
    }
}

/// The place of one listener in the map, and what is there.
pub(super) struct Loan {
    place: Place,
    takes_data_in_syn: bool,
    lent: Option<u64>,
    /// Stands in the map for a listener that no map takes.
    relay: Option<Relay>,
}

impl Loan {
    pub(super) fn new(place: Place, takes_data_in_syn: bool) -> Self {
        Self {
            place,
            takes_data_in_syn,
            lent: None,
            relay: None,
        }
    }

    /// Lends what listens on a port; cheap when nothing has changed.
    pub(super) fn follow(&mut self, listeners: &mut SockMap<MapData>, port: u16) -> Result<Listener> {
        let whose = self.place.whose();
        let found = self.place.find(port)?;
        if found == self.lent {
            return Ok(if found.is_some() {
                Listener::Present
            } else {
                Listener::Absent
            });
        }
        // The kernel takes a closed socket out of the map by itself.
        self.lent = None;
        self.relay = None;
        let Some(inode) = found else {
            warn!(
                whose,
                is_ipv6 = self.place.is_ipv6(),
                port,
                "Nobody listens on the port any more"
            );
            return Ok(Listener::Absent);
        };
        let Some(socket) = listener::borrow(inode)? else {
            debug!(whose, inode, "The listener's process is not in sight");
            return Ok(Listener::Hidden);
        };
        if relay::is_multipath(socket.as_fd()) {
            let relay = Relay::before(socket.as_fd(), self.place.is_ipv6());
            self.relay = Some(relay.context("relaying to a listener that speaks Multipath TCP")?);
            warn!(
                whose,
                is_ipv6 = self.place.is_ipv6(),
                port,
                "The listener speaks Multipath TCP, which BPF cannot lend: the agent relays its connections, which is \
                 slower; start its program with GODEBUG=multipathtcp=0"
            );
        }
        let lent = self.relay.as_ref().map_or(socket.as_fd(), Relay::listener);
        if self.takes_data_in_syn
            && let Err(error) = sys::accept_data_in_syn(lent)
        {
            warn!(whose, %error, "The listener takes no data in SYNs; requests are replayed to it");
        }
        listeners
            .set(self.place as u32, &lent.as_raw_fd(), 0)
            .context("writing LISTENERS")?;
        self.lent = Some(inode);
        info!(
            whose,
            is_ipv6 = self.place.is_ipv6(),
            port,
            inode,
            "Lent a listener to the kernel"
        );
        Ok(Listener::Present)
    }

    /// Takes it back, if it is lent.
    pub(super) fn end(&mut self, listeners: &mut SockMap<MapData>) -> Result<()> {
        if self.lent.take().is_none() {
            return Ok(());
        }
        self.relay = None;
        info!(
            whose = self.place.whose(),
            is_ipv6 = self.place.is_ipv6(),
            "Took a listener back from the kernel"
        );
        match listeners.clear_index(&(self.place as u32)) {
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
