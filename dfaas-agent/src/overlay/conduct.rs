//! What peers may send: messages that can be read, and not too many of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dfaas_control::{Rejection, check_message};
use libp2p::PeerId;
use libp2p::gossipsub::MessageAcceptance;

/// Authors remembered: many times a federation. Who is not among them when all have written lately is not heard.
const AUTHORS_MAX: usize = 4096;

/// How much each author has written lately.
pub(super) struct Conduct {
    rate: f64,
    burst: f64,
    authors: BTreeMap<PeerId, Bucket>,
}

/// What an author may still write.
struct Bucket {
    level: f64,
    at: Instant,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    /// Nobody can read it.
    Malformed,
    /// It is longer than ours ever are. A Go agent with many peers may have that much to say.
    TooLarge,
    /// Its author writes too much.
    TooMany,
}

impl Conduct {
    /// Lets each author write so many messages a second, and for a moment twice as many.
    pub(super) fn new(rate: u32) -> Self {
        Self {
            rate: f64::from(rate),
            burst: 2.0 * f64::from(rate),
            authors: BTreeMap::new(),
        }
    }

    pub(super) fn judge(&mut self, now: Instant, author: PeerId, body: &[u8]) -> Verdict {
        if !self.may_write(now, author) {
            return Verdict::TooMany;
        }
        // What is readable and makes no sense to us may make sense to another strategy, or to a newer agent.
        match check_message(body) {
            Err(Rejection::Malformed) => Verdict::Malformed,
            Err(Rejection::TooLarge) => Verdict::TooLarge,
            Ok(()) | Err(_) => Verdict::Good,
        }
    }

    fn may_write(&mut self, now: Instant, author: PeerId) -> bool {
        let (rate, burst) = (self.rate, self.burst);
        if self.authors.len() >= AUTHORS_MAX && !self.authors.contains_key(&author) {
            self.authors.retain(|_, bucket| bucket.filled(now, rate) < burst);
            if self.authors.len() >= AUTHORS_MAX {
                return false;
            }
        }
        let bucket = self.authors.entry(author).or_insert(Bucket {
            level: burst,
            at: now,
        });
        bucket.level = bucket.filled(now, rate).min(burst);
        bucket.at = now;
        let may = bucket.level >= 1.0;
        if may {
            bucket.level -= 1.0;
        }
        may
    }
}

impl Bucket {
    fn filled(&self, now: Instant, rate: f64) -> f64 {
        let waited: Duration = now.saturating_duration_since(self.at);
        self.level + waited.as_secs_f64() * rate
    }
}

impl Verdict {
    /// What gossip is told. A peer checks what it passes on, so it answers for what cannot be read; how much others
    /// write it cannot know.
    pub(super) fn acceptance(self, is_from_author: bool) -> MessageAcceptance {
        match self {
            Self::Good => MessageAcceptance::Accept,
            Self::Malformed => MessageAcceptance::Reject,
            Self::TooMany if is_from_author => MessageAcceptance::Reject,
            Self::TooMany | Self::TooLarge => MessageAcceptance::Ignore,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;

    const GOOD: &[u8] = br#"{"MsgType":"of tomorrow"}"#;

    #[test]
    fn what_can_be_read_is_good() {
        for (body, want) in [
            (GOOD, Verdict::Good),
            // As a branch of the Go agents wraps what it adds.
            (
                br#"{"header":{"msg_type":"heartbeat","timestamp":1},"payload":{}}"#,
                Verdict::Good,
            ),
            (br#"{"MsgType":"nodeinfo"}"#, Verdict::Malformed),
            (br#"{"MsgType":5}"#, Verdict::Malformed),
            (b"{", Verdict::Malformed),
            (b"", Verdict::Malformed),
        ] {
            let verdict = Conduct::new(1).judge(now(), PeerId::random(), body);
            assert_eq!(verdict, want, "{}", body.escape_ascii());
        }
    }

    #[test]
    fn each_author_has_a_rate_of_its_own() {
        let (start, loud, quiet) = (now(), PeerId::random(), PeerId::random());
        let mut conduct = Conduct::new(10);
        let good = (0..100)
            .filter(|_| conduct.judge(start, loud, GOOD) == Verdict::Good)
            .count();
        assert_eq!(good, 20);
        assert_eq!(conduct.judge(start, quiet, GOOD), Verdict::Good);
        let later = start + Duration::from_secs(1);
        let good = (0..100)
            .filter(|_| conduct.judge(later, loud, GOOD) == Verdict::Good)
            .count();
        assert_eq!(good, 10);
    }

    #[test]
    fn a_host_of_authors_is_forgotten_only_when_it_is_silent() {
        let (start, mut conduct) = (now(), Conduct::new(10));
        for _ in 0..AUTHORS_MAX {
            conduct.judge(start, PeerId::random(), GOOD);
        }
        assert_eq!(conduct.judge(start, PeerId::random(), GOOD), Verdict::TooMany);
        let later = start + Duration::from_secs(1);
        assert_eq!(conduct.judge(later, PeerId::random(), GOOD), Verdict::Good);
        assert_eq!(conduct.authors.len(), 1);
    }

    #[test]
    fn who_passes_on_answers_for_what_cannot_be_read() {
        for (verdict, from_author, from_other) in [
            (
                Verdict::Good,
                MessageAcceptance::Accept,
                MessageAcceptance::Accept,
            ),
            (
                Verdict::Malformed,
                MessageAcceptance::Reject,
                MessageAcceptance::Reject,
            ),
            (
                Verdict::TooMany,
                MessageAcceptance::Reject,
                MessageAcceptance::Ignore,
            ),
            (
                Verdict::TooLarge,
                MessageAcceptance::Ignore,
                MessageAcceptance::Ignore,
            ),
        ] {
            let told =
                [true, false].map(|is_from_author| format!("{:?}", verdict.acceptance(is_from_author)));
            assert_eq!(told, [from_author, from_other].map(|want| format!("{want:?}")));
        }
    }
}
