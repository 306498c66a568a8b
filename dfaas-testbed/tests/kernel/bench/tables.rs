//! The tables of connections as a model needs them: emptied, counted, moved in time.

use std::collections::BTreeMap;

use aya::{
    Pod, TestRunOptions,
    maps::{MapError, PerCpuArray, PerCpuHashMap, PerCpuValues},
    programs::{SchedClassifier, TestRun as _},
    util::nr_cpus,
};
use dfaas_common::{
    http::NAME_BYTES,
    maps::{
        Client, Config, Counters, Events, FlowKey, Function, FunctionKey, Held, Locked, Opening, Pair, Stamp,
        Target, Upstream,
    },
    meter::Limit,
};

use super::{Bench, Seen, Verdict, filled};

/// Where `ifindex` is in `struct __sk_buff`, in bytes.
const INTERFACE_OFFSET: usize = 40;

impl Bench {
    /// Runs a program on a frame at an interface of this thread's network.
    pub(crate) fn run_at(&mut self, interface: u32, program: &str, frame: &[u8]) -> Result<Seen, String> {
        let program: &mut SchedClassifier = self.ebpf.program_mut(program).unwrap().try_into().unwrap();
        let mut context = [0; INTERFACE_OFFSET + 4];
        context[INTERFACE_OFFSET..].copy_from_slice(&interface.to_ne_bytes());
        let mut out = vec![0; 8_192];
        let result = program.test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        });
        let result = result.map_err(|error| format!("running a frame of {} bytes: {error}", frame.len()))?;
        let verdict = match result.return_value as i32 {
            // `TC_ACT_UNSPEC` lets a packet on, as `TC_ACT_OK` does.
            -1 | 0 => Verdict::Pass,
            2 => Verdict::Drop,
            7 => Verdict::Redirect,
            other => return Err(format!("verdict {other}")),
        };
        out.truncate(result.data_size_out as usize);
        Ok(Seen { verdict, frame: out })
    }

    /// Takes all out of the tables of connections, and of the counters.
    pub(crate) fn clear(&mut self) {
        self.clear_table::<FlowKey, Opening>("OPENING");
        self.clear_table::<FlowKey, Held>("HELD");
        self.clear_table::<FlowKey, Held>("AHEAD");
        self.clear_table::<FlowKey, Locked<Client>>("CLIENTS");
        self.clear_table::<FlowKey, Locked<Upstream>>("UPSTREAMS");
        let mut counters: PerCpuHashMap<_, Pair, Counters> =
            PerCpuHashMap::try_from(self.map("STATS")).unwrap();
        let keys: Vec<Pair> = counters.keys().map(Result::unwrap).collect();
        for key in keys {
            counters.remove(&key).unwrap();
        }
        let processors = nr_cpus().unwrap();
        let zeros = PerCpuValues::try_from(vec![Events::default(); processors]).unwrap();
        let mut events: PerCpuArray<_, Events> = PerCpuArray::try_from(self.map("EVENTS")).unwrap();
        events.set(0, zeros, 0).unwrap();
        for function in 0..4 {
            let zeros = PerCpuValues::try_from(vec![0u32; processors]).unwrap();
            let mut draws: PerCpuArray<_, u32> = PerCpuArray::try_from(self.map("DRAWS")).unwrap();
            draws.set(function, zeros, 0).unwrap();
        }
    }

    fn clear_table<K: Pod, V: Pod>(&mut self, name: &str) {
        let mut table = self.hash::<K, V>(name);
        let keys: Vec<K> = table.keys().map(Result::unwrap).collect();
        for key in keys {
            match table.remove(&key) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(error) => panic!("emptying {name}: {error}"),
            }
        }
    }

    /// How many entries each table of connections has that has any.
    pub(crate) fn live(&mut self) -> BTreeMap<&'static str, usize> {
        let counts = [
            ("OPENING", self.entries::<Opening>("OPENING")),
            ("HELD", self.entries::<Held>("HELD")),
            ("AHEAD", self.entries::<Held>("AHEAD")),
            ("CLIENTS", self.entries::<Locked<Client>>("CLIENTS")),
            ("UPSTREAMS", self.entries::<Locked<Upstream>>("UPSTREAMS")),
        ];
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// The entries of all clients.
    pub(crate) fn clients(&mut self) -> Vec<(FlowKey, Client)> {
        let clients = self.hash::<FlowKey, Locked<Client>>("CLIENTS");
        let clients = clients.iter().map(Result::unwrap);
        clients.map(|(key, client)| (key, client.value)).collect()
    }

    /// The entries of all servers.
    pub(crate) fn upstreams(&mut self) -> Vec<(FlowKey, Upstream)> {
        let upstreams = self.hash::<FlowKey, Locked<Upstream>>("UPSTREAMS");
        let upstreams = upstreams.iter().map(Result::unwrap);
        upstreams.map(|(key, upstream)| (key, upstream.value)).collect()
    }

    /// The clients of which bytes are held in this table.
    pub(crate) fn waiting(&mut self, table: &str) -> Vec<FlowKey> {
        let held = self.hash::<FlowKey, Held>(table);
        held.keys().map(Result::unwrap).collect()
    }

    /// Changes the entry of a client.
    pub(crate) fn change_client(&mut self, key: &FlowKey, change: impl FnOnce(&mut Client)) {
        let mut clients = self.hash::<FlowKey, Locked<Client>>("CLIENTS");
        if let Ok(mut client) = clients.get(key, 0) {
            change(&mut client.value);
            clients.insert(key, client, 0).unwrap();
        }
    }

    /// Removes the entry of a connection from a table.
    pub(crate) fn forget<V: Pod>(&mut self, table: &str, key: &FlowKey) {
        let _missing = self.hash::<FlowKey, V>(table).remove(key);
    }

    /// The time up to which a bucket's tokens are taken.
    pub(crate) fn bucket(&mut self, bucket: u32) -> u64 {
        let arrival: Locked<u64> = self.array("BUCKETS").get(&bucket, 0).unwrap();
        arrival.value
    }

    /// Sets it.
    pub(crate) fn fill_bucket(&mut self, bucket: u32, value: u64) {
        let arrival = Locked {
            value,
            ..Locked::default()
        };
        self.array("BUCKETS").set(bucket, arrival, 0).unwrap();
    }

    /// What was counted, by function and peer, on all processors.
    pub(crate) fn counted(&mut self) -> BTreeMap<Pair, Counters> {
        let counters: PerCpuHashMap<_, Pair, Counters> = PerCpuHashMap::try_from(self.map("STATS")).unwrap();
        let mut sums = BTreeMap::new();
        for entry in counters.iter() {
            let (pair, values) = entry.unwrap();
            let sum: &mut Counters = sums.entry(pair).or_default();
            for value in values.iter() {
                sum.local += value.local;
                sum.forwarded += value.forwarded;
                sum.admitted += value.admitted;
                sum.not_found += value.not_found;
                sum.over_limit += value.over_limit;
                sum.unavailable += value.unavailable;
            }
        }
        sums
    }

    /// Sets when a SYN with data to a peer was lost, one more than the tick; 0 for never.
    pub(crate) fn set_data_lost(&mut self, peer: u32, tick: u32) {
        self.array("SYN_DATA_LOST").set(peer, tick, 0).unwrap();
    }

    pub(crate) fn set_flags(&mut self, change: impl FnOnce(u32) -> u32) {
        let mut settings = self.array::<Config>("CONFIG");
        let mut config = settings.get(&0, 0).unwrap();
        config.flags = change(config.flags);
        settings.set(0, config, 0).unwrap();
    }

    /// Makes a peer a place to send to.
    pub(crate) fn set_target(&mut self, index: u32, target: Target, stamp: Stamp) {
        self.array("TARGETS").set(index, target, 0).unwrap();
        self.hash("STAMPS").insert(index, stamp, 0).unwrap();
    }

    /// What may be sent to a peer.
    pub(crate) fn set_cap(&mut self, pair: Pair, limit: Limit) {
        self.hash("CAPS").insert(pair, limit, 0).unwrap();
    }

    /// Makes a function known.
    pub(crate) fn set_function(&mut self, name: &str, function: Function) {
        let name = filled::<NAME_BYTES>(name);
        self.hash("FUNCTIONS")
            .insert(FunctionKey { name }, function, 0)
            .unwrap();
    }
}
