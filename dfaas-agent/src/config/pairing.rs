//! How nodes prove to each other who they are.

use std::{collections::BTreeSet, time::Duration};

use dfaas_control::{NodeId, Tokenless};

use super::mistakes::Mistakes;
use crate::go_duration;

#[derive(Clone, Debug, clap::Args)]
pub(super) struct PairingOptions {
    /// How long a peer uses a token before it gets another, as in 10m
    #[arg(
        long,
        env = "AGENT_TOKEN_ROTATION",
        value_name = "DURATION",
        default_value = "10m"
    )]
    token_rotation: String,
    /// Peers that need no token because they are Go agents: node ids, separated by commas, or all
    #[arg(
        long,
        env = "AGENT_TOKENLESS_PEERS",
        value_name = "IDS",
        default_value = "",
        hide_default_value = true
    )]
    tokenless_peers: String,
}

/// What could be read of it.
pub(super) struct Section {
    pub(super) rotation: Option<Duration>,
    pub(super) tokenless: Option<Tokenless>,
}

impl PairingOptions {
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> Section {
        Section {
            rotation: mistakes.take("--token-rotation", go_duration::parse(&self.token_rotation)),
            tokenless: mistakes.take("--tokenless-peers", tokenless(&self.tokenless_peers)),
        }
    }
}

fn tokenless(text: &str) -> Result<Tokenless, String> {
    if text.trim() == "all" {
        return Ok(Tokenless::All);
    }
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let ids: Result<BTreeSet<NodeId>, String> = names
        .map(|name| {
            let is_peer_id = name.parse::<libp2p::PeerId>().is_ok();
            let id = NodeId::new(name).ok().filter(|_| is_peer_id);
            id.ok_or_else(|| format!("{name:?} is not a node id such as dfaas-agent id prints"))
        })
        .collect();
    ids.map(Tokenless::Only)
}
