//! What the kernel holds of requests that wait: parts of heads, and what was sent too early. Live connections clear it
//! away themselves; what silent clients leave is taken out here.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use dfaas_common::maps::{FlowKey, Held, Opening};

use super::{remove, take};

/// The tables of held bytes.
pub(super) struct Waiting {
    opening: HashMap<MapData, FlowKey, Opening>,
    held: HashMap<MapData, FlowKey, Held>,
    ahead: HashMap<MapData, FlowKey, Held>,
    heads: Pauses,
    rests: Pauses,
}

/// Since when entries have been as they are.
#[derive(Debug, Default)]
struct Pauses(BTreeMap<FlowKey, Pause>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pause {
    since: u32,
    length: u32,
}

impl Waiting {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            opening: HashMap::try_from(take(ebpf, "OPENING")?)?,
            held: HashMap::try_from(take(ebpf, "HELD")?)?,
            ahead: HashMap::try_from(take(ebpf, "AHEAD")?)?,
            heads: Pauses::default(),
            rests: Pauses::default(),
        })
    }

    /// Takes out what belongs to no live connection and has not changed for so many ticks. A head goes with the
    /// handshake before it, so that the stack resets a client that goes on after all.
    pub(super) fn sweep(&mut self, live: &BTreeSet<FlowKey>, tick: u32, ticks_max: u32) -> Result<()> {
        let held = lengths(&self.held, live).context("reading HELD")?;
        for key in self.heads.over(held, tick, ticks_max) {
            remove(&mut self.opening, &key, "OPENING")?;
            remove(&mut self.held, &key, "HELD")?;
        }
        let ahead = lengths(&self.ahead, live).context("reading AHEAD")?;
        for key in self.rests.over(ahead, tick, ticks_max) {
            remove(&mut self.ahead, &key, "AHEAD")?;
        }
        Ok(())
    }
}

fn lengths(
    map: &HashMap<MapData, FlowKey, Held>,
    live: &BTreeSet<FlowKey>,
) -> Result<BTreeMap<FlowKey, u32>> {
    let mut lengths = BTreeMap::new();
    for entry in map.iter() {
        let (key, held) = entry?;
        if !live.contains(&key) {
            lengths.insert(key, held.length);
        }
    }
    Ok(lengths)
}

impl Pauses {
    /// Notes what there is now, and returns what has been so for as many ticks.
    fn over(&mut self, lengths: BTreeMap<FlowKey, u32>, tick: u32, ticks_max: u32) -> Vec<FlowKey> {
        let mut over = Vec::new();
        let before = std::mem::take(&mut self.0);
        for (key, length) in lengths {
            let known = before.get(&key).filter(|pause| pause.length == length);
            let pause = known.copied().unwrap_or(Pause { since: tick, length });
            if tick.wrapping_sub(pause.since) >= ticks_max {
                over.push(key);
            } else {
                self.0.insert(key, pause);
            }
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_change_is_over_after_a_while() {
        let mut pauses = Pauses::default();
        let key = FlowKey::default();
        let mut look = |tick, length| pauses.over([(key, length)].into(), tick, 10);
        assert_eq!(look(100, 5), []);
        assert_eq!(look(109, 5), []);
        assert_eq!(look(109, 6), []);
        assert_eq!(look(118, 6), []);
        assert_eq!(look(119, 6), [key]);
        // It would have to wait anew.
        assert_eq!(look(120, 6), []);
        assert_eq!(pauses.over(BTreeMap::new(), 121, 10), []);
        assert_eq!(pauses.over([(key, 6)].into(), 130, 10), []);
    }
}
