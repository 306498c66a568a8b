//! What happens in a run: who asks for what, how servers behave, and what the network does to it.

use crate::{Micros, network::Mishap};

/// A run.
#[derive(Clone, Debug)]
pub struct Script {
    /// Where all chance comes from.
    pub seed: u64,
    /// How many peers there are.
    pub peers: u8,
    /// How the local server listens, and how each peer does.
    pub listening: Vec<Listening>,
    /// How servers' ends behave.
    pub servers: Side,
    /// Who asks.
    pub clients: Vec<Client>,
    /// The network between clients and the node, and between the node and its peers.
    pub networks: [Network; 2],
    /// What happens to which packet instead of what chance says: a run that is made smaller.
    pub mishaps: Option<Vec<Mishap>>,
}

/// How a server takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    /// It takes data that comes with a SYN.
    Early,
    /// It takes the SYN, and leaves its data.
    Late,
    /// It never sees a SYN that has data.
    DropsEarly,
    /// It refuses.
    Refuses,
}

/// How ends behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// Whether they offer selective acknowledgments.
    pub sack: bool,
    /// Whether they offer a window scale.
    pub is_scaled: bool,
    /// Whether they acknowledge each segment at once.
    pub quick_acks: bool,
}

/// A network: a delay, and mishaps in thousandths of its packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// How long a packet takes.
    pub delay: Micros,
    /// Never comes.
    pub lost: u32,
    /// Comes twice.
    pub doubled: u32,
    /// Comes late, behind others.
    pub late: u32,
    /// Comes in two parts.
    pub cut: u32,
    /// Comes in one with the packet behind it, if they are of one connection.
    pub merged: u32,
}

/// A client with one connection.
#[derive(Clone, Debug)]
pub struct Client {
    /// When it opens it.
    pub start: Micros,
    /// How its end behaves.
    pub side: Side,
    /// What it asks for.
    pub requests: Vec<Request>,
    /// How it ends.
    pub ending: Ending,
}

/// How a client ends its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It closes when it has its last answer.
    Close,
    /// It closes for writing right behind its last request, and waits for answers.
    HalfClose,
    /// It resets so long after its last request.
    Reset(Micros),
    /// It waits so long after its last answer, and closes then.
    Linger(Micros),
}

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Safe.
    Get,
    /// Safe, and its answer has no body.
    Head,
    /// Neither safe nor idempotent.
    Post,
}

/// Which function a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// One that the node serves itself.
    Here,
    /// One that only its peers serve.
    Away,
    /// One that the node serves in part, and its peers.
    Shared,
    /// One that nobody knows: 404.
    Unknown,
    /// One that nobody has room for: 503.
    Full,
    /// No function at all: 403.
    Outside,
}

/// A request, and what its server does about it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its number, which is nobody else's in the run.
    pub id: u32,
    /// Its method.
    pub method: Method,
    /// What it asks for.
    pub function: Function,
    /// How long its head is, in bytes, if it can be so short.
    pub head_bytes: usize,
    /// How long its body is, in bytes.
    pub body_bytes: usize,
    /// Where it is cut into writes.
    pub cuts: Vec<usize>,
    /// The time between those.
    pub gap: Micros,
    /// Whether it does not wait for the answer before it.
    pub is_pipelined: bool,
    /// The time behind the answer before it.
    pub pause: Micros,
    /// Whether it says that it is the last.
    pub says_close: bool,
    /// What the server does.
    pub answer: Answer,
}

/// What a server does about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it answers at all.
    pub manner: Manner,
    /// How long it takes to begin.
    pub delay: Micros,
    /// How the end of its body is told.
    pub framing: Framing,
    /// How long its body is, in bytes.
    pub body_bytes: usize,
    /// How long its head is, in bytes, if it can be so short.
    pub head_bytes: usize,
    /// In how many writes it comes.
    pub writes: u8,
    /// The time between those.
    pub gap: Micros,
    /// Whether `100 Continue` or another interim answer comes before it.
    pub has_interim: bool,
    /// Whether it has a body although it must not have one.
    pub has_wrong_body: bool,
    /// Whether it says that the connection ends.
    pub says_close: bool,
    /// So long after its end the server closes, without a word if it has not said so.
    pub closes_after: Option<Micros>,
}

/// How a server treats a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It answers.
    Answer,
    /// It closes instead.
    Close,
    /// It resets instead.
    Reset,
    /// It does nothing.
    Silent,
    /// It has no room (503), and says as a node that the request may go elsewhere.
    Refuse,
    /// It resets in the middle of its answer.
    BreakOff,
}

/// How the end of an answer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By `Content-Length`.
    Length,
    /// By chunks of so many bytes.
    Chunks(usize),
    /// By the end of the connection.
    End,
}

impl Script {
    /// All requests.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.clients.iter().flat_map(|client| &client.requests)
    }

    /// Whether the networks lose, double or delay nothing.
    #[must_use]
    pub fn is_undisturbed(&self) -> bool {
        let is_quiet = |network: &Network| network.lost == 0 && network.late == 0 && network.doubled == 0;
        match &self.mishaps {
            Some(mishaps) => mishaps.iter().all(|mishap| !mishap.is_harmful()),
            None => self.networks.iter().all(is_quiet),
        }
    }
}
