//! What HAProxy has counted, kept over its restarts, and told in the agent's terms.

use std::collections::BTreeMap;

use dfaas_control::{Counters, FunctionName, NodeId};

use super::rows::OWN_SHARE;
use crate::data_plane::Totals;

/// The key of requests with a token that is not their sender's.
pub(super) const FORGED: &str = "x/403/forged";

/// Counts by the keys of the stick table. They never sink.
pub(super) type Counts = BTreeMap<String, u64>;

/// Sums up the counters of one HAProxy after another.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    seen: Counts,
    totals: Counts,
}

impl Ledger {
    /// Begins to read the counters of a process that has counted for somebody else.
    pub(super) fn begin_at(&mut self, reading: &[(String, u64)]) {
        self.seen = reading.iter().cloned().collect();
    }

    /// Begins to read the counters of a process that has begun at zero.
    pub(super) fn turn_page(&mut self) {
        self.seen.clear();
    }

    /// Adds what was counted since the last reading.
    pub(super) fn note(&mut self, reading: Vec<(String, u64)>) {
        let reading: Counts = reading.into_iter().collect();
        for (key, &count) in &reading {
            if self.seen.get(key) == Some(&count) {
                continue;
            }
            // A row that was not used for long is dropped and begins at zero again.
            let before = self.seen.get(key).copied().filter(|&before| before <= count);
            *self.totals.entry(key.clone()).or_default() += count - before.unwrap_or_default();
        }
        self.seen = reading;
    }

    pub(super) fn totals(&self) -> &Counts {
        &self.totals
    }
}

/// What became of requests, as the key of a counter tells.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Local(FunctionName),
    Forwarded(FunctionName, NodeId),
    Admitted(FunctionName, NodeId),
    /// Refused to a peer or, without room anywhere, to users; by status code.
    Refused(FunctionName, u16),
    /// Refused before a function was known.
    RefusedUnknown(u16),
    /// Refused for a token that is not the sender's.
    Forged,
}

impl Fate {
    fn of(key: &str) -> Option<Self> {
        let mut parts = key.splitn(3, '/');
        let (kind, name, peer) = (parts.next()?, parts.next()?, parts.next());
        let function = || FunctionName::new(name).ok();
        let is_own = peer == Some(OWN_SHARE);
        let peer = || NodeId::new(peer?).ok();
        match kind {
            "l" => Some(Self::Local(function()?)),
            "c" if is_own => Some(Self::Local(function()?)),
            "c" => Some(Self::Forwarded(function()?, peer()?)),
            "a" => Some(Self::Admitted(function()?, peer()?)),
            "n" => Some(Self::Refused(function()?, 404)),
            "o" => Some(Self::Refused(function()?, 429)),
            "u" => Some(Self::Refused(function()?, 503)),
            "x" if key == FORGED => Some(Self::Forged),
            "x" => Some(Self::RefusedUnknown(name.parse().ok()?)),
            _ => None,
        }
    }
}

/// Adds what was counted since a former state of the ledger.
pub(super) fn add_since(last: &Counts, now: &Counts, counters: &mut Counters) {
    for (key, count) in now {
        let count = count - last.get(key).copied().unwrap_or_default();
        let Some(fate) = Fate::of(key).filter(|_| count > 0) else {
            continue;
        };
        let functions = &mut counters.functions;
        match fate {
            Fate::Local(name) => {
                let function = functions.entry(name).or_default();
                function.user += count;
                function.local += count;
            }
            Fate::Forwarded(name, peer) => {
                let function = functions.entry(name).or_default();
                function.user += count;
                *function.forwarded.entry(peer).or_default() += count;
            }
            Fate::Admitted(name, peer) => {
                *functions
                    .entry(name)
                    .or_default()
                    .admitted
                    .entry(peer)
                    .or_default() += count
            }
            Fate::Refused(name, 503) => {
                let function = functions.entry(name).or_default();
                function.user += count;
                function.refused += count;
            }
            Fate::Refused(name, 429) => functions.entry(name).or_default().refused += count,
            // A peer asked for what is not here; that is no demand.
            Fate::Refused(..) | Fate::RefusedUnknown(_) | Fate::Forged => {}
        }
    }
}

/// Adds everything that was ever counted.
pub(super) fn add_all(counts: &Counts, totals: &mut Totals) {
    for (key, &count) in counts {
        let Some(fate) = Fate::of(key) else {
            continue;
        };
        let functions = &mut totals.functions;
        match fate {
            Fate::Local(name) => {
                let function = functions.entry(name).or_default();
                function.user += count;
                function.local += count;
            }
            Fate::Forwarded(name, peer) => {
                let function = functions.entry(name).or_default();
                function.user += count;
                *function.forwarded.entry(peer).or_default() += count;
            }
            Fate::Admitted(name, peer) => {
                *functions
                    .entry(name)
                    .or_default()
                    .admitted
                    .entry(peer)
                    .or_default() += count
            }
            Fate::Refused(name, code) => {
                let function = functions.entry(name).or_default();
                if code == 503 {
                    function.user += count;
                }
                *function.refused.entry(code).or_default() += count;
            }
            Fate::RefusedUnknown(code) => *totals.refused.entry(code).or_default() += count,
            Fate::Forged => {
                *totals.refused.entry(403).or_default() += count;
                *totals.events.entry("forged").or_default() += count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_counted_twice_and_nothing_is_lost() {
        let mut ledger = Ledger::default();
        let check = |ledger: &Ledger, want: u64| assert_eq!(ledger.totals().get("l/f"), Some(&want));
        ledger.note(reading(&[("l/f", 3)]));
        ledger.note(reading(&[("l/f", 3)]));
        check(&ledger, 3);
        ledger.note(reading(&[("l/f", 5), ("l/g", 1)]));
        check(&ledger, 5);
        // The row was dropped and made anew.
        ledger.note(reading(&[("l/f", 2)]));
        check(&ledger, 7);
        ledger.note(reading(&[]));
        ledger.note(reading(&[("l/f", 4)]));
        check(&ledger, 11);
        ledger.turn_page();
        ledger.note(reading(&[("l/f", 9)]));
        check(&ledger, 20);
    }

    #[test]
    fn counts_mean_what_the_kernels_mean() {
        let last = counts(&[("l/f", 1)]);
        let now = counts(&[
            ("a/f/n2", 5),
            ("c/f/.", 1),
            ("c/f/n3", 2),
            ("d/f", 99),
            ("l/f", 3),
            ("n/f/n2", 7),
            ("o/f/n2", 6),
            ("u/f", 8),
            ("x/403", 9),
            ("x/403/forged", 10),
        ]);
        let mut counters = Counters::default();
        add_since(&last, &now, &mut counters);
        let function = &counters.functions[&FunctionName::new("f").unwrap()];
        assert_eq!((function.user, function.local, function.refused), (13, 3, 14));
        assert_eq!(function.forwarded, [(node("n3"), 2)].into());
        assert_eq!(function.admitted, [(node("n2"), 5)].into());
        let mut totals = Totals::default();
        add_all(&now, &mut totals);
        let function = &totals.functions[&FunctionName::new("f").unwrap()];
        assert_eq!((function.user, function.local), (14, 4));
        assert_eq!(function.refused, [(404, 7), (429, 6), (503, 8)].into());
        assert_eq!(totals.refused, [(403, 19)].into());
        assert_eq!(totals.events, [("forged", 10)].into());
    }

    fn reading(rows: &[(&str, u64)]) -> Vec<(String, u64)> {
        rows.iter().map(|&(key, count)| (key.to_owned(), count)).collect()
    }

    fn counts(rows: &[(&str, u64)]) -> Counts {
        reading(rows).into_iter().collect()
    }

    fn node(text: &str) -> NodeId {
        NodeId::new(text).unwrap()
    }
}
