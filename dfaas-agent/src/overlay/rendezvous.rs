//! Where members of a federation leave word in the DHT, and when they look there.

use std::time::{Duration, Instant};

use libp2p::kad::RecordKey;
use sha2::{Digest, Sha256};

/// The first look comes so long after news, and so do further ones as long as there are news: connections that open
/// together make one look, not one each.
const DELAY_MIN: Duration = Duration::from_millis(500);
/// What stands before a SHA-256 in a multihash: its code and its length.
const SHA2_256: [u8; 2] = [0x12, 0x20];

/// The key under which members of the federation `name` are found: the multihash of the CID that routing discovery of
/// go-libp2p makes of a name. Its DHT takes the multihash alone for a key.
pub(super) fn key(name: &str) -> RecordKey {
    let digest = Sha256::digest(name);
    RecordKey::new(&[SHA2_256.as_slice(), digest.as_slice()].concat())
}

/// When to look for members, and when to leave word again.
pub(super) struct Rendezvous {
    /// The longest time between two looks.
    idle: Duration,
    advertise_every: Duration,
    delay: Duration,
    due: Instant,
    advertise_due: Instant,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// Look who left word.
    Look,
    /// Leave word, and look who did.
    AdvertiseAndLook,
}

impl Rendezvous {
    /// Looks at least every `idle` and leaves word at least every `advertise_every`.
    pub(super) fn new(now: Instant, idle: Duration, advertise_every: Duration) -> Self {
        Self {
            idle,
            advertise_every,
            delay: DELAY_MIN.min(idle),
            due: now,
            advertise_due: now,
        }
    }

    /// Notes that there is a way to nodes that were out of reach, which may know of others and nothing of us.
    pub(super) fn stir(&mut self, now: Instant) {
        self.delay = DELAY_MIN.min(self.idle);
        self.due = self.due.min(now + self.delay);
        self.advertise_due = now;
    }

    /// What is due. Without news, looks become rarer.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Round> {
        if now < self.due {
            return None;
        }
        self.due = now + self.delay;
        self.delay = (self.delay * 2).min(self.idle);
        if now < self.advertise_due {
            return Some(Round::Look);
        }
        self.advertise_due = now + self.advertise_every;
        Some(Round::AdvertiseAndLook)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_name_has_the_key_that_go_gives_it() {
        // `printf dfaasagent | sha256sum`, behind the code and length of SHA-256.
        let want = "1220e46fb87b7a01dfcd4c745390306d6a877b00b28daebbaca7b59b8d67f092799c";
        assert_eq!(hex(key("dfaasagent").as_ref()), want);
    }

    #[test]
    fn looks_become_rarer_until_there_are_news() {
        let start = now();
        let mut rendezvous = Rendezvous::new(start, 60 * S, 600 * S);
        assert_eq!(rendezvous.poll(start), Some(Round::AdvertiseAndLook));
        let mut at = start;
        for wait_ms in [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
            let wait = Duration::from_millis(wait_ms);
            assert_eq!(rendezvous.poll(at + wait - S / 1000), None, "{wait:?}");
            at += wait;
            assert_eq!(rendezvous.poll(at), Some(Round::Look), "{wait:?}");
        }
        rendezvous.stir(at);
        assert_eq!(rendezvous.poll(at), None);
        assert_eq!(rendezvous.poll(at + DELAY_MIN), Some(Round::AdvertiseAndLook));
    }

    #[test]
    fn word_is_left_again_without_news() {
        let start = now();
        let mut rendezvous = Rendezvous::new(start, 60 * S, 100 * S);
        rendezvous.poll(start);
        let rounds: Vec<u64> = (1..400)
            .filter(|second| rendezvous.poll(start + S * *second as u32) == Some(Round::AdvertiseAndLook))
            .collect();
        assert_eq!(rounds.len(), 3, "{rounds:?}");
    }

    #[test]
    fn a_short_idle_time_is_the_longest_delay() {
        let start = now();
        let mut rendezvous = Rendezvous::new(start, S / 10, 600 * S);
        rendezvous.poll(start);
        assert_eq!(rendezvous.poll(start + S / 10), Some(Round::Look));
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
