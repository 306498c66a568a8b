//! How peers elsewhere are found.

use std::{num::NonZeroUsize, time::Duration};

use libp2p::Multiaddr;

use super::{
    boolean, go_duration,
    mistakes::Mistakes,
    overlay_tuning::{count, interval},
};
use crate::overlay::Discovery;

/// What the Go agents take for no time at all.
const IDLE: Duration = Duration::from_secs(60);
/// The public nodes of libp2p, as its Go library lists them.
const PUBLIC: [&str; 5] = [
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmQCU2EcMqAqQPR2i9bChDtGNJchTbq5TbXJJ16u19uLTa",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmbLHAnMoJPWSCR5Zhtx6BHJX9KiKNN6tpvvUcqanj75Nb",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmcZf59bWwK5XFi76CZX8cbJ4BhTzzA3gU1ZjYZcYW3dwt",
    "/ip4/104.131.131.82/tcp/4001/p2p/QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbtfsMvUqsRLuvuJ",
];

#[derive(Clone, Debug, clap::Args)]
pub(super) struct DiscoveryOptions {
    /// Whether to dial libp2p's public nodes too, and find peers through them
    #[arg(
        long,
        env = "AGENT_PUBLIC_BOOTSTRAP_NODES",
        value_name = "BOOL",
        default_value = "false"
    )]
    public_bootstrap_nodes: String,
    /// Whether to find peers of other networks in a DHT, by way of those that are dialled
    #[arg(long, env = "AGENT_KAD_ENABLED", value_name = "BOOL", default_value = "true")]
    kad_enabled: String,
    /// The name under which peers find each other in the DHT
    #[arg(
        long,
        env = "AGENT_RENDEZVOUS",
        value_name = "NAME",
        default_value = "dfaasagent-mYRGdJPC3chmJ"
    )]
    rendezvous: String,
    /// The protocol of the DHT; a federation with its own has a DHT of its own
    #[arg(
        long,
        env = "AGENT_KAD_PROTOCOL",
        value_name = "NAME",
        default_value = "/ipfs/kad/1.0.0"
    )]
    kad_protocol: String,
    /// The longest time between two looks into the DHT; they are more frequent while there are news
    #[arg(
        long,
        env = "AGENT_KAD_IDLE_TIME",
        value_name = "DURATION",
        default_value = "1m"
    )]
    kad_idle_time: String,
    /// The longest time between two advertisements of this node in the DHT
    #[arg(
        long,
        env = "AGENT_KAD_ADVERTISE_INTERVAL",
        value_name = "DURATION",
        default_value = "10m"
    )]
    kad_advertise_interval: String,
    /// How often the whole routing table of the DHT is refreshed
    #[arg(
        long,
        env = "AGENT_KAD_REFRESH_INTERVAL",
        value_name = "DURATION",
        default_value = "5m"
    )]
    kad_refresh_interval: String,
    /// How many nodes of the DHT keep what each node tells of itself
    #[arg(
        long,
        env = "AGENT_KAD_REPLICATION",
        value_name = "COUNT",
        default_value = "20"
    )]
    kad_replication: String,
}

/// Whom to dial, and how to find others.
pub(super) struct Section {
    pub(super) public: Vec<Multiaddr>,
    pub(super) discovery: Option<Discovery>,
}

impl DiscoveryOptions {
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> Option<Section> {
        let with_public = mistakes.take("--public-bootstrap-nodes", boolean(&self.public_bootstrap_nodes));
        let is_enabled = mistakes.take("--kad-enabled", boolean(&self.kad_enabled));
        let rendezvous = mistakes.take("--rendezvous", rendezvous(&self.rendezvous));
        let protocol = mistakes.take("--kad-protocol", protocol(&self.kad_protocol));
        let idle = mistakes.take("--kad-idle-time", go_duration::parse(&self.kad_idle_time));
        let advertise = mistakes.take("--kad-advertise-interval", interval(&self.kad_advertise_interval));
        let refresh = mistakes.take("--kad-refresh-interval", interval(&self.kad_refresh_interval));
        let replication = mistakes.take("--kad-replication", replication(&self.kad_replication));
        let discovery = Discovery {
            rendezvous: rendezvous?,
            protocol: protocol?,
            idle: Some(idle?).filter(|idle| !idle.is_zero()).unwrap_or(IDLE),
            advertise_every: advertise?,
            refresh: refresh?,
            replication: replication?,
        };
        Some(Section {
            public: if with_public? { public() } else { Vec::new() },
            discovery: is_enabled?.then_some(discovery),
        })
    }
}

fn public() -> Vec<Multiaddr> {
    let parse = |text: &str| text.parse().expect("the list is of multiaddresses");
    PUBLIC.into_iter().map(parse).collect()
}

fn rendezvous(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("peers meet under a name".to_owned());
    }
    Ok(text.to_owned())
}

fn protocol(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("{text:?} does not begin with a slash"));
    }
    Ok(text.to_owned())
}

fn replication(text: &str) -> Result<NonZeroUsize, String> {
    let count = count(text)?;
    usize::try_from(count)
        .ok()
        .and_then(NonZeroUsize::new)
        .ok_or_else(|| format!("{count} is too many"))
}
