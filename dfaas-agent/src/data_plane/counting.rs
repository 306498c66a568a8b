//! The kernel's counters, read and summed over the CPUs.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray, PerCpuHashMap},
};
use dfaas_common::{
    histogram::{self, BINS},
    maps::{Counters as Row, Events, Latency, Pair},
};
use dfaas_control::{Counters, FunctionCounters};

use super::{FunctionTotals, Histogram, Totals, names::Names, take};

/// This node in [`Pair::peer`].
const SELF: u32 = 0;

/// The maps that count, and what they said last time.
pub(super) struct CounterMaps {
    stats: PerCpuHashMap<MapData, Pair, Row>,
    latency: PerCpuHashMap<MapData, Pair, Latency>,
    events: PerCpuArray<MapData, Events>,
    last: Reading,
    last_read: Instant,
}

/// Sums over the CPUs.
#[derive(Clone, Default)]
struct Reading {
    stats: BTreeMap<Pair, Row>,
    latency: BTreeMap<Pair, Latency>,
}

impl CounterMaps {
    /// What was counted before is told once, among the totals.
    pub(super) fn new(ebpf: &mut Ebpf, now: Instant) -> Result<Self> {
        let mut maps = Self {
            stats: PerCpuHashMap::try_from(take(ebpf, "STATS")?)?,
            latency: PerCpuHashMap::try_from(take(ebpf, "LATENCY")?)?,
            events: PerCpuArray::try_from(take(ebpf, "EVENTS")?)?,
            last: Reading::default(),
            last_read: now,
        };
        maps.last = maps.read()?;
        Ok(maps)
    }

    fn read(&self) -> Result<Reading> {
        let mut reading = Reading::default();
        for entry in self.stats.iter() {
            let (pair, rows) = entry.context("reading STATS")?;
            reading
                .stats
                .insert(pair, rows.iter().fold(Row::default(), |sum, row| add(sum, *row)));
        }
        for entry in self.latency.iter() {
            let (pair, rows) = entry.context("reading LATENCY")?;
            reading
                .latency
                .insert(pair, rows.iter().fold(no_latency(), add_latency));
        }
        Ok(reading)
    }

    /// Takes out what was counted under numbers that are to be given to others.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&Pair) -> bool) -> Result<()> {
        let gone: Vec<Pair> = self
            .stats
            .keys()
            .filter(|key| key.as_ref().is_ok_and(&is_gone))
            .collect::<Result<_, _>>()?;
        for pair in gone {
            self.stats.remove(&pair).context("removing from STATS")?;
        }
        let gone: Vec<Pair> = self
            .latency
            .keys()
            .filter(|key| key.as_ref().is_ok_and(&is_gone))
            .collect::<Result<_, _>>()?;
        for pair in gone {
            self.latency.remove(&pair).context("removing from LATENCY")?;
        }
        self.last.stats.retain(|pair, _| !is_gone(pair));
        self.last.latency.retain(|pair, _| !is_gone(pair));
        Ok(())
    }

    /// What was counted since the last call.
    pub(super) fn since_last(&mut self, now: Instant, names: &Names) -> Result<Counters> {
        let reading = self.read()?;
        let mut counters = Counters {
            elapsed: now.saturating_duration_since(self.last_read),
            functions: BTreeMap::new(),
        };
        for (pair, row) in &reading.stats {
            let before = self.last.stats.get(pair).copied().unwrap_or_default();
            let (Some(name), row) = (names.functions.key(pair.function), subtract(*row, before)) else {
                continue;
            };
            note(
                counters.functions.entry(name.clone()).or_default(),
                pair.peer,
                row,
                names,
            );
        }
        for (name, function) in &mut counters.functions {
            let pair = names
                .functions
                .get(name)
                .map(|function| Pair { function, peer: SELF });
            function.service_time_p95 = pair.and_then(|pair| self.p95(&pair, &reading));
        }
        self.last = reading;
        self.last_read = now;
        Ok(counters)
    }

    fn p95(&self, pair: &Pair, reading: &Reading) -> Option<Duration> {
        let mut bins = reading.latency.get(pair)?.bins;
        if let Some(before) = self.last.latency.get(pair) {
            for (bin, before) in bins.iter_mut().zip(before.bins) {
                *bin = bin.saturating_sub(before);
            }
        }
        histogram::quantile_ns(&bins, 0.95).map(Duration::from_nanos)
    }

    /// What was counted since the programs were attached.
    pub(super) fn totals(&self, names: &Names, flows: u64) -> Result<Totals> {
        let reading = self.read()?;
        let mut totals = Totals {
            flows,
            ..Totals::default()
        };
        for (pair, row) in &reading.stats {
            if let Some(name) = names.functions.key(pair.function) {
                note_total(
                    totals.functions.entry(name.clone()).or_default(),
                    pair.peer,
                    row,
                    names,
                );
            }
        }
        for (pair, latency) in &reading.latency {
            let Some(function) = names
                .functions
                .key(pair.function)
                .and_then(|name| totals.functions.get_mut(name))
            else {
                continue;
            };
            let histogram = if pair.peer == SELF {
                &mut function.first_byte_local
            } else {
                &mut function.first_byte_forwarded
            };
            merge(histogram, latency);
        }
        self.note_events(&mut totals)?;
        Ok(totals)
    }

    fn note_events(&self, totals: &mut Totals) -> Result<()> {
        let per_cpu = self.events.get(&0, 0).context("reading EVENTS")?;
        for (name, count) in per_cpu.iter().flat_map(Events::named) {
            *totals.events.entry(name).or_default() += count;
        }
        let codes = [
            ("malformed", 400),
            ("forbidden", 403),
            ("stranger", 403),
            ("forged", 403),
            ("unknown_function", 404),
            ("head_too_long", 431),
        ];
        for (name, code) in codes {
            *totals.refused.entry(code).or_default() += totals.events.get(name).copied().unwrap_or_default();
        }
        Ok(())
    }
}

fn note(counters: &mut FunctionCounters, peer: u32, row: Row, names: &Names) {
    let forwarded_or_refused = row.forwarded + row.unavailable;
    counters.user += row.local + forwarded_or_refused;
    counters.local += row.local;
    counters.refused += row.unavailable;
    let Some(id) = names.peers.key(peer) else {
        // Users who ask for a function that only peers run, and none can take it.
        counters.user += row.not_found;
        counters.refused += row.not_found;
        return;
    };
    if row.forwarded > 0 {
        *counters.forwarded.entry(id.clone()).or_default() += row.forwarded;
    }
    if row.admitted > 0 {
        *counters.admitted.entry(id.clone()).or_default() += row.admitted;
    }
    counters.refused += row.over_limit;
}

fn note_total(totals: &mut FunctionTotals, peer: u32, row: &Row, names: &Names) {
    totals.user += row.local + row.forwarded + row.unavailable;
    totals.local += row.local;
    for (code, count) in [
        (404, row.not_found),
        (429, row.over_limit),
        (503, row.unavailable),
    ] {
        if count > 0 {
            *totals.refused.entry(code).or_default() += count;
        }
    }
    if let Some(id) = names.peers.key(peer) {
        *totals.forwarded.entry(id.clone()).or_default() += row.forwarded;
        *totals.admitted.entry(id.clone()).or_default() += row.admitted;
    }
}

fn merge(histogram: &mut Histogram, latency: &Latency) {
    if histogram.bins.is_empty() {
        histogram.bins = (0..BINS).map(|bin| (bound_seconds(bin), 0)).collect();
    }
    histogram.sum_seconds += latency.sum_ns as f64 / 1e9;
    for (bin, count) in histogram.bins.iter_mut().zip(latency.bins) {
        bin.1 += count;
    }
}

fn bound_seconds(bin: usize) -> f64 {
    match histogram::upper_bound_ns(bin) {
        u64::MAX => f64::INFINITY,
        bound_ns => bound_ns as f64 / 1e9,
    }
}

fn no_latency() -> Latency {
    Latency {
        sum_ns: 0,
        bins: [0; BINS],
    }
}

fn add_latency(mut sum: Latency, row: &Latency) -> Latency {
    sum.sum_ns += row.sum_ns;
    for (bin, count) in sum.bins.iter_mut().zip(row.bins) {
        *bin += count;
    }
    sum
}

fn add(sum: Row, row: Row) -> Row {
    combine(sum, row, u64::wrapping_add)
}

fn subtract(now: Row, before: Row) -> Row {
    combine(now, before, u64::saturating_sub)
}

fn combine(left: Row, right: Row, with: fn(u64, u64) -> u64) -> Row {
    Row {
        local: with(left.local, right.local),
        forwarded: with(left.forwarded, right.forwarded),
        admitted: with(left.admitted, right.admitted),
        not_found: with(left.not_found, right.not_found),
        over_limit: with(left.over_limit, right.over_limit),
        unavailable: with(left.unavailable, right.unavailable),
    }
}
