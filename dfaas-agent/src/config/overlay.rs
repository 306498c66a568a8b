//! How the agent meets its peers.

use std::{fmt::Display, fs, net::IpAddr, path::PathBuf, time::Duration};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol, pnet::PreSharedKey};

use super::{
    boolean,
    discovery::DiscoveryOptions,
    mistakes::{Kind, Mistakes},
    overlay_tuning::TuningOptions,
    relay::RelayOptions,
};
use crate::{
    federation::{self, Files},
    identity,
    overlay::{BehindNat, Discovery, RelayLimits, Tuning},
};

/// Where the identity of the node is kept.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct KeyOptions {
    /// Where the agent keeps what has to last
    #[arg(
        long,
        env = "AGENT_STATE_DIR",
        value_name = "DIR",
        default_value = "/var/lib/dfaas"
    )]
    pub(crate) state_dir: PathBuf,
    /// The node's private key; made if it is missing [default: identity.pem in the state directory]
    #[arg(long, env = "AGENT_PRIVATE_KEY_FILE", value_name = "FILE")]
    private_key_file: Option<PathBuf>,
}

/// Where a node waits for others.
#[derive(Clone, Debug, clap::Args)]
struct ListenOptions {
    /// Where to listen for peers: multiaddresses, separated by commas
    #[arg(
        long,
        env = "AGENT_LISTEN",
        value_name = "ADDRS",
        default_value = "/ip4/0.0.0.0/tcp/31600"
    )]
    listen: String,
}

impl ListenOptions {
    fn check(&self) -> Result<Vec<Multiaddr>, String> {
        multiaddrs(self.listen.split(','), listening)
    }
}

/// Where others meet a node.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MeetingOptions {
    #[command(flatten)]
    listen: ListenOptions,
    /// Where others can dial this node, if that is somewhere else: multiaddresses, separated by commas
    #[arg(long, value_name = "ADDRS", default_value = "", hide_default_value = true)]
    address: String,
    #[command(flatten)]
    pub(crate) key: KeyOptions,
}

impl MeetingOptions {
    /// Where the node of this identity can be dialled.
    ///
    /// # Errors
    /// What is no address.
    pub(crate) fn addresses(&self, host: &[IpAddr], node: PeerId) -> Result<Vec<Multiaddr>, Mistakes> {
        let mut mistakes = Mistakes::default();
        let listen = mistakes.take("--listen", self.listen.check());
        let told = mistakes.take("--address", multiaddrs(self.address.split(','), listening));
        let (Some(listen), Some(told)) = (listen, told) else {
            return Err(mistakes);
        };
        let listen = if told.is_empty() { listen } else { told };
        let addresses = federation::addresses(&listen, host, node);
        if addresses.is_empty() {
            let text = "this host has no address at which others could dial it; name one";
            mistakes.note(Kind::Host, "--address", text);
        }
        mistakes.none_or_else(addresses)
    }
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct OverlayOptions {
    #[command(flatten)]
    listen: ListenOptions,
    /// Whether to listen and dial over QUIC too, at the UDP ports of the same numbers: true, false, or auto for wherever
    /// there is no pre-shared key
    #[arg(long, env = "AGENT_QUIC_ENABLED", value_name = "BOOL", default_value = "auto")]
    quic_enabled: String,
    #[command(flatten)]
    key: KeyOptions,
    /// The pre-shared key of a private federation, in a file such as go-ipfs' swarm.key; TCP only
    /// [default: swarm.key in the state directory, if `federation new` or `join` has put it there]
    #[arg(long, env = "AGENT_SWARM_KEY_FILE", value_name = "FILE")]
    swarm_key_file: Option<PathBuf>,
    /// Whether to dial the peers that are named below
    #[arg(
        long,
        env = "AGENT_BOOTSTRAP_NODES",
        value_name = "BOOL",
        default_value = "true"
    )]
    bootstrap_nodes: String,
    /// Peers to dial: multiaddresses, separated by commas
    #[arg(
        long,
        env = "AGENT_BOOTSTRAP_NODES_LIST",
        value_name = "ADDRS",
        default_value = ""
    )]
    bootstrap_nodes_list: String,
    /// A file of peers to dial, a multiaddress a line [default: bootstrap in the state directory, if `federation join` has put
    /// it there]
    #[arg(long, env = "AGENT_BOOTSTRAP_NODES_FILE", value_name = "FILE")]
    bootstrap_nodes_file: Option<PathBuf>,
    /// Whether to find peers of this network by mDNS
    #[arg(long, env = "AGENT_MDNS_ENABLED", value_name = "BOOL", default_value = "true")]
    mdns_enabled: String,
    #[command(flatten)]
    discovery: DiscoveryOptions,
    /// The topic on which agents of a federation meet
    #[arg(
        long,
        env = "AGENT_PUBSUB_TOPIC",
        value_name = "NAME",
        default_value = "/dfaasagent/1.0.0"
    )]
    pubsub_topic: String,
    #[command(flatten)]
    relay: RelayOptions,
    #[command(flatten)]
    tuning: TuningOptions,
}

pub(super) struct Section {
    pub(super) listen: Vec<Multiaddr>,
    pub(super) key_file: PathBuf,
    pub(super) state_dir: PathBuf,
    pub(super) swarm_key: Option<PreSharedKey>,
    pub(super) bootstrap: Vec<Multiaddr>,
    pub(super) mdns: bool,
    pub(super) discovery: Option<Discovery>,
    pub(super) behind_nat: BehindNat,
    pub(super) relay: Option<RelayLimits>,
    pub(super) tuning: Tuning,
    pub(super) topic: String,
}

impl KeyOptions {
    /// Where the key is.
    pub(crate) fn file(&self) -> PathBuf {
        match &self.private_key_file {
            // An empty variable is one that was not set.
            Some(file) if !file.as_os_str().is_empty() => file.clone(),
            Some(_) | None => self.state_dir.join("identity.pem"),
        }
    }
}

impl OverlayOptions {
    pub(super) fn check(&self, period: Duration, mistakes: &mut Mistakes) -> Option<Section> {
        let listen = self.listen.check().and_then(some);
        let listen = mistakes.take("--listen", listen);
        let swarm_key = self.swarm_key(mistakes);
        let listen = self.with_quic(listen, self.has_swarm_key(), mistakes);
        let list = mistakes.take(
            "--bootstrap-nodes-list",
            multiaddrs(self.bootstrap_nodes_list.split(','), dialling),
        );
        let file = self.bootstrap_file(mistakes);
        let dials = mistakes.take("--bootstrap-nodes", boolean(&self.bootstrap_nodes));
        let mdns = mistakes.take("--mdns-enabled", boolean(&self.mdns_enabled));
        let discovery = self.discovery.check(mistakes);
        let topic = mistakes.take("--pubsub-topic", topic(&self.pubsub_topic));
        let tuning = self.tuning.check(period, mistakes);
        let relay = self.relay.check(mistakes);
        let (discovery, relay, tuning) = (discovery?, relay?, tuning?);
        let mut bootstrap = list?;
        bootstrap.extend(file?);
        bootstrap.extend(discovery.public);
        if !dials? {
            bootstrap.clear();
        }
        Some(Section {
            listen: listen?,
            key_file: self.key.file(),
            state_dir: self.key.state_dir.clone(),
            swarm_key: swarm_key?,
            bootstrap,
            mdns: mdns? && !tuning.mdns_interval.is_zero(),
            discovery: discovery.discovery,
            behind_nat: relay.behind_nat,
            relay: relay.relay,
            tuning,
            topic: topic?,
        })
    }

    fn has_swarm_key(&self) -> bool {
        self.swarm_key_file().is_some()
    }

    /// The key's file: the one that is named, or what was put into the state directory.
    fn swarm_key_file(&self) -> Option<PathBuf> {
        let own = Files::of(&self.key.state_dir).swarm_key;
        named(self.swarm_key_file.as_ref()).or_else(|| Some(own).filter(|file| file.exists()))
    }

    /// The addresses to listen on, and those of QUIC beside those of TCP.
    fn with_quic(
        &self,
        listen: Option<Vec<Multiaddr>>,
        is_private: bool,
        mistakes: &mut Mistakes,
    ) -> Option<Vec<Multiaddr>> {
        const FLAG: &str = "--quic-enabled";
        const CONFLICT: &str = "QUIC cannot carry a pre-shared key (--swarm-key-file)";
        let is_asked_for = match self.quic_enabled.trim() {
            "auto" => Some(None),
            text => mistakes.take(FLAG, boolean(text).map(Some)),
        }?;
        let mut listen = listen?;
        if is_private && is_asked_for == Some(true) {
            mistakes.note(Kind::Usage, FLAG, CONFLICT);
            return None;
        }
        if is_private && listen.iter().any(is_quic) {
            mistakes.note(Kind::Usage, "--listen", CONFLICT);
            return None;
        }
        if is_asked_for.unwrap_or(!is_private) {
            for beside in listen.iter().filter_map(quic_beside).collect::<Vec<_>>() {
                if !listen.contains(&beside) {
                    listen.push(beside);
                }
            }
        }
        Some(listen)
    }

    fn swarm_key(&self, mistakes: &mut Mistakes) -> Option<Option<PreSharedKey>> {
        const FLAG: &str = "--swarm-key-file";
        let Some(path) = self.swarm_key_file() else {
            return Some(None);
        };
        match identity::read_private(&path) {
            Ok(text) => {
                let wrong = |error| format!("{} is no swarm.key: {error}", path.display());
                let key = text.parse::<PreSharedKey>().map_err(wrong);
                mistakes.take(FLAG, key).map(Some)
            }
            Err(error) => {
                mistakes.note(Kind::Host, FLAG, format_args!("{error:#}"));
                None
            }
        }
    }

    fn bootstrap_file(&self, mistakes: &mut Mistakes) -> Option<Vec<Multiaddr>> {
        const FLAG: &str = "--bootstrap-nodes-file";
        let own = Files::of(&self.key.state_dir).bootstrap;
        let named = named(self.bootstrap_nodes_file.as_ref());
        let Some(path) = named.or_else(|| Some(own).filter(|file| file.exists())) else {
            return Some(Vec::new());
        };
        match fs::read_to_string(&path) {
            Ok(text) => mistakes.take(
                FLAG,
                multiaddrs(
                    text.lines().filter(|line| !line.trim().starts_with('#')),
                    dialling,
                ),
            ),
            Err(error) => {
                mistakes.note(Kind::Host, FLAG, format_args!("{}: {error}", path.display()));
                None
            }
        }
    }
}

/// A file that is named; an empty variable is one that was not set.
fn named(file: Option<&PathBuf>) -> Option<PathBuf> {
    file.filter(|file| !file.as_os_str().is_empty()).cloned()
}

/// What is wrong with the protocols of an address for a use of it, if anything.
type Objection = fn(&[Protocol<'_>]) -> Option<&'static str>;

fn multiaddrs<'a>(
    texts: impl Iterator<Item = &'a str>,
    objection: Objection,
) -> Result<Vec<Multiaddr>, String> {
    let texts = texts.map(str::trim).filter(|text| !text.is_empty());
    texts.map(|text| multiaddr(text, objection)).collect()
}

fn multiaddr(text: &str, objection: Objection) -> Result<Multiaddr, String> {
    let wrong = |reason: &dyn Display| {
        format!("{text:?} is not a multiaddress such as /ip4/192.0.2.1/tcp/31600: {reason}")
    };
    let address: Multiaddr = text.parse().map_err(|error| wrong(&error))?;
    let protocols: Vec<Protocol<'_>> = address.iter().collect();
    match objection(&protocols) {
        None => Ok(address),
        Some(reason) => Err(wrong(&reason)),
    }
}

fn listening(protocols: &[Protocol<'_>]) -> Option<&'static str> {
    match protocols {
        [Protocol::Ip4(_) | Protocol::Ip6(_), Protocol::Tcp(_)]
        | [
            Protocol::Ip4(_) | Protocol::Ip6(_),
            Protocol::Udp(_),
            Protocol::QuicV1,
        ] => None,
        _ => Some("agents listen over TCP or QUIC, at IP addresses"),
    }
}

fn is_quic(address: &Multiaddr) -> bool {
    address.iter().any(|protocol| protocol == Protocol::QuicV1)
}

/// The address of QUIC that has the same number as one of TCP.
fn quic_beside(address: &Multiaddr) -> Option<Multiaddr> {
    let mut protocols = address.iter();
    match (protocols.next(), protocols.next()) {
        (Some(ip), Some(Protocol::Tcp(port))) => {
            let quic = [ip, Protocol::Udp(port), Protocol::QuicV1];
            Some(quic.into_iter().collect())
        }
        _ => None,
    }
}

fn dialling(protocols: &[Protocol<'_>]) -> Option<&'static str> {
    let way = match protocols {
        [way @ .., Protocol::P2p(_)] => way,
        way => way,
    };
    match way {
        [
            Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_),
            way @ ..,
        ] => match way {
            [Protocol::Tcp(_)] | [Protocol::Udp(_), Protocol::QuicV1] => None,
            _ => Some("agents meet over TCP or QUIC"),
        },
        // What such a name stands for is an address of its own, and must be whose the identity is.
        [Protocol::Dnsaddr(_)] if way.len() < protocols.len() => None,
        _ => Some("agents meet over TCP or QUIC, at IP addresses or names"),
    }
}

fn some(addresses: Vec<Multiaddr>) -> Result<Vec<Multiaddr>, String> {
    if addresses.is_empty() {
        Err("there is no address".to_owned())
    } else {
        Ok(addresses)
    }
}

fn topic(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("a topic has a name".to_owned())
    } else {
        Ok(text.to_owned())
    }
}
