//! How nodes prove to each other who they are.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use dfaas_control::{NodeId, Tokenless};

use super::mistakes::{Kind, Mistakes};
use crate::{
    admitted::{self, node_id},
    go_duration,
};

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
    /// A file of the peers that are admitted, a node id a line; read again when it changes [default: all are admitted]
    #[arg(long, env = "AGENT_ADMITTED_PEERS_FILE", value_name = "FILE")]
    admitted_peers_file: Option<PathBuf>,
}

/// What could be read of it.
pub(super) struct Section {
    pub(super) rotation: Option<Duration>,
    pub(super) tokenless: Option<Tokenless>,
    pub(super) admitted_file: Option<PathBuf>,
}

impl PairingOptions {
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> Section {
        Section {
            rotation: mistakes.take("--token-rotation", go_duration::parse(&self.token_rotation)),
            tokenless: mistakes.take("--tokenless-peers", tokenless(&self.tokenless_peers)),
            admitted_file: self.admitted_file(mistakes),
        }
    }
}

impl PairingOptions {
    fn admitted_file(&self, mistakes: &mut Mistakes) -> Option<PathBuf> {
        let named = self.admitted_peers_file.clone();
        // An empty variable is one that was not set.
        let file = named.filter(|file| !file.as_os_str().is_empty());
        if let Err(error) = admitted::follow(file.clone()).follow() {
            mistakes.note(Kind::Host, "--admitted-peers-file", format_args!("{error:#}"));
        }
        file
    }
}

fn tokenless(text: &str) -> Result<Tokenless, String> {
    if text.trim() == "all" {
        return Ok(Tokenless::All);
    }
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let ids: Result<BTreeSet<NodeId>, String> = names
        .map(|name| node_id(name).map_err(|error| error.to_string()))
        .collect();
    ids.map(Tokenless::Only)
}
