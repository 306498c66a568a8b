//! Who listens where.

use std::net::{Ipv4Addr, SocketAddr};

use dfaas_testbed::Network;

/// The numbers of the hosts.
pub(crate) const FIRST: u8 = 1;
pub(crate) const SECOND: u8 = 2;
pub(crate) const CLIENT: u8 = 100;
/// Where the backend of each node listens: for the agent, too, which lends it to the kernel.
pub(crate) const BACKEND: u16 = 8090;
/// Where users reach our data plane.
pub(crate) const SERVICE: u16 = 80;

/// What a port of a proxy leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    /// The backend of its own node.
    Here = 0,
    /// The proxy of the second node.
    Next = 10,
    /// The backend of its own node, for those who may.
    Refusing = 20,
}

pub(crate) fn haproxy(workers: u16, hop: Hop) -> u16 {
    8000 + workers + hop as u16
}

pub(crate) fn nginx(workers: u16, hop: Hop) -> u16 {
    8100 + workers + hop as u16
}

/// The backend, as a proxy of the same node sees it.
pub(crate) fn backend() -> String {
    format!("127.0.0.1:{BACKEND}")
}

/// A port of the second node, as the first one sees it.
pub(crate) fn second_node(port: u16) -> String {
    format!("{}:{port}", Network::plain_address(SECOND))
}

/// The second node, as the client sees it through the first.
pub(crate) fn routed(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 79, 0, number)
}

/// Where the backend is reached without anything between.
pub(crate) fn direct(route: Route) -> SocketAddr {
    let host = match route {
        Route::Local => Network::plain_address(FIRST),
        Route::Forwarded => routed(SECOND),
    };
    (host, BACKEND).into()
}

/// On which node a request is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// The one that the client asks.
    Local,
    /// The other.
    Forwarded,
}
