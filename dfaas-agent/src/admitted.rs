//! The file of the peers that are admitted.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Result, anyhow};
use dfaas_control::NodeId;
use libp2p::PeerId;

use crate::followed_file::{self, FollowedFile};

/// The file, if there is one.
pub(crate) type Admitted = FollowedFile<BTreeSet<NodeId>>;

pub(crate) const fn follow(file: Option<PathBuf>) -> Admitted {
    FollowedFile::new(file, parse)
}

fn parse(text: &str) -> Result<BTreeSet<NodeId>> {
    followed_file::lines(text).map(node_id).collect()
}

/// Reads a node's identity as `dfaas-agent id` prints it.
///
/// # Errors
/// A text that is none.
pub(crate) fn node_id(text: &str) -> Result<NodeId> {
    let is_peer_id = text.parse::<PeerId>().is_ok();
    let id = NodeId::new(text).ok().filter(|_| is_peer_id);
    id.ok_or_else(|| {
        anyhow!("{text:?} is not a node id such as 12D3KooWDZ3JhNfXuAa45LAupXfujbY23kqReX22gGiGj3RiXAMd")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_node_ids() {
        const ID: &str = "12D3KooWDZ3JhNfXuAa45LAupXfujbY23kqReX22gGiGj3RiXAMd";
        let want = BTreeSet::from([NodeId::new(ID).unwrap()]);
        assert_eq!(parse(&format!("# ours\n\n  {ID}\n")).unwrap(), want);
        let error = format!("{:#}", parse("somebody\n").unwrap_err());
        assert!(error.contains("\"somebody\" is not a node id"), "{error}");
    }
}
