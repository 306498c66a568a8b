//! The programs in the kernel with maps of their own, and what they make of a frame.

mod tables;

use std::{path::Path, process::Command};

use aya::{
    Ebpf, EbpfLoader, Pod, TestRunOptions,
    maps::{Array, HashMap, LpmTrie, Map, MapData, PerCpuArray, lpm_trie::Key},
    programs::{SchedClassifier, TestRun as _, Xdp},
};
use aya_log::EbpfLogger;
use dfaas_common::{
    decide::Answer,
    guard::Guard,
    http::{NAME_BYTES, NODE_ID_BYTES},
    log,
    maps::{
        Client, Config, Events, FALLBACKS, FlowKey, Function, FunctionKey, LOCAL, Locked, Opening, Pair,
        Peer, PeerKey, REPLY_BYTES, Reply, STAMP_BYTES, Stamp, Target, Upstream,
    },
    meter::Limit,
    packet::{Address, fold},
    pairing::TokenText,
    pick::{SELF, SLOTS},
};
use dfaas_testbed::bpftool;

pub(crate) const NODE: [u8; 4] = [10, 77, 0, 1];
pub(crate) const PEER: [u8; 4] = [10, 77, 0, 2];
pub(crate) const NODE_IPV6: [u8; 16] = [0xfd, 0, 0, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
pub(crate) const PEER_IPV6: [u8; 16] = [0xfd, 0, 0, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
pub(crate) const PEER_INDEX: u32 = 1;
pub(crate) const PEER_ID: &str = "12D3KooWPeer";
pub(crate) const STAMP: &str =
    "DFaaS-Node-ID: 12D3KooWSelf\r\nDFaaS-Node-Token: 5555555555555555aaaaaaaaaaaaaaaa\r\n";
/// The tokens of the peer: its present one and the one before.
pub(crate) const PEER_TOKENS: [&str; 2] = [
    "00112233445566778899aabbccddeeff",
    "ffeeddccbbaa99887766554433221100",
];
pub(crate) const PORT: u16 = 80;
pub(crate) const SECRET: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];
pub(crate) const SEGMENT_SIZE: u16 = 1280;
pub(crate) const NAT_FIRST: u16 = 40_960;
pub(crate) const NAT_MASK: u16 = 16_383;

/// What a program says about a frame (`TC_ACT_*`). `TC_ACT_OK` is none of them: it would keep the packet from all
/// programs and filters behind ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// `TC_ACT_UNSPEC`: on to the next program, and on its way.
    Pass,
    Drop,
    Redirect,
}

/// A frame after a program has seen it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) verdict: Verdict,
    pub(crate) frame: Vec<u8>,
}

pub(crate) struct Bench {
    ebpf: Ebpf,
}

impl Bench {
    /// The programs as an agent has set them up that takes no data in SYNs.
    pub(crate) fn new() -> Self {
        Self::with_flags(0)
    }

    /// The programs with these `DATA_IN_SYN_*`.
    pub(crate) fn with_flags(flags: u32) -> Self {
        Self::load(flags, &[], None)
    }

    /// The programs with room for so many entries in a map.
    pub(crate) fn with_room(map: &'static str, entries: u32) -> Self {
        Self::load(0, &[(map, entries)], None)
    }

    /// The programs with a log up to a level.
    pub(crate) fn with_log(level: u8) -> Self {
        Self::load(0, &[], Some(level))
    }

    /// The programs with so many source ports, a power of two.
    pub(crate) fn with_ports(ports: u16) -> Self {
        let mut bench = Self::new();
        let mut settings = bench.array::<Config>("CONFIG");
        let config = settings.get(&0, 0).unwrap();
        let narrow = Config {
            nat_mask: ports - 1,
            ..config
        };
        settings.set(0, narrow, 0).unwrap();
        bench
    }

    fn load(flags: u32, sizes: &[(&'static str, u32)], log_level: Option<u8>) -> Self {
        let object = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap()
            .join("target/ebpf/bpfel-unknown-none/release/dfaas-ebpf");
        let mut loader = EbpfLoader::new();
        for (map, entries) in sizes {
            loader.map_max_entries(map, *entries);
        }
        if let Some(level) = &log_level {
            loader.override_global(log::LEVEL, level, true);
        }
        let mut ebpf = loader
            .load_file(&object)
            .unwrap_or_else(|error| panic!("{}: {error}; cargo xtask build-ebpf", object.display()));
        for name in ["ingress", "egress"] {
            let program: &mut SchedClassifier = ebpf.program_mut(name).unwrap().try_into().unwrap();
            program.load().unwrap();
        }
        let mut bench = Self { ebpf };
        bench.configure(flags);
        bench
    }

    fn configure(&mut self, flags: u32) {
        let config = Config {
            addresses: [Address::from_ipv4(NODE), Address::from_ipv6(NODE_IPV6)],
            port: PORT.to_be_bytes(),
            segment_bytes: SEGMENT_SIZE,
            nat_first: NAT_FIRST,
            nat_mask: NAT_MASK,
            flags: flags | LOCAL,
            tick: 0,
            secret: SECRET,
            attended_until_ns: u64::MAX,
        };
        self.array("CONFIG").set(0, config, 0).unwrap();
        for answer in Answer::ALL {
            for (ends, text) in [
                (true, answer.response()),
                (false, &answer.kept_response().concat()),
            ] {
                self.array("REPLIES")
                    .set(answer.number(ends).into(), reply(text), 0)
                    .unwrap();
            }
        }
    }

    /// Makes a function known that is served here at a limit, and else by the peer at another.
    pub(crate) fn offer(&mut self, name: &str, local: Limit, cap: Limit) {
        self.offer_as(0, name, local, cap);
    }

    /// The same under the number of the function.
    pub(crate) fn offer_as(&mut self, id: u32, name: &str, local: Limit, cap: Limit) {
        let target = Target {
            addresses: [Address::from_ipv4(PEER), Address::from_ipv6(PEER_IPV6)],
            port: PORT.to_be_bytes(),
            reserved: 0,
            flags: 0,
        };
        self.array("TARGETS").set(PEER_INDEX, target, 0).unwrap();
        let stamp = Stamp {
            length: u32::try_from(STAMP.len()).unwrap(),
            reserved: 0,
            bytes: filled::<STAMP_BYTES>(STAMP),
        };
        self.hash("STAMPS").insert(PEER_INDEX, stamp, 0).unwrap();
        self.pair(PEER_TOKENS, 0);
        let pair = Pair {
            function: id,
            peer: PEER_INDEX,
        };
        self.hash("CAPS").insert(pair, cap, 0).unwrap();
        let function = Function {
            id,
            hosted: 1,
            local,
            slots: [PEER_INDEX as u16; SLOTS],
            fallbacks: [SELF; FALLBACKS],
        };
        let key = FunctionKey {
            name: filled::<NAME_BYTES>(name),
        };
        self.hash("FUNCTIONS").insert(key, function, 0).unwrap();
    }

    /// Sets the peer's `TARGET_*`.
    pub(crate) fn target_flags(&mut self, flags: u32) {
        let mut targets = self.array::<Target>("TARGETS");
        let target = targets.get(&PEER_INDEX, 0).unwrap();
        targets.set(PEER_INDEX, Target { flags, ..target }, 0).unwrap();
    }

    /// Makes one more peer known, and a function that only it has room for. Returns the peer's address.
    pub(crate) fn offer_peer(&mut self, index: u8, name: &str) -> [u8; 4] {
        // The first is that of the other functions.
        let id = PEER_INDEX + u32::from(index);
        self.offer_as(id, name, Limit::NONE, Limit::NONE);
        let address = [10, 77, 1, index];
        let target = Target {
            addresses: [Address::from_ipv4(address), Address::default()],
            port: PORT.to_be_bytes(),
            reserved: 0,
            flags: 0,
        };
        self.array("TARGETS").set(id, target, 0).unwrap();
        let stamp: Stamp = self.hash("STAMPS").get(&PEER_INDEX, 0).unwrap();
        self.hash("STAMPS").insert(id, stamp, 0).unwrap();
        let pair = Pair {
            function: id,
            peer: id,
        };
        self.hash("CAPS").insert(pair, Limit::UNLIMITED, 0).unwrap();
        let key = FunctionKey {
            name: filled::<NAME_BYTES>(name),
        };
        let mut functions = self.hash::<FunctionKey, Function>("FUNCTIONS");
        let mut function = functions.get(&key, 0).unwrap();
        function.slots = [id as u16; SLOTS];
        functions.insert(key, function, 0).unwrap();
        address
    }

    /// Makes the peer known with these tokens.
    pub(crate) fn pair(&mut self, tokens: [&str; 2], flags: u32) {
        let key = PeerKey {
            id: filled::<NODE_ID_BYTES>(PEER_ID),
        };
        let peer = Peer {
            index: PEER_INDEX,
            addresses: [Address::from_ipv4(PEER), Address::from_ipv6(PEER_IPV6)],
            flags,
            tokens: tokens.map(|token| TokenText::new(&filled(token))),
        };
        self.hash("PEERS").insert(key, peer, 0).unwrap();
    }

    /// Lets the peer send requests of function 0 at a limit.
    pub(crate) fn admit(&mut self, limit: Limit) {
        let pair = Pair {
            function: 0,
            peer: PEER_INDEX,
        };
        self.hash("ADMISSIONS").insert(pair, limit, 0).unwrap();
    }

    /// Runs a program on a frame; nothing if the kernel does not run it on such a frame.
    pub(crate) fn try_run(&mut self, program: &str, frame: &[u8]) -> Option<Seen> {
        let program: &mut SchedClassifier = self.ebpf.program_mut(program).unwrap().try_into().unwrap();
        let mut out = vec![0; 4096];
        let result = program.test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::default()
        });
        let result = result.ok()?;
        let verdict = match result.return_value {
            u32::MAX => Verdict::Pass,
            2 => Verdict::Drop,
            7 => Verdict::Redirect,
            other => panic!("verdict {other}"),
        };
        out.truncate(result.data_size_out as usize);
        Some(Seen { verdict, frame: out })
    }

    /// What the verifier has left of a program, as `bpftool` prints it.
    pub(crate) fn translated(&self, program: &str) -> String {
        let program: &SchedClassifier = self.ebpf.program(program).unwrap().try_into().unwrap();
        let id = program.info().unwrap().id().to_string();
        let dump = bpftool(&["prog", "dump", "xlated", "id", &id]).unwrap();
        dump.to_string()
    }

    /// Has a logger get what the programs log.
    pub(crate) fn logger<T: ::log::Log>(&mut self, logger: T) -> EbpfLogger<T> {
        EbpfLogger::init_with_logger(&mut self.ebpf, logger).unwrap()
    }

    /// Runs ingress on a frame, whatever becomes of it. Processors may do so at the same time.
    pub(crate) fn run_ingress(&self, frame: &[u8]) {
        let program: &SchedClassifier = self.ebpf.program("ingress").unwrap().try_into().unwrap();
        let options = TestRunOptions {
            data_in: Some(frame),
            ..TestRunOptions::default()
        };
        program.test_run(options).unwrap();
    }

    /// Loads the guard with these settings.
    pub(crate) fn guard(&mut self, settings: Guard) {
        let program: &mut Xdp = self.ebpf.program_mut("guard").unwrap().try_into().unwrap();
        program.load().unwrap();
        self.array("GUARD").set(0, settings, 0).unwrap();
    }

    /// Whether the guard lets a frame in.
    pub(crate) fn admits(&mut self, frame: &[u8]) -> bool {
        let program: &mut Xdp = self.ebpf.program_mut("guard").unwrap().try_into().unwrap();
        let result = program.test_run(TestRunOptions {
            data_in: Some(frame),
            ..TestRunOptions::default()
        });
        match result.unwrap().return_value {
            1 => false,
            2 => true,
            other => panic!("verdict {other}"),
        }
    }

    pub(crate) fn block(&mut self, prefix: Address, bits: u32) {
        self.blocked().insert(&Key::new(bits, prefix), 1, 0).unwrap();
    }

    pub(crate) fn unblock(&mut self, prefix: Address, bits: u32) {
        self.blocked().remove(&Key::new(bits, prefix)).unwrap();
    }

    fn blocked(&mut self) -> LpmTrie<&mut MapData, Address, u32> {
        LpmTrie::try_from(self.map("BLOCKED")).unwrap()
    }

    pub(crate) fn ingress(&mut self, frame: &[u8]) -> Seen {
        self.try_run("ingress", frame)
            .expect("the kernel runs whole frames")
    }

    pub(crate) fn egress(&mut self, frame: &[u8]) -> Seen {
        self.try_run("egress", frame)
            .expect("the kernel runs whole frames")
    }

    /// What happened so far, on all CPUs.
    pub(crate) fn events(&mut self) -> std::collections::BTreeMap<&'static str, u64> {
        let events: PerCpuArray<&mut MapData, Events> = PerCpuArray::try_from(self.map("EVENTS")).unwrap();
        let mut total = std::collections::BTreeMap::new();
        for cpu in events.get(&0, 0).unwrap().iter() {
            for (name, count) in cpu.named() {
                *total.entry(name).or_default() += count;
            }
        }
        total.retain(|_, count| *count > 0);
        total
    }

    pub(crate) fn opening(&mut self, key: &FlowKey) -> Option<Opening> {
        self.hash("OPENING").get(key, 0).ok()
    }

    pub(crate) fn client(&mut self, key: &FlowKey) -> Option<Client> {
        let client: Locked<Client> = self.hash("CLIENTS").get(key, 0).ok()?;
        Some(client.value)
    }

    /// Has a client's last request be this much older.
    pub(crate) fn wait(&mut self, key: &FlowKey, milliseconds: u32) {
        let mut clients = self.hash::<FlowKey, Locked<Client>>("CLIENTS");
        let mut client = clients.get(key, 0).unwrap();
        client.value.asked_ms = client.value.asked_ms.wrapping_sub(milliseconds);
        clients.insert(key, client, 0).unwrap();
    }

    /// Has so many bytes of a client's request have passed, as its entry sees it.
    pub(crate) fn pass(&mut self, key: &FlowKey, bytes: u32) {
        let mut clients = self.hash::<FlowKey, Locked<Client>>("CLIENTS");
        let mut client = clients.get(key, 0).unwrap();
        client.value.request.at = client.value.request.at.wrapping_add(bytes);
        client.value.request.left -= u64::from(bytes);
        clients.insert(key, client, 0).unwrap();
    }

    /// Sets the clock of flows.
    pub(crate) fn tick(&mut self, tick: u32) {
        let mut config = self.array::<Config>("CONFIG");
        let now = config.get(&0, 0).unwrap();
        config.set(0, Config { tick, ..now }, 0).unwrap();
    }

    /// Has a map of connections forget one.
    pub(crate) fn remove<V: Pod>(&mut self, name: &str, key: &FlowKey) {
        self.hash::<FlowKey, V>(name).remove(key).unwrap();
    }

    /// How many entries a map of connections has.
    pub(crate) fn entries<V: Pod>(&mut self, name: &str) -> usize {
        self.hash::<FlowKey, V>(name).keys().count()
    }

    pub(crate) fn upstream(&mut self, key: &FlowKey) -> Option<Upstream> {
        let upstream: Locked<Upstream> = self.hash("UPSTREAMS").get(key, 0).ok()?;
        Some(upstream.value)
    }

    fn array<T: Pod>(&mut self, name: &str) -> Array<&mut MapData, T> {
        Array::try_from(self.map(name)).unwrap()
    }

    fn hash<K: Pod, V: Pod>(&mut self, name: &str) -> HashMap<&mut MapData, K, V> {
        HashMap::try_from(self.map(name)).unwrap()
    }

    fn map(&mut self, name: &str) -> &mut Map {
        self.ebpf
            .map_mut(name)
            .unwrap_or_else(|| panic!("the object has no map {name}"))
    }
}

fn reply(text: &str) -> Reply {
    let mut reply = Reply {
        length: u32::try_from(text.len()).unwrap(),
        sum: 0,
        bytes: [0; REPLY_BYTES],
    };
    reply.bytes[..text.len()].copy_from_slice(text.as_bytes());
    let words = reply.bytes.chunks_exact(2);
    let sum = words.map(|pair| u64::from(u16::from_ne_bytes([pair[0], pair[1]])));
    reply.sum = fold(sum.sum()).into();
    reply
}

fn filled<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}

/// What `bpftool` prints for the maps of a name, of all programs that are loaded.
pub(crate) fn dump(name: &str) -> String {
    let output = Command::new("bpftool")
        .args(["map", "dump", "name", name])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "bpftool map dump name {name}: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}
