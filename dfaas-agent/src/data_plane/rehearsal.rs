//! Policy written into maps that no packet meets: what that takes, and what becomes of more than there is room for.

use std::time::Duration;

use anyhow::Result;
use aya::Ebpf;
use dfaas_control::{NodeId, Policy};

use super::{
    DataInSyn, ProgramLevel, counting::CounterMaps, flows::Held, names::Names, policy::PolicyMaps, program,
};
use crate::clock;

/// The least connections that there can be room for: there will be none.
const FLOWS: u32 = 1_024;

/// The maps of the data plane without its programs. Dropping it removes them.
pub(crate) struct Rehearsal {
    // What is not taken out of it would be closed with it.
    _ebpf: Ebpf,
    pub(super) names: Names,
    pub(super) policy: PolicyMaps,
    counters: CounterMaps,
}

impl Rehearsal {
    /// Makes the maps.
    ///
    /// # Errors
    /// The missing privilege.
    pub(crate) fn new(node: &NodeId) -> Result<Self> {
        let mut ebpf = program::load(FLOWS, ProgramLevel::Off, None)?;
        Ok(Self {
            names: Names::new(),
            policy: PolicyMaps::new(&mut ebpf, node, DataInSyn::Peers)?,
            counters: CounterMaps::new(&mut ebpf, clock::now())?,
            _ebpf: ebpf,
        })
    }

    /// Writes what changed against the last policy, as the data plane does, and tells how long that took.
    ///
    /// # Errors
    /// The kernel refused a row.
    pub(crate) fn apply(&mut self, policy: &Policy) -> Result<Duration> {
        let begun = clock::now();
        self.names
            .make_room(policy, &mut self.counters, || Ok(Held::default()))?;
        self.policy.apply(policy, &mut self.names)?;
        self.policy.take_gone();
        Ok(clock::now().duration_since(begun))
    }
}
