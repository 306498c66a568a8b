//! The programs as the node of a model: they run on each segment, in the time of the model.

use std::collections::BTreeMap;

use dfaas_common::{
    maps::{Client, FlowKey, Held, Locked, Opening, Phase, Upstream},
    packet::{Address, fold},
};
use dfaas_model::{
    MILLISECOND, Micros, SECOND, frame,
    node::{NODE, Node},
    outcome::{Finding, Report, Wrong},
    script::Script,
    segment::Segment,
};
use rustix::time::{ClockId, clock_gettime};

use super::{books, policy, tap::Tap};
use crate::bench::{Bench, Seen, Verdict};

/// What `Client::asks_again` takes for a retransmission, in milliseconds.
const RETRANSMISSION_MS: u64 = 150;
/// The agent's, in ticks.
const PASSING_TICKS: u32 = 60;
const IDLE_TICKS: u32 = 300;
/// The tables are looked at behind so many segments.
const LOOK_EACH: u32 = 16;

/// The programs as the node of a model.
pub(super) struct KernelNode {
    bench: Bench,
    tap: Tap,
    tick: u32,
    /// When each client has asked last: as its entry says, and in the time of the model.
    asked: BTreeMap<FlowKey, (u32, Micros)>,
    looks: u32,
    bucket_start: u64,
}

impl KernelNode {
    pub(super) fn new(tap: Tap) -> Self {
        Self {
            bench: Bench::new(),
            tap,
            tick: 0,
            asked: BTreeMap::new(),
            looks: 0,
            bucket_start: 0,
        }
    }

    fn run(&mut self, now: Micros, program: &str, segment: &Segment) -> Result<Vec<Segment>, String> {
        self.follow_time(now);
        let key = key_of(segment);
        if program == "ingress" {
            self.age(now, &key);
        }
        let bytes = frame::write(segment)?;
        let seen = self.bench.run_at(self.tap.interface, program, &bytes)?;
        self.note_asked(now, &key);
        let mut out = Vec::new();
        // What was copied went before the packet itself.
        for copy in self.tap.take() {
            out.push(frame::read(&copy).map_err(|error| format!("a copy: {error}"))?);
        }
        match read_out(program, segment, &seen) {
            Ok(segment) => out.extend(segment),
            // Its receiver drops it: by chance a whole checksum looks like a partial one, and what is made of such a
            // packet has a partial one, too. What comes again is another packet.
            Err(_) if looks_partial(&bytes) => {}
            Err(error) => return Err(error),
        }
        Ok(out)
    }

    /// Has the tables' clock stand where the model's does.
    fn follow_time(&mut self, now: Micros) {
        let tick = u32::try_from(now / SECOND).unwrap_or(u32::MAX);
        if tick != self.tick {
            self.tick = tick;
            self.bench.tick(tick);
        }
    }

    /// Has a client have asked as long ago as the model says: programs read the kernel's clock.
    ///
    /// Not to the millisecond, so that it does not depend on how long a run takes on which side of the border it is.
    fn age(&mut self, now: Micros, key: &FlowKey) {
        let Some(&(_, asked_at)) = self.asked.get(key) else {
            return;
        };
        let passed = (now - asked_at) / MILLISECOND;
        let passed = if passed >= RETRANSMISSION_MS {
            passed + 20
        } else {
            passed.saturating_sub(100)
        };
        let asked_ms = ((now_ns() / 1_000_000) as u32).wrapping_sub(passed as u32);
        self.asked.insert(*key, (asked_ms, asked_at));
        self.bench.change_client(key, |client| client.asked_ms = asked_ms);
    }

    fn note_asked(&mut self, now: Micros, key: &FlowKey) {
        let Some(client) = self.bench.client(key) else {
            return;
        };
        if self
            .asked
            .get(key)
            .is_none_or(|(known, _)| *known != client.asked_ms)
        {
            self.asked.insert(*key, (client.asked_ms, now));
        }
    }

    /// What the agent does when so many seconds have passed without a packet.
    fn sweep(&mut self, ticks: u32) {
        self.tick += ticks;
        self.bench.tick(self.tick);
        for (key, client) in self.bench.clients() {
            let patience = if client.is_idle() && client.phase() != Phase::Connecting {
                IDLE_TICKS
            } else {
                PASSING_TICKS
            };
            if self.tick.wrapping_sub(client.last_seen) >= patience {
                self.bench.forget::<Locked<Client>>("CLIENTS", &key);
            }
        }
        let live: Vec<FlowKey> = self.bench.clients().iter().map(|(key, _)| *key).collect();
        for (key, upstream) in self.bench.upstreams() {
            if !live.contains(&upstream.client) {
                self.bench.forget::<Locked<Upstream>>("UPSTREAMS", &key);
            }
        }
        // The model's clients are all gone: what is held of them does not change any more.
        for table in ["HELD", "AHEAD"] {
            for key in self.bench.waiting(table) {
                if !live.contains(&key) {
                    self.bench.forget::<Opening>("OPENING", &key);
                    self.bench.forget::<Held>(table, &key);
                }
            }
        }
    }
}

impl Node for KernelNode {
    fn begin(&mut self, script: &Script) -> Result<(), String> {
        self.bench.clear();
        self.tap.take();
        self.asked.clear();
        self.tick = 0;
        self.bench.tick(0);
        policy::write(&mut self.bench, script);
        self.bucket_start = policy::refill(&mut self.bench, now_ns());
        Ok(())
    }

    fn arrive(&mut self, now: Micros, segment: &Segment) -> Result<Vec<Segment>, String> {
        self.run(now, "ingress", segment)
    }

    fn depart(&mut self, now: Micros, segment: &Segment) -> Result<Vec<Segment>, String> {
        self.run(now, "egress", segment)
    }

    fn look(&mut self, script: &Script) -> Vec<Finding> {
        self.looks += 1;
        if !self.looks.is_multiple_of(LOOK_EACH) {
            return Vec::new();
        }
        let mut servers: BTreeMap<FlowKey, usize> = BTreeMap::new();
        for (_, upstream) in self.bench.upstreams() {
            *servers.entry(upstream.client).or_default() += 1;
        }
        let most = usize::from(script.peers) + 1;
        let excess = servers.values().filter(|count| **count > most);
        excess
            .map(|count| Finding {
                wrong: Wrong::Leak,
                text: format!("{count} servers of one client, of {most} that there are"),
            })
            .collect()
    }

    fn end(&mut self, now: Micros, script: &Script, report: &Report) -> Vec<Finding> {
        self.follow_time(now);
        let mut findings = books::check(&mut self.bench, self.bucket_start, script, report);
        let is_quiet = report.mishaps.iter().all(|mishap| !mishap.is_harmful());
        // Half-open connections go when others need their room. A client that was answered by the node, and had closed
        // before, stays until the sweep with what it has sent too much: it cannot be told from one that has not had the answer.
        let mut left = self.bench.live();
        left.remove("OPENING");
        if is_quiet && left.contains_key("UPSTREAMS") {
            findings.push(leak(format!("nothing was lost, and there is left {left:?}")));
        }
        if !left.is_empty() {
            self.sweep(IDLE_TICKS + PASSING_TICKS);
            let mut left = self.bench.live();
            left.remove("OPENING");
            if !left.is_empty() {
                findings.push(leak(format!("after the sweep there is left {left:?}")));
            }
        }
        findings
    }

    fn has_forgotten(&mut self, segment: &Segment) -> bool {
        let key = key_of(segment);
        self.bench.client(&key).is_none() && self.bench.opening(&key).is_none()
    }

    fn decides(&self) -> bool {
        true
    }
}

fn leak(text: String) -> Finding {
    Finding {
        wrong: Wrong::Leak,
        text,
    }
}

/// Whether the checksum of a frame is the pseudo-header's sum, as where the rest is left to hardware.
fn looks_partial(frame: &[u8]) -> bool {
    let word = |at: usize| u64::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    let addresses: u64 = (26..34).step_by(2).map(word).sum();
    let sum = addresses + 6 + frame.len() as u64 - 34;
    u64::from(fold(sum)) == word(50)
}

/// What a program has made of a packet.
fn read_out(program: &str, sent: &Segment, seen: &Seen) -> Result<Option<Segment>, String> {
    if seen.verdict == Verdict::Drop {
        return Ok(None);
    }
    let segment = frame::read(&seen.frame)
        .map_err(|error| format!("{program} made {:?} of {sent:?}: {error}", seen.verdict))?;
    let is_inward = segment.to.address == NODE;
    if seen.verdict == Verdict::Pass && is_inward != (program == "ingress") {
        return Err(format!("{program} lets {segment:?} pass, made of {sent:?}"));
    }
    Ok(Some(segment))
}

/// The key of the client that sends a segment.
fn key_of(segment: &Segment) -> FlowKey {
    FlowKey {
        remote: Address::from_ipv4(segment.from.address),
        remote_port: segment.from.port.to_be_bytes(),
        local_port: segment.to.port.to_be_bytes(),
    }
}

/// The kernel's monotonic clock, which programs read.
fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
