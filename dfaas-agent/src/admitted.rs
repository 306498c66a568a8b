//! The file of the peers that are admitted, read again as soon as it changes.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::{Context, Result, anyhow};
use dfaas_control::NodeId;
use libp2p::PeerId;

/// Follows the file, if there is one.
#[derive(Debug)]
pub(crate) struct Admitted {
    file: Option<PathBuf>,
    /// What it said last.
    text: Option<String>,
}

impl Admitted {
    pub(crate) const fn new(file: Option<PathBuf>) -> Self {
        Self { file, text: None }
    }

    /// The peers, if they are others than at the last call. Call it every 200 ms.
    ///
    /// # Errors
    /// A file that cannot be read, or a line that is no identity; what was admitted before then stays.
    pub(crate) fn follow(&mut self) -> Result<Option<BTreeSet<NodeId>>> {
        let Some(file) = &self.file else {
            return Ok(None);
        };
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        if self.text.as_ref() == Some(&text) {
            return Ok(None);
        }
        let peers = parse(&text).with_context(|| format!("reading {}", file.display()))?;
        self.text = Some(text);
        Ok(Some(peers))
    }
}

fn parse(text: &str) -> Result<BTreeSet<NodeId>> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(node_id)
        .collect()
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

    const ID: &str = "12D3KooWDZ3JhNfXuAa45LAupXfujbY23kqReX22gGiGj3RiXAMd";

    #[test]
    fn a_file_is_told_once_until_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("admitted");
        let mut admitted = Admitted::new(Some(file.clone()));
        assert!(admitted.follow().is_err());
        fs::write(&file, format!("# ours\n\n  {ID}\n")).unwrap();
        let want = BTreeSet::from([NodeId::new(ID).unwrap()]);
        assert_eq!(admitted.follow().unwrap(), Some(want));
        assert_eq!(admitted.follow().unwrap(), None);
        fs::write(&file, "somebody\n").unwrap();
        let error = format!("{:#}", admitted.follow().unwrap_err());
        assert!(error.contains("\"somebody\" is not a node id"), "{error}");
        fs::write(&file, "").unwrap();
        assert_eq!(admitted.follow().unwrap(), Some(BTreeSet::new()));
    }

    #[test]
    fn without_a_file_there_is_nothing_to_tell() {
        assert_eq!(Admitted::new(None).follow().unwrap(), None);
    }
}
