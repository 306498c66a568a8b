//! A listener of the agent's own that passes connections on, for one that no BPF map takes.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::net::sockopt;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time,
};
use tracing::{debug, warn};

/// `IPPROTO_MPTCP` (`include/uapi/linux/in.h`, Linux 5.6).
const MULTIPATH_TCP: u32 = 262;
/// Of one listener. More wait to be accepted.
const CONNECTIONS_MAX: usize = 4_096;
/// How long nothing is accepted when a connection could not be, for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether a listener speaks Multipath TCP (RFC 8684), as those of Go since 1.24 do. A BPF map of sockets refuses them.
pub(super) fn is_multipath(listener: BorrowedFd<'_>) -> bool {
    matches!(sockopt::socket_protocol(listener), Ok(Some(protocol)) if protocol.as_raw().get() == MULTIPATH_TCP)
}

/// A listener on loopback whose connections are passed on. It ends when it is dropped; what it has accepted goes on.
pub(super) struct Relay {
    listener: OwnedFd,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// Stands before a listener, by the version of IP that is asked for.
    ///
    /// # Errors
    /// The listener's address cannot be read, or no socket can be made.
    pub(super) fn before(behind: BorrowedFd<'_>, is_ipv6: bool) -> Result<Self> {
        let address = rustix::net::getsockname(behind)?;
        let address = SocketAddr::try_from(address).context("reading the listener's address")?;
        let own = if is_ipv6 {
            IpAddr::V6(Ipv6Addr::LOCALHOST)
        } else {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        };
        let listener = std::net::TcpListener::bind((own, 0)).context("opening a listener before it")?;
        listener.set_nonblocking(true)?;
        let lent = listener.as_fd().try_clone_to_owned()?;
        let listener = TcpListener::from_std(listener)?;
        let target = SocketAddr::new(reachable(address.ip(), own), address.port());
        Ok(Self {
            listener: lent,
            accepting: tokio::spawn(accept(listener, target)),
        })
    }

    /// What stands in the map in place of the listener behind.
    pub(super) fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Where a listener is reached that is bound to this address: one for all addresses is, by loopback.
fn reachable(bound: IpAddr, loopback: IpAddr) -> IpAddr {
    match (bound.is_unspecified(), bound) {
        (false, address) => address,
        (true, IpAddr::V4(_)) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        (true, IpAddr::V6(_)) => loopback,
    }
}

async fn accept(listener: TcpListener, target: SocketAddr) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        match listener.accept().await {
            Ok((client, _)) => {
                tokio::spawn(async move {
                    if let Err(error) = pass(client, target).await {
                        debug!(%target, %error, "A relayed connection ended early");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%target, %error, "A connection to be relayed was not accepted");
                time::sleep(PAUSE).await;
            }
        }
    }
}

/// Passes bytes and ends of both directions on. Whatever else ends it resets both sides: a clean end would tell them that
/// they have everything.
async fn pass(mut client: TcpStream, target: SocketAddr) -> io::Result<()> {
    end_by_reset(&client, true)?;
    let mut platform = TcpStream::connect(target).await?;
    end_by_reset(&platform, true)?;
    client.set_nodelay(true)?;
    platform.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut platform).await?;
    end_by_reset(&client, false)?;
    end_by_reset(&platform, false)
}

/// Whether a connection ends by a reset when it is closed (`SO_LINGER` of 0 seconds, socket(7)).
fn end_by_reset(connection: &TcpStream, does: bool) -> io::Result<()> {
    let linger = does.then_some(Duration::ZERO);
    Ok(sockopt::set_socket_linger(connection, linger)?)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        thread,
    };

    use rustix::net::{AddressFamily, Protocol, SocketType, bind, listen, socket};

    use super::*;

    /// None where the kernel was built without it.
    fn multipath(address: SocketAddr) -> Option<std::net::TcpListener> {
        let protocol = Protocol::from_raw(MULTIPATH_TCP.try_into().unwrap());
        let family = if address.is_ipv6() {
            AddressFamily::INET6
        } else {
            AddressFamily::INET
        };
        let listener = socket(family, SocketType::STREAM, Some(protocol)).ok()?;
        bind(&listener, &address).unwrap();
        listen(&listener, 16).unwrap();
        Some(listener.into())
    }

    fn plain() -> std::net::TcpListener {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn what_speaks_multipath_tcp_is_known() {
        assert!(!is_multipath(plain().as_fd()));
        if let Some(listener) = multipath("127.0.0.1:0".parse().unwrap()) {
            assert!(is_multipath(listener.as_fd()));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn connections_are_passed_on_to_their_ends() {
        for (bound, is_ipv6) in [
            ("127.0.0.1:0", false),
            ("0.0.0.0:0", false),
            ("[::]:0", true),
            ("[::]:0", false),
        ] {
            let bound: SocketAddr = bound.parse().unwrap();
            let listener = multipath(bound).unwrap_or_else(|| std::net::TcpListener::bind(bound).unwrap());
            let relay = Relay::before(listener.as_fd(), is_ipv6).unwrap();
            let address = SocketAddr::try_from(rustix::net::getsockname(relay.listener()).unwrap()).unwrap();
            assert_eq!(address.is_ipv6(), is_ipv6);
            let server = thread::spawn(move || {
                let (mut connection, _) = listener.accept().unwrap();
                let mut read = Vec::new();
                // To the client's end, which comes though the client still reads.
                connection.read_to_end(&mut read).unwrap();
                connection.write_all(&read).unwrap();
            });
            let client = move || {
                let mut client = std::net::TcpStream::connect(address).unwrap();
                client.write_all(&[7; 300_000]).unwrap();
                client.shutdown(std::net::Shutdown::Write).unwrap();
                let mut read = Vec::new();
                client.read_to_end(&mut read).unwrap();
                read
            };
            assert_eq!(tokio::task::spawn_blocking(client).await.unwrap(), [7; 300_000]);
            server.join().unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_platform_that_is_gone_or_fails_ends_the_client_by_a_reset() {
        let listener = plain();
        let relay = Relay::before(listener.as_fd(), false).unwrap();
        let address = SocketAddr::try_from(rustix::net::getsockname(relay.listener()).unwrap()).unwrap();
        // A reset is told once, to whatever is done next.
        let ask = move || {
            let ask = || {
                let mut client = std::net::TcpStream::connect(address)?;
                client.write_all(b"a request")?;
                client.read_to_end(&mut Vec::new())
            };
            ask().unwrap_err().kind()
        };
        let server = thread::spawn(move || {
            let (connection, _) = listener.accept().unwrap();
            sockopt::set_socket_linger(&connection, Some(Duration::ZERO)).unwrap();
        });
        let fails = tokio::task::spawn_blocking(ask).await.unwrap();
        server.join().unwrap();
        let gone = tokio::task::spawn_blocking(ask).await.unwrap();
        assert_eq!([fails, gone], [io::ErrorKind::ConnectionReset; 2]);
    }
}
