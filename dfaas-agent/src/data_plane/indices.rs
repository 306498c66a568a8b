//! Small numbers for names, as the kernel's tables want them.

use std::collections::{BTreeMap, VecDeque};

/// Gives each key a number and takes it back. A number that was freed is given again as late as possible.
#[derive(Debug)]
pub(super) struct Indices<K> {
    by_key: BTreeMap<K, u32>,
    by_index: BTreeMap<u32, K>,
    free: VecDeque<u32>,
    next: u32,
    end: u32,
}

impl<K: Ord + Clone> Indices<K> {
    /// Numbers from `first` up to, not including, `end`.
    pub(super) fn new(first: u32, end: u32) -> Self {
        Self {
            by_key: BTreeMap::new(),
            by_index: BTreeMap::new(),
            free: VecDeque::new(),
            next: first,
            end,
        }
    }

    /// The number of a key; a new one if it has none. `None` if all are taken.
    pub(super) fn claim(&mut self, key: &K) -> Option<u32> {
        if let Some(&index) = self.by_key.get(key) {
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
        Some(index)
    }

    pub(super) fn get(&self, key: &K) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// The key that has a number.
    pub(super) fn key(&self, index: u32) -> Option<&K> {
        self.by_index.get(&index)
    }

    /// Takes a key's number back.
    pub(super) fn release(&mut self, key: &K) -> Option<u32> {
        let index = self.by_key.remove(key)?;
        self.by_index.remove(&index);
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
