//! What stands between clients and servers.

use crate::{
    Micros,
    outcome::{Finding, Report},
    script::Script,
    segment::Segment,
};

/// The node's address.
pub const NODE: [u8; 4] = [10, 77, 0, 1];
/// The address of a client, which is told by its port.
pub const CLIENT: [u8; 4] = [10, 77, 0, 100];
/// The port of clients, the first's.
pub const CLIENT_PORT: u16 = 41_000;
/// The port of the service.
pub const PORT: u16 = 80;

/// The address of a peer, by its index from 1.
#[must_use]
pub fn peer(index: u8) -> [u8; 4] {
    [10, 77, 0, 1 + index]
}

/// What stands between clients and servers: it gets each segment, and says which ones go on. One that is addressed to
/// [`NODE`] goes to the local stack, each other one out of the interface.
pub trait Node {
    /// Begins a run, of which nothing is known before.
    ///
    /// # Errors
    ///
    /// When it cannot.
    fn begin(&mut self, script: &Script) -> Result<(), String>;

    /// Handles a segment that comes in at the interface.
    ///
    /// # Errors
    ///
    /// What went wrong, which is a finding.
    fn arrive(&mut self, now: Micros, segment: &Segment) -> Result<Vec<Segment>, String>;

    /// Handles a segment that the local stack sends.
    ///
    /// # Errors
    ///
    /// What went wrong, which is a finding.
    fn depart(&mut self, now: Micros, segment: &Segment) -> Result<Vec<Segment>, String>;

    /// Looks at what it has at a moment between two segments.
    fn look(&mut self, script: &Script) -> Vec<Finding>;

    /// Says what is wrong with what it has counted and kept, when all is over.
    fn end(&mut self, now: Micros, script: &Script, report: &Report) -> Vec<Finding>;

    /// Whether it has nothing about the connection of a segment that comes in, so that it asks its stack for what that
    /// remembers.
    fn has_forgotten(&mut self, segment: &Segment) -> bool;

    /// Whether it is a data plane: it refuses what nobody serves, and sends to peers.
    fn decides(&self) -> bool;
}

/// Nobody: the local stack alone.
#[derive(Debug, Default)]
pub struct Plain;

impl Node for Plain {
    fn begin(&mut self, _: &Script) -> Result<(), String> {
        Ok(())
    }

    fn arrive(&mut self, _: Micros, segment: &Segment) -> Result<Vec<Segment>, String> {
        Ok(vec![segment.clone()])
    }

    fn depart(&mut self, _: Micros, segment: &Segment) -> Result<Vec<Segment>, String> {
        Ok(vec![segment.clone()])
    }

    fn look(&mut self, _: &Script) -> Vec<Finding> {
        Vec::new()
    }

    fn end(&mut self, _: Micros, _: &Script, _: &Report) -> Vec<Finding> {
        Vec::new()
    }

    fn has_forgotten(&mut self, _: &Segment) -> bool {
        false
    }

    fn decides(&self) -> bool {
        false
    }
}
