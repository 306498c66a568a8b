//! What is counted for a function: calls by status code and how long they took.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// client_golang's `DefBuckets`, which OpenFaaS dashboards expect.
pub(crate) const BUCKETS_MS: [u64; 11] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

const OK: u16 = 200;

/// A histogram of durations; its last slot counts what is above every bucket.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    slots: [AtomicU64; BUCKETS_MS.len() + 1],
    sum_nanos: AtomicU64,
}

impl Durations {
    fn observe(&self, took: Duration) {
        let slot = BUCKETS_MS.partition_point(|&bound| Duration::from_millis(bound) < took);
        self.slots[slot].fetch_add(1, Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Relaxed);
    }

    /// The counts of each slot, not yet added up.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u64> {
        self.slots.iter().map(|slot| slot.load(Relaxed))
    }

    pub(crate) fn count(&self) -> u64 {
        self.slots().sum()
    }

    pub(crate) fn sum_seconds(&self) -> f64 {
        Duration::from_nanos(self.sum_nanos.load(Relaxed)).as_secs_f64()
    }
}

/// Counters of one function. They outlive its updates and end with its removal.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    started: AtomicU64,
    /// Apart from the others, as nearly every call takes it.
    ok: Durations,
    others: RwLock<BTreeMap<u16, Arc<Durations>>>,
}

impl Stats {
    pub(crate) fn start(&self) {
        self.started.fetch_add(1, Relaxed);
    }

    pub(crate) fn finish(&self, code: u16, took: Duration) {
        match code {
            OK => self.ok.observe(took),
            code => self.other(code).observe(took),
        }
    }

    fn other(&self, code: u16) -> Arc<Durations> {
        let known = self
            .others
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&code)
            .cloned();
        known.unwrap_or_else(|| {
            let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(others.entry(code).or_default())
        })
    }

    pub(crate) fn started(&self) -> u64 {
        self.started.load(Relaxed)
    }

    /// How many calls ended, whatever their status.
    pub(crate) fn finished(&self) -> u64 {
        let mut total = 0;
        self.for_each_code(|_, durations| total += durations.count());
        total
    }

    pub(crate) fn for_each_code(&self, mut visit: impl FnMut(u16, &Durations)) {
        // It is there before the first call, as rates over it miss that call otherwise.
        visit(OK, &self.ok);
        for (code, durations) in &*self.others.read().unwrap_or_else(PoisonError::into_inner) {
            visit(*code, durations);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let durations = Durations::default();
        durations.observe(Duration::from_millis(5));
        durations.observe(Duration::from_micros(5001));
        durations.observe(Duration::from_secs(11));
        let slots: Vec<u64> = durations.slots().collect();
        assert_eq!(slots, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(durations.sum_seconds(), 11.010001);
    }

    #[test]
    fn calls_are_counted_by_code() {
        let stats = Stats::default();
        for code in [200, 500, 200, 408] {
            stats.start();
            stats.finish(code, Duration::ZERO);
        }
        let mut codes = Vec::new();
        stats.for_each_code(|code, durations| codes.push((code, durations.count())));
        assert_eq!(codes, [(200, 2), (408, 1), (500, 1)]);
        assert_eq!((stats.started(), stats.finished()), (4, 4));
    }
}
