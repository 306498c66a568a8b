//! What became of a run.

use std::fmt;

use crate::{Micros, http::Read, network::Mishap, tcp::Reason};

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its client never came to ask.
    Unasked,
    /// Its client waits.
    Waiting,
    /// An answer came.
    Answered(Read),
    /// The connection ended: closed (nothing), or for a reason.
    Ended(Option<Reason>),
    /// Its client has lost patience, or went as the script says.
    GivenUp,
}

/// A request and what became of it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its number.
    pub id: u32,
    /// When the first byte was written.
    pub asked_at: Micros,
    /// When the last byte was written.
    pub whole_at: Option<Micros>,
    /// When it was decided what became of it.
    pub ended_at: Micros,
    /// What became of it.
    pub fate: Fate,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wrong {
    /// A client waited too long.
    Hang,
    /// An answer is another request's, or has other bytes.
    Mixed,
    /// A client was told that something broke, and nothing did.
    Broken,
    /// A server got what no client sent.
    Garbage,
    /// A request that may run only once ran twice.
    Twice,
    /// A request waited for a retransmission although nothing was lost.
    Stall,
    /// An end was told what cannot be.
    Protocol,
    /// The node could not go on.
    Node,
    /// Requests or tokens were counted wrong.
    Count,
    /// Something was left in a table.
    Leak,
    /// A server's connection was left open.
    Abandoned,
}

/// What is wrong, with details.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What.
    pub wrong: Wrong,
    /// Details.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.wrong, self.text)
    }
}

/// What became of a run.
#[derive(Debug)]
pub struct Report {
    /// Each request, in the order of the script.
    pub asked: Vec<Asked>,
    /// Requests that came whole to a server, with its name.
    pub served: Vec<(String, u32)>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What happened to packets.
    pub mishaps: Vec<Mishap>,
    /// All segments, if they were asked for.
    pub trace: Vec<String>,
    /// How long it took, in virtual time.
    pub took: Micros,
    /// How many segments the node has seen.
    pub segments: u64,
}
