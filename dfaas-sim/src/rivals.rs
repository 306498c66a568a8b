//! Who decides for itself, without `dfaas-control`: the strategies of the original's simulator, and balancers as users of
//! proxies know them. None of them is an agent's strategy; they are what those are compared with.

use serde::Serialize;

use crate::random::Random;
use crate::strategy::StrategyName;

pub mod balancers;
pub mod reference;

/// What a node tells its neighbours each period, by function.
#[derive(Debug, Clone, Default, Serialize)]
pub struct News(pub Vec<Option<FunctionNews>>);

/// What a node tells about a function that it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct FunctionNews {
    /// Requests per second that it can serve.
    pub capacity_rps: f64,
    /// Requests per second that its own users sent in the last period.
    pub demand_rps: f64,
    /// Requests that wait or are served now.
    pub inside: u32,
    /// How many are served at a time.
    pub servers: u32,
    /// The 95th percentile of the time from a request to its answer in the last period, in seconds; 0 if there was none.
    pub p95_s: f64,
    /// The share of all servers of the node that was at work for it.
    pub cpu_share: f64,
    /// The share of all servers of the node that was at work.
    pub cpu_share_node: f64,
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Here.
    Here,
    /// To the node of this number.
    There(usize),
    /// Nowhere: it is refused.
    Nowhere,
}

/// What a receiver makes of requests of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// What its own users left of its capacity.
    WithinCapacity,
    /// All that its queue has room for.
    All,
}

/// Decides for one node.
pub trait Rival: Send {
    /// Whether the node serves its own users as long as its capacity lasts, before anything is chosen.
    fn is_local_first(&self) -> bool;
    /// What it makes of requests of others.
    fn admission(&self) -> Admission;
    /// A neighbour has told of itself.
    fn hear(&mut self, from: usize, news: &News);
    /// A neighbour is gone.
    fn forget(&mut self, neighbour: usize);
    /// A period is over, in which this was measured here.
    fn close_period(&mut self, own: &News, random: &mut Random);
    /// Where a request goes, given how many of this node's requests each node has now.
    fn choose(&mut self, function: usize, outstanding: &[u32], random: &mut Random) -> Choice;
}

/// The one of a name, for a node with these neighbours; nothing for a strategy of the agent.
pub fn start(
    strategy: StrategyName,
    node: usize,
    neighbours: Vec<usize>,
    latency_threshold_s: f64,
) -> Option<Box<dyn Rival>> {
    use balancers::{LatencyThreshold, LeastConnections, PowerOfTwo};
    use reference::{Kind, Reference};
    Some(match strategy {
        StrategyName::Base => Box::new(Reference::new(Kind::Base, neighbours)),
        StrategyName::Random => Box::new(Reference::new(Kind::Random, neighbours)),
        StrategyName::Empirical => Box::new(Reference::new(Kind::Empirical, neighbours)),
        StrategyName::LatencyThreshold => {
            Box::new(LatencyThreshold::new(node, neighbours, latency_threshold_s))
        }
        StrategyName::LeastConnections => Box::new(LeastConnections::new(node, neighbours)),
        StrategyName::PowerOfTwo => Box::new(PowerOfTwo::new(node, neighbours)),
        StrategyName::WaterFilling
        | StrategyName::Recalc
        | StrategyName::Static
        | StrategyName::NodeMargin
        | StrategyName::External
        | StrategyName::AllLocal => return None,
    })
}
