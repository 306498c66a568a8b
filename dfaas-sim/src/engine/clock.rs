//! What is to happen, in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Events by their time; of one time in the order in which they were planned.
#[derive(Debug)]
pub(super) struct Clock<E> {
    pub(super) now_ns: u64,
    planned: u64,
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<E>>,
    free: Vec<usize>,
}

impl<E> Clock<E> {
    pub(super) fn new() -> Self {
        Self {
            now_ns: 0,
            planned: 0,
            heap: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(super) fn plan(&mut self, at_ns: u64, event: E) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() - 1
        });
        self.events[place] = Some(event);
        self.planned += 1;
        self.heap
            .push(Reverse((at_ns.max(self.now_ns), self.planned, place)));
    }

    pub(super) fn after(&mut self, delay_ns: u64, event: E) {
        self.plan(self.now_ns + delay_ns, event);
    }

    /// When the next event is.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.heap.peek().map(|&Reverse((at_ns, ..))| at_ns)
    }

    /// Goes to the next event.
    pub(super) fn pop(&mut self) -> Option<E> {
        let Reverse((at_ns, _, place)) = self.heap.pop()?;
        self.now_ns = at_ns;
        self.free.push(place);
        self.events[place].take()
    }
}
