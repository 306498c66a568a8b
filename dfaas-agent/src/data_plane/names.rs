//! The numbers that the kernel knows functions and peers by.

use anyhow::Result;
use dfaas_common::maps::{self, Pair};
use dfaas_control::{FunctionName, NodeId, Policy};

use super::{counting::CounterMaps, flows::Held, indices::Indices};

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
