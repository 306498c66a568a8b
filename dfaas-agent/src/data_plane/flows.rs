//! The flow table: what is over or idle is taken out. Live connections take themselves out as they end.

mod silence;
mod waiting;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError},
};
use dfaas_common::maps::{Client, Config, FlowKey, Locked, Upstream};

use tracing::info;

use self::{silence::PASSING_TICKS, waiting::Waiting};
use super::{
    ending::{self, Leaver, Reason},
    remove, take,
};
use crate::clock;

/// A sweep is one tick of the kernel's clock for flows.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// The table is walked every so many ticks; a walk costs two system calls a flow.
const TICKS_A_WALK: u32 = 5;
/// How long a peer may be gone until its connections end: an agent that starts anew is back before.
const GONE_TICKS: u32 = 10;

/// Numbers of functions and peers that live connections have.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) functions: BTreeSet<u32>,
    pub(super) peers: BTreeSet<u32>,
}

/// The tables and their clock.
pub(super) struct FlowMaps {
    clients: HashMap<MapData, FlowKey, Locked<Client>>,
    upstreams: HashMap<MapData, FlowKey, Locked<Upstream>>,
    /// Servers without a client at the last walk.
    orphans: BTreeSet<FlowKey>,
    waiting: Waiting,
    config: Array<MapData, Config>,
    settings: Config,
    idle_ticks: u32,
    /// For how long the programs believe in an agent that has moved their clock on.
    unattended: Duration,
    live: u64,
    ended: u64,
    ended_silent: u64,
    /// Peers whose connections are to end, by index, and at which tick.
    leavers: BTreeMap<u32, (Leaver, u32)>,
}

impl FlowMaps {
    pub(super) fn new(
        ebpf: &mut Ebpf,
        settings: Config,
        idle_timeout: Duration,
        unattended: Duration,
    ) -> Result<Self> {
        let idle_ticks = idle_timeout.as_secs() / SWEEP_INTERVAL.as_secs();
        Ok(Self {
            clients: HashMap::try_from(take(ebpf, "CLIENTS")?)?,
            upstreams: HashMap::try_from(take(ebpf, "UPSTREAMS")?)?,
            orphans: BTreeSet::new(),
            waiting: Waiting::new(ebpf)?,
            config: Array::try_from(take(ebpf, "CONFIG")?)?,
            settings,
            idle_ticks: u32::try_from(idle_ticks).unwrap_or(u32::MAX).max(1),
            unattended,
            live: 0,
            ended: 0,
            ended_silent: 0,
            leavers: BTreeMap::new(),
        })
    }

    /// How many clients' connections were live at the last walk.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    /// Has a peer's connections end: those of one that is barred now, else after a while.
    pub(super) fn dismiss(&mut self, index: u32, leaver: Leaver) {
        let patience = match leaver.reason {
            Reason::Barred => 0,
            Reason::Gone => GONE_TICKS,
        };
        let at = self.settings.tick.wrapping_add(patience);
        self.leavers.insert(index, (leaver, at));
    }

    /// Lets a peer keep its connections that is there again.
    pub(super) fn welcome(&mut self, index: u32) {
        self.leavers.remove(&index);
    }

    /// Ends the connections of those who were barred. Some may have come meanwhile, so the next sweep looks again.
    pub(super) fn end_barred(&mut self) -> Result<()> {
        let barred = self.leavers_if(|leaver, _| leaver.reason == Reason::Barred);
        self.end(&barred)
    }

    fn end_due(&mut self) -> Result<()> {
        let tick = self.settings.tick;
        let due = self.leavers_if(|_, at| tick.wrapping_sub(at) as i32 >= 0);
        self.end(&due)?;
        self.leavers.retain(|index, _| !due.contains_key(index));
        Ok(())
    }

    fn leavers_if(&self, is_wanted: impl Fn(&Leaver, u32) -> bool) -> BTreeMap<u32, Leaver> {
        let leavers = self.leavers.iter();
        let wanted = leavers.filter(|(_, (leaver, at))| is_wanted(leaver, *at));
        wanted.map(|(index, (leaver, _))| (*index, *leaver)).collect()
    }

    fn end(&mut self, leavers: &BTreeMap<u32, Leaver>) -> Result<()> {
        if leavers.is_empty() {
            return Ok(());
        }
        let count = ending::end_leavers(
            &mut self.clients,
            &mut self.upstreams,
            leavers,
            self.settings.addresses,
        )?;
        self.ended += count as u64;
        info!(
            peers = leavers.len(),
            connections = count,
            "Ended connections of peers that left"
        );
        Ok(())
    }

    /// Ends all connections that cannot go on without the programs, so that nobody waits for what will not come.
    pub(super) fn end_all(&mut self) -> Result<()> {
        let ours = self.settings.addresses;
        let count = ending::end_all(&mut self.clients, &mut self.upstreams, ours)?;
        info!(
            connections = count,
            "Ended what cannot go on without the programs"
        );
        Ok(())
    }

    /// What connections have, and peers whose connections are to end.
    pub(super) fn held(&self) -> Result<Held> {
        let mut held = Held {
            peers: self.leavers.keys().copied().collect(),
            ..Held::default()
        };
        for entry in self.upstreams.iter() {
            let (_, upstream) = entry.context("reading UPSTREAMS")?;
            held.functions.insert(upstream.function);
            held.peers.extend([upstream.target, upstream.origin]);
        }
        for entry in self.clients.iter() {
            let (_, client) = entry.context("reading CLIENTS")?;
            held.peers
                .extend(client.known.map(|known| u32::from(known.target)));
        }
        Ok(held)
    }

    /// How many connections of peers were ended because they left.
    pub(super) fn ended(&self) -> u64 {
        self.ended
    }

    /// How many connections were ended because nothing came on them.
    pub(super) fn ended_silent(&self) -> u64 {
        self.ended_silent
    }

    /// Sets a bit of the settings' flags.
    pub(super) fn raise(&mut self, bit: u32) -> Result<()> {
        self.write_flags(self.settings.flags | bit)
    }

    /// Clears a bit of the settings' flags.
    pub(super) fn lower(&mut self, bit: u32) -> Result<()> {
        self.write_flags(self.settings.flags & !bit)
    }

    fn write_flags(&mut self, flags: u32) -> Result<()> {
        if self.settings.flags == flags {
            return Ok(());
        }
        let settings = Config {
            flags,
            ..self.settings
        };
        self.config.set(0, settings, 0).context("writing CONFIG")?;
        self.settings = settings;
        Ok(())
    }

    fn is_over(&self, client: &Client) -> Result<bool> {
        let (tick, idle_ticks) = (self.settings.tick, self.idle_ticks);
        if !silence::is_over(client, None, tick, idle_ticks) {
            return Ok(false);
        }
        match self.upstreams.get(&client.upstream, 0) {
            Ok(server) => Ok(silence::is_over(client, Some(&server), tick, idle_ticks)),
            Err(MapError::KeyNotFound) => Ok(true),
            Err(error) => Err(error).context("reading UPSTREAMS"),
        }
    }

    /// Ends connections on which nothing comes: both ends are told, because neither would learn of it otherwise.
    fn end_silent(&mut self, over: &BTreeMap<FlowKey, u32>) -> Result<()> {
        if over.is_empty() {
            return Ok(());
        }
        let ours = self.settings.addresses;
        let count = ending::end_silent(&mut self.clients, &mut self.upstreams, over, ours)?;
        self.ended_silent += count as u64;
        Ok(())
    }

    /// Has the programs deal with peers for a while, from the next sweep on.
    pub(super) fn attend(&mut self) {
        let unattended_ns = u64::try_from(self.unattended.as_nanos()).unwrap_or(u64::MAX);
        self.settings.attended_until_ns = clock::monotonic_ns().saturating_add(unattended_ns);
    }

    /// Lets the clock tick, and now and then walks the tables.
    pub(super) fn sweep(&mut self) -> Result<()> {
        self.settings.tick = self.settings.tick.wrapping_add(1);
        self.config.set(0, self.settings, 0).context("writing CONFIG")?;
        self.end_due()?;
        if !self.settings.tick.is_multiple_of(TICKS_A_WALK) {
            return Ok(());
        }
        let mut servers = Vec::new();
        for entry in self.upstreams.iter() {
            let (key, upstream) = entry.context("reading UPSTREAMS")?;
            servers.push((key, upstream.client));
        }
        let mut live = BTreeSet::new();
        let mut over = BTreeMap::new();
        for entry in self.clients.iter() {
            let (key, client) = entry.context("reading CLIENTS")?;
            if self.is_over(&client)? {
                over.insert(key, client.last_seen);
            } else {
                live.insert(key);
            }
        }
        self.live = live.len() as u64;
        self.end_silent(&over)?;
        // A client enters its table right behind its server, and a walk may miss one while others come and go: orphans
        // are only those that were so at the last walk, too.
        let mut orphans = BTreeSet::new();
        for (key, client) in servers {
            if !live.contains(&client) {
                orphans.insert(key);
            }
        }
        for key in self.orphans.intersection(&orphans) {
            remove(&mut self.upstreams, key, "UPSTREAMS")?;
        }
        self.orphans = orphans;
        let tick = self.settings.tick;
        self.waiting
            .sweep(&live, tick, PASSING_TICKS.min(self.idle_ticks))
    }
}
