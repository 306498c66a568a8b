//! Small numbers for names, as the kernel's tables want them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Gives each key a number and takes it back. A number that was freed is given again as late as possible.
///
/// Where others may still hold a number, its key is retired instead: it keeps the number until that is reclaimed for
/// another key.
#[derive(Debug)]
pub(super) struct Indices<K> {
    by_key: BTreeMap<K, u32>,
    by_index: BTreeMap<u32, K>,
    free: VecDeque<u32>,
    /// Keys without use, and in which order they lost it.
    retired: BTreeMap<K, u64>,
    retirements: u64,
    next: u32,
    end: u32,
    /// Numbers that have come to somebody, or away from somebody, since the last look.
    changed: BTreeSet<u32>,
}

impl<K: Ord + Clone> Indices<K> {
    /// Numbers from `first` up to, not including, `end`.
    pub(super) fn new(first: u32, end: u32) -> Self {
        Self {
            by_key: BTreeMap::new(),
            by_index: BTreeMap::new(),
            free: VecDeque::new(),
            retired: BTreeMap::new(),
            retirements: 0,
            next: first,
            end,
            changed: BTreeSet::new(),
        }
    }

    /// Gives keys the numbers that they had with an agent before this one; the first one that has a number keeps it. Call
    /// it before any other.
    pub(super) fn restore(&mut self, known: impl IntoIterator<Item = (K, u32)>) {
        let first = self.next;
        for (key, index) in known {
            let is_free = (first..self.end).contains(&index) && !self.by_index.contains_key(&index);
            if is_free && !self.by_key.contains_key(&key) {
                self.by_key.insert(key.clone(), index);
                self.by_index.insert(index, key);
            }
        }
        self.next = self.by_index.keys().next_back().map_or(first, |last| last + 1);
        self.free = (first..self.next)
            .filter(|index| !self.by_index.contains_key(index))
            .collect();
    }

    /// Who has what numbers that have changed hands since the last call; nobody, if that is so.
    pub(super) fn take_changed(&mut self) -> Vec<(u32, Option<K>)> {
        let changed = std::mem::take(&mut self.changed);
        let now = |index| (index, self.by_index.get(&index).cloned());
        changed.into_iter().map(now).collect()
    }

    /// All keys that have numbers.
    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.by_key.keys()
    }

    /// The number of a key; a new one if it has none. `None` if all are taken.
    pub(super) fn claim(&mut self, key: &K) -> Option<u32> {
        if let Some(&index) = self.by_key.get(key) {
            self.retired.remove(key);
            return Some(index);
        }
        let index = if self.next < self.end {
            self.next += 1;
            self.next - 1
        } else {
            self.free.pop_front()?
        };
        self.by_key.insert(key.clone(), index);
        self.by_index.insert(index, key.clone());
        self.changed.insert(index);
        Some(index)
    }

    pub(super) fn get(&self, key: &K) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// The key that has a number.
    pub(super) fn key(&self, index: u32) -> Option<&K> {
        self.by_index.get(&index)
    }

    /// Notes that a key is of no use any more.
    pub(super) fn retire(&mut self, key: &K) {
        if self.by_key.contains_key(key) && !self.retired.contains_key(key) {
            self.retired.insert(key.clone(), self.retirements);
            self.retirements += 1;
        }
    }

    /// How many numbers are missing, so that each of these keys can have one.
    pub(super) fn lacking<'a>(&self, keys: impl Iterator<Item = &'a K>) -> usize
    where
        K: 'a,
    {
        let wanted = keys.filter(|&key| !self.by_key.contains_key(key)).count();
        wanted.saturating_sub((self.end - self.next) as usize + self.free.len())
    }

    /// Takes numbers back from retired keys, from those first that are retired longest. What is held is left alone.
    pub(super) fn reclaim(&mut self, at_most: usize, is_held: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut order: Vec<(u64, K)> = self
            .retired
            .iter()
            .filter(|(key, _)| self.get(key).is_some_and(|index| !is_held(index)))
            .map(|(key, &since)| (since, key.clone()))
            .collect();
        order.sort();
        let keys = order.into_iter().take(at_most);
        keys.filter_map(|(_, key)| self.release(&key)).collect()
    }

    /// Takes a key's number back.
    pub(super) fn release(&mut self, key: &K) -> Option<u32> {
        self.retired.remove(key);
        let index = self.by_key.remove(key)?;
        self.by_index.remove(&index);
        self.changed.insert(index);
        self.free.push_back(index);
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_number() {
        let mut indices = Indices::new(1, 4);
        assert_eq!(indices.claim(&"a"), Some(1));
        assert_eq!(indices.claim(&"b"), Some(2));
        assert_eq!(indices.claim(&"a"), Some(1));
        assert_eq!(indices.key(2), Some(&"b"));
    }

    #[test]
    fn a_retired_key_keeps_its_number_until_it_is_reclaimed() {
        let mut indices = Indices::new(1, 3);
        indices.claim(&"a");
        indices.claim(&"b");
        assert_eq!(indices.lacking(["a", "c", "d"].iter()), 2);
        assert_eq!(indices.reclaim(1, |_| false), [0_u32; 0], "both are of use");
        indices.retire(&"b");
        indices.retire(&"a");
        assert_eq!(indices.key(1), Some(&"a"));
        assert_eq!(indices.claim(&"b"), Some(2), "it is of use again");
        assert_eq!(indices.reclaim(9, |index| index == 1), [0_u32; 0], "it is held");
        assert_eq!(indices.reclaim(9, |_| false), [1]);
        assert_eq!((indices.get(&"a"), indices.claim(&"c")), (None, Some(1)));
    }

    #[test]
    fn who_is_retired_longest_goes_first() {
        let mut indices = Indices::new(1, 3);
        indices.claim(&"a");
        indices.claim(&"b");
        indices.retire(&"b");
        indices.retire(&"a");
        indices.retire(&"b");
        assert_eq!(indices.reclaim(1, |_| false), [2]);
        assert_eq!(indices.claim(&"c"), Some(2));
    }

    #[test]
    fn numbers_of_an_agent_before_are_kept() {
        let mut indices = Indices::new(1, 6);
        indices.restore([("b", 2), ("d", 4), ("x", 2), ("b", 5), ("y", 0), ("z", 6)]);
        assert_eq!((indices.key(2), indices.key(4)), (Some(&"b"), Some(&"d")));
        assert_eq!(
            indices.keys().count(),
            2,
            "others had theirs before, or cannot have them"
        );
        let claimed = ["b", "e", "f", "g"].map(|key| indices.claim(&key));
        assert_eq!(claimed, [Some(2), Some(5), Some(1), Some(3)]);
        assert_eq!(indices.claim(&"h"), None);
        let changed = indices.take_changed();
        assert_eq!(changed, [(1, Some("f")), (3, Some("g")), (5, Some("e"))]);
        indices.release(&"f");
        assert_eq!(indices.take_changed(), [(1, None)]);
    }

    #[test]
    fn a_number_is_given_again_only_when_none_is_new() {
        let mut indices = Indices::new(1, 4);
        indices.claim(&"a");
        assert_eq!(indices.release(&"a"), Some(1));
        assert_eq!(indices.claim(&"b"), Some(2));
        assert_eq!(indices.claim(&"c"), Some(3));
        assert_eq!(indices.claim(&"d"), Some(1));
        assert_eq!(indices.claim(&"e"), None);
    }
}
