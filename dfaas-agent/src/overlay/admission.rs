//! Whom the operator admits: nobody else is let in or listened to.

use std::collections::BTreeSet;

use dfaas_control::NodeId;
use libp2p::PeerId;

/// Peers remembered as kept out: many times a federation. Who is not among them is sent away whenever it comes.
const KEPT_OUT_MAX: usize = 4096;

/// Who may take part.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// All, if the operator has not said whom.
    admitted: Option<BTreeSet<PeerId>>,
    kept_out: BTreeSet<PeerId>,
}

impl Admission {
    pub(super) fn allows(&self, peer: &PeerId) -> bool {
        self.admitted
            .as_ref()
            .is_none_or(|admitted| admitted.contains(peer))
    }

    /// Others are admitted now; returns those that were kept out and are to be let in.
    pub(super) fn change(&mut self, admitted: &BTreeSet<NodeId>) -> Vec<PeerId> {
        let peers = admitted.iter().filter_map(|id| id.as_str().parse().ok());
        let admitted: BTreeSet<PeerId> = peers.collect();
        let welcome = self
            .kept_out
            .extract_if(.., |peer| admitted.contains(peer))
            .collect();
        self.admitted = Some(admitted);
        welcome
    }

    /// Of those who have joined the topic, whom to keep out from now on.
    pub(super) fn strangers(&mut self, members: &BTreeSet<PeerId>) -> Vec<PeerId> {
        let strangers = members.iter().filter(|peer| !self.allows(peer)).copied();
        let strangers: Vec<PeerId> = strangers.collect();
        let room = KEPT_OUT_MAX.saturating_sub(self.kept_out.len());
        self.kept_out.extend(strangers.iter().take(room));
        strangers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity;

    #[test]
    fn everybody_is_let_in_until_the_operator_says_whom() {
        let [one, other] = [PeerId::random(), PeerId::random()];
        let members = BTreeSet::from([one, other]);
        let mut admission = Admission::default();
        assert!(admission.allows(&one) && admission.strangers(&members).is_empty());
        let names = |peers: &[PeerId]| peers.iter().map(|&peer| identity::peer_name(peer)).collect();
        assert_eq!(admission.change(&names(&[one])), []);
        assert_eq!(admission.strangers(&members), [other]);
        assert!(admission.allows(&one) && !admission.allows(&other));
        assert_eq!(admission.change(&names(&[one, other])), [other]);
        assert!(admission.allows(&other));
        assert_eq!(admission.change(&names(&[])), [], "nobody was kept out");
        assert!(!admission.allows(&one));
    }

    #[test]
    fn what_is_remembered_of_strangers_is_bounded() {
        let mut admission = Admission::default();
        admission.change(&BTreeSet::new());
        let members: BTreeSet<PeerId> = (0..KEPT_OUT_MAX + 9).map(|_| PeerId::random()).collect();
        assert_eq!(admission.strangers(&members).len(), members.len());
        assert_eq!(admission.kept_out.len(), KEPT_OUT_MAX);
    }
}
