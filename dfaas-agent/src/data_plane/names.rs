//! The numbers that the kernel knows functions and peers by.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use dfaas_common::{
    http::{NAME_BYTES, NODE_ID_BYTES},
    maps::{self, Name, Number, Pair},
};
use dfaas_control::{FunctionName, NodeId, Policy};

use super::{counting::CounterMaps, flows::Held, indices::Indices, pins, remove, take};

/// What a number is of, in [`Number::kind`].
const FUNCTION: u32 = 0;
const PEER: u32 = 1;

/// Who has which number.
pub(super) struct Names {
    pub(super) functions: Indices<FunctionName>,
    pub(super) peers: Indices<NodeId>,
}

impl Names {
    pub(super) fn new() -> Self {
        Self {
            functions: Indices::new(0, maps::FUNCTIONS as u32),
            // Index 0 is this node.
            peers: Indices::new(1, maps::TARGETS as u32),
        }
    }

    pub(super) fn pair(&self, function: &FunctionName, peer: &NodeId) -> Option<Pair> {
        Some(Pair {
            function: self.functions.get(function)?,
            peer: self.peers.get(peer)?,
        })
    }

    /// Gives functions and peers the numbers that they have in rows, and those that an agent before this one has told in a
    /// table. Those without rows are of no use.
    pub(super) fn restore(
        &mut self,
        mut functions: Vec<(FunctionName, u32)>,
        mut peers: Vec<(NodeId, u32)>,
        table: &NameMap,
    ) -> Result<()> {
        for entry in table.0.iter() {
            let (number, name) = entry.context("reading NAMES")?;
            match number.kind {
                FUNCTION => {
                    functions.extend(FunctionName::new(text(&name.text)).map(|name| (name, number.index)))
                }
                _ => peers.extend(NodeId::new(text(&name.text)).map(|id| (id, number.index))),
            }
        }
        self.functions.restore(functions);
        self.peers.restore(peers);
        for name in self.functions.keys().cloned().collect::<Vec<_>>() {
            self.functions.retire(&name);
        }
        for id in self.peers.keys().cloned().collect::<Vec<_>>() {
            self.peers.retire(&id);
        }
        Ok(())
    }

    /// Gives all of a policy numbers, as far as there are any.
    pub(super) fn claim(&mut self, policy: &Policy) {
        for name in policy.functions.keys() {
            self.functions.claim(name);
        }
        let ids = policy
            .peers
            .keys()
            .filter(|id| id.as_str().len() <= NODE_ID_BYTES);
        for id in ids {
            self.peers.claim(id);
        }
    }

    /// Takes numbers back of functions and peers that left, if those of a policy need them and no connection has them.
    pub(super) fn make_room(
        &mut self,
        policy: &Policy,
        counters: &mut CounterMaps,
        held: impl FnOnce() -> Result<Held>,
    ) -> Result<()> {
        let functions = self.functions.lacking(policy.functions.keys());
        let peers = self.peers.lacking(policy.peers.keys());
        if functions + peers == 0 {
            return Ok(());
        }
        let held = held()?;
        for index in self
            .functions
            .reclaim(functions, |index| held.functions.contains(&index))
        {
            counters.forget(|pair| pair.function == index)?;
        }
        for index in self.peers.reclaim(peers, |index| held.peers.contains(&index)) {
            counters.forget(|pair| pair.peer == index)?;
        }
        Ok(())
    }
}

/// What the next agent is told about numbers.
pub(super) struct NameMap(HashMap<MapData, Number, Name>);

impl NameMap {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self(HashMap::try_from(take(ebpf, pins::NAMES)?)?))
    }

    /// Tells who has numbers that have changed hands. Call it before they come into rows.
    pub(super) fn tell(&mut self, names: &mut Names) -> Result<()> {
        for (index, name) in names.functions.take_changed() {
            self.write(FUNCTION, index, name.as_ref().map(FunctionName::as_str))?;
        }
        for (index, id) in names.peers.take_changed() {
            self.write(PEER, index, id.as_ref().map(NodeId::as_str))?;
        }
        Ok(())
    }

    fn write(&mut self, kind: u32, index: u32, name: Option<&str>) -> Result<()> {
        let number = Number { kind, index };
        let mut value = Name {
            text: [0; NAME_BYTES],
        };
        let room = name.and_then(|name| value.text.get_mut(..name.len()).zip(Some(name)));
        let Some((room, name)) = room else {
            return remove(&mut self.0, &number, pins::NAMES);
        };
        room.copy_from_slice(name.as_bytes());
        self.0.insert(number, value, 0).context("writing NAMES")
    }
}

/// The text before the zeros that fill it up.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
