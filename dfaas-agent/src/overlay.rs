//! The overlay between nodes: a gossip topic over libp2p, and who is connected to us.

use std::collections::BTreeSet;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use dfaas_control::{MESSAGE_BYTES_MAX, NodeId, Token};
use libp2p::Multiaddr;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::pnet::PreSharedKey;
use serde::Serialize;
use tokio::sync::{Notify, mpsc, watch};

mod addresses;
mod admission;
mod conduct;
mod dialer;
mod finder;
mod peers;
mod reach;
mod rendezvous;
mod swarm;
mod task;
mod tokens;
mod transport;
mod tuning;

use task::Task;
use tokens::Telling;
pub(crate) use tuning::{Tuning, silence};

/// Bodies waiting to be published. The mind makes one a second, so a full queue means that the task hangs.
const PUBLISH_QUEUE: usize = 64;
/// Tokens waiting to be told: one for each peer that a node keeps. What does not fit is told again later.
const TOKEN_QUEUE: usize = 1024;
/// Events waiting for the mind: some seconds' worth of messages from a hundred nodes.
const EVENT_QUEUE: usize = 1024;
/// How long a listener may take to say that it listens. It has bound its port before that.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the overlay listens, who it is and whom it looks for.
pub(crate) struct OverlayConfig {
    /// Addresses to listen on; none makes a node that only dials.
    pub(crate) listen: Vec<Multiaddr>,
    /// The key that signs messages and whose public half is the node's identity.
    pub(crate) keypair: Keypair,
    /// Addresses dialled until they answer, with or without `/p2p/ID` at their end.
    pub(crate) bootstrap: Vec<Multiaddr>,
    /// Whether nodes on the same network segment are found by multicast DNS.
    pub(crate) mdns: bool,
    /// How nodes elsewhere are found, if they are.
    pub(crate) discovery: Option<Discovery>,
    /// The gossip topic; nodes hear each other only on the same one.
    pub(crate) topic: String,
    /// Whether others can dial this node.
    pub(crate) behind_nat: BehindNat,
    /// How much this node carries for others, if it does.
    pub(crate) relay: Option<RelayLimits>,
    /// What all nodes of a private federation know, and nobody else. There is no QUIC then.
    pub(crate) swarm_key: Option<PreSharedKey>,
    /// Intervals and limits.
    pub(crate) tuning: Tuning,
}

/// Whether others cannot dial a node, so that it has to be reached through relays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BehindNat {
    Yes,
    No,
    /// Others are asked to dial back, which is tried between public addresses only.
    Unknown,
}

/// How much a node carries for those who cannot be dialled.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RelayLimits {
    /// Nodes that are reached through this one.
    pub(crate) reservations_max: usize,
    /// Connections carried at a time.
    pub(crate) circuits_max: usize,
    /// Connections carried at a time that one node opened.
    pub(crate) circuits_per_peer_max: usize,
    /// How long one may last. Its ends open another one then.
    pub(crate) circuit_time_max: Duration,
    /// How much one may carry in each direction.
    pub(crate) circuit_bytes_max: u64,
}

/// How nodes of a federation find each other in a DHT.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Discovery {
    /// The name under which members leave word.
    pub(crate) rendezvous: String,
    /// The protocol of the DHT; nodes are in the same one only by the same.
    pub(crate) protocol: String,
    /// The longest time between two looks for members.
    pub(crate) idle: Duration,
    /// The longest time between two advertisements of this node.
    pub(crate) advertise_every: Duration,
    /// How often the routing table is refreshed.
    pub(crate) refresh: Duration,
    /// How many nodes are told of each member, and how many members each of them tells of.
    pub(crate) replication: NonZeroUsize,
}

/// What the overlay tells.
#[derive(Debug)]
pub(crate) enum OverlayEvent {
    /// It listens on this address.
    Listening(Multiaddr),
    /// It listens there no more.
    Unlistening(Multiaddr),
    /// A node is connected, or its round-trip time became known or different.
    PeerUp {
        /// The node.
        id: NodeId,
        /// The round-trip time, once one was measured.
        rtt: Option<Duration>,
    },
    /// The last connection to a node is closed, or it stopped answering.
    PeerDown {
        /// The node.
        id: NodeId,
    },
    /// A node published a body.
    Message {
        /// Who signed it, which need not be who passed it on.
        from: NodeId,
        /// What it published.
        body: Vec<u8>,
    },
    /// A node told its token, to this node alone.
    TokenTold {
        /// The node.
        from: NodeId,
        /// What it wants to be sent.
        token: Token,
        /// Whether it has a token of this node.
        has_ours: bool,
    },
    /// A node has taken a token of this node.
    TokenTaken {
        /// The node.
        by: NodeId,
        /// The token.
        token: Token,
    },
}

/// What the overlay did since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct OverlayCounts {
    /// Bodies given to at least one peer.
    pub(crate) published: u64,
    /// Messages passed to the mind.
    pub(crate) received: u64,
    /// Messages refused because of their size or topic, because they cannot be read, or are too many of one author.
    pub(crate) rejected: u64,
    /// Bodies and messages lost because they were too large or a queue was full.
    pub(crate) dropped: u64,
    /// Times that members were looked for in the DHT.
    pub(crate) looks: u64,
    /// Members that were found there and not connected.
    pub(crate) found: u64,
    /// Nodes sent away because they did not join the topic.
    pub(crate) strangers: u64,
    /// Nodes sent away, and messages and tokens dropped, because the operator does not admit who they are of.
    pub(crate) unadmitted: u64,
    /// Nodes banned for a while because of what they sent.
    pub(crate) banned: u64,
    /// Incoming connections that ended before their other end had proven who it is, or had another pre-shared key.
    pub(crate) unproven: u64,
    /// Direct connections to nodes that nobody can dial, opened from both ends at once.
    pub(crate) punched: u64,
}

/// The side of the overlay that the rest of the agent holds. The overlay ends with its last handle.
#[derive(Clone)]
pub(crate) struct OverlayHandle {
    publishes: mpsc::Sender<Vec<u8>>,
    tellings: mpsc::Sender<Telling>,
    admitted: watch::Sender<BTreeSet<NodeId>>,
    shared: Arc<Shared>,
}

impl OverlayHandle {
    /// Tells a connected node its token, soon. Never blocks; what does not fit is left to the next attempt.
    pub(crate) fn tell_token(&self, to: NodeId, token: Token, has_theirs: bool) {
        let telling = Telling {
            to,
            token,
            has_theirs,
        };
        if self.tellings.try_send(telling).is_err() {
            self.shared.dropped.increment();
        }
    }

    /// Lets these nodes in from now on, and no others.
    pub(crate) fn admit(&self, nodes: BTreeSet<NodeId>) {
        self.admitted.send_replace(nodes);
    }

    /// Publishes `body` to all connected nodes, soon. Never blocks; what does not fit is counted and dropped.
    pub(crate) fn publish(&self, body: Vec<u8>) {
        if body.len() > MESSAGE_BYTES_MAX || self.publishes.try_send(body).is_err() {
            self.shared.dropped.increment();
        }
    }

    /// What the overlay did so far.
    pub(crate) fn counts(&self) -> OverlayCounts {
        OverlayCounts {
            published: self.shared.published.load(),
            received: self.shared.received.load(),
            rejected: self.shared.rejected.load(),
            dropped: self.shared.dropped.load(),
            looks: self.shared.looks.load(),
            found: self.shared.found.load(),
            strangers: self.shared.strangers.load(),
            unadmitted: self.shared.unadmitted.load(),
            banned: self.shared.banned.load(),
            unproven: self.shared.unproven.load(),
            punched: self.shared.punched.load(),
        }
    }

    /// How many nodes are connected.
    pub(crate) fn connected(&self) -> usize {
        self.shared.connected.load(Ordering::Relaxed)
    }

    /// Closes all connections and ends the overlay.
    pub(crate) fn stop(&self) {
        self.shared.stop.notify_one();
    }
}

/// What the task and its handles both see.
#[derive(Default)]
struct Shared {
    published: Counter,
    received: Counter,
    rejected: Counter,
    dropped: Counter,
    looks: Counter,
    found: Counter,
    strangers: Counter,
    unadmitted: Counter,
    banned: Counter,
    unproven: Counter,
    punched: Counter,
    connected: AtomicUsize,
    stop: Notify,
}

#[derive(Default)]
struct Counter(AtomicU64);

impl Counter {
    fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Starts the overlay in a task of the running tokio runtime, once every address is listened on.
///
/// # Errors
///
/// Fails if an address cannot be listened on, or multicast DNS cannot watch the network interfaces.
pub(crate) async fn start(config: OverlayConfig) -> Result<(OverlayHandle, mpsc::Receiver<OverlayEvent>)> {
    for address in &config.listen {
        check_free(address).with_context(|| format!("listen on {address}"))?;
    }
    let (publishes, publish_queue) = mpsc::channel(PUBLISH_QUEUE);
    let (tellings, telling_queue) = mpsc::channel(TOKEN_QUEUE);
    let (admitted, admissions) = watch::channel(BTreeSet::new());
    let (event_queue, events) = mpsc::channel(EVENT_QUEUE);
    let shared = Arc::new(Shared::default());
    let mut task = Task::new(
        &config,
        (publish_queue, telling_queue, admissions),
        event_queue,
        Arc::clone(&shared),
    )?;
    task.listen(&config.listen).await?;
    tokio::spawn(task.run());
    let handle = OverlayHandle {
        publishes,
        tellings,
        admitted,
        shared,
    };
    Ok((handle, events))
}

/// Fails if somebody listens on `address`. libp2p sets `SO_REUSEPORT`, so a second agent of the same user would start
/// and quietly take half of the connections.
fn check_free(address: &Multiaddr) -> Result<()> {
    let mut ip = None;
    for protocol in address {
        if let Protocol::Ip4(v4) = protocol {
            ip = Some(IpAddr::from(v4));
        } else if let Protocol::Ip6(v6) = protocol {
            ip = Some(IpAddr::from(v6));
        } else if let (Some(ip), Protocol::Tcp(port) | Protocol::Udp(port)) = (ip, &protocol) {
            // The standard library binds `::` for both families, libp2p for one; they would be in each other's way.
            let both_families = ip.is_ipv6() && ip.is_unspecified();
            if *port == 0 || both_families {
                continue;
            }
            if matches!(protocol, Protocol::Udp(_)) {
                UdpSocket::bind((ip, *port))?;
            } else {
                TcpListener::bind((ip, *port))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
