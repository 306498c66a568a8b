//! The federation under virtual time.
//!
//! One event after another: users come, requests travel, servers finish, messages arrive, minds are asked. Nothing reads
//! a clock or another source of chance than the seed, so that a run is the same on every machine.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dfaas_control::{Input, NodeId};

use self::clock::Clock;
use self::node::{Mind, Node};
use self::recorder::Recorder;
use self::requests::Requests;
use crate::demand::Arrivals;
use crate::random::{Purpose, Random};
use crate::record::Record;
use crate::rivals::News;
use crate::scenario::{Happening, Scenario};
use crate::strategy::{Origin, StrategyName};
use crate::topology::{Quality, Ways};

mod clock;
mod kernel;
mod minds;
mod node;
mod recorder;
mod requests;
mod station;
#[cfg(test)]
mod tests;

/// The first wait of TCP for a lost packet (Linux); it doubles each time.
const RETRANSMISSION_NS: u64 = 200_000_000;
/// After so much silence a connection between nodes counts as lost, as in the agent's overlay.
const SILENCE_NS: u64 = 3_000_000_000;
/// How long it takes until nodes that cannot reach each other any more find that they can again.
const REDIAL_NS: u64 = 1_000_000_000;
/// How long after the last user requests may take; what is then still under way has failed.
const DRAIN_NS: u64 = 120_000_000_000;

/// Something that happens.
enum Event {
    /// A user of a demand comes.
    Arrival(usize),
    /// A node starts.
    Start(usize),
    /// Two nodes have a connection, if they still can.
    Meet([usize; 2]),
    /// A node finds that another one is silent.
    Lost { by: usize, peer: usize },
    /// A node's mind wants to be asked.
    Wake(usize),
    /// An agent gets an input from another one.
    Told { to: usize, input: Box<Input> },
    /// A rival's period is over.
    Round { node: usize, incarnation: u64 },
    /// A rival hears of a neighbour.
    Heard { to: usize, from: usize, news: Box<News> },
    /// A request arrives at the node that it was sent to.
    AtPeer { request: usize, peer: usize },
    /// A request comes back unserved, or nothing comes back from where it was sent.
    Back { request: usize, peer: usize },
    /// A server of a node has finished a request.
    Done {
        request: usize,
        node: usize,
        incarnation: u64,
    },
    /// The answer has come back.
    Answered { request: usize, server: usize },
    /// Something of the scenario.
    Scripted(usize),
}

struct Engine<'a> {
    scenario: &'a Scenario,
    strategy: StrategyName,
    /// The time 0 of the run, for minds, which want an [`Instant`].
    start: Instant,
    clock: Clock<Event>,
    ids: Vec<NodeId>,
    numbers: BTreeMap<NodeId, u32>,
    nodes: Vec<Node>,
    neighbours: Vec<Vec<usize>>,
    ways: Ways,
    /// By node: only those of one group reach each other.
    groups: Vec<u32>,
    /// By pair: whether they have a connection.
    connected: Vec<bool>,
    arrivals: Vec<Arrivals>,
    requests: Requests,
    recorder: Recorder,
    network: Random,
    tokens: Random,
}

/// Runs a scenario under a strategy, and tells how far it is: a share of 1.
pub fn run(scenario: &Scenario, strategy: StrategyName, seed: u64, progress: &mut dyn FnMut(f64)) -> Record {
    let mut engine = Engine::new(scenario, strategy, seed);
    engine.run(progress);
    engine.recorder.record
}

impl<'a> Engine<'a> {
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant has no other origin; only differences matter"
    )]
    fn new(scenario: &'a Scenario, strategy: StrategyName, seed: u64) -> Self {
        let count = scenario.nodes.len();
        let ids: Vec<NodeId> = scenario
            .nodes
            .iter()
            .map(|node| NodeId::new(node.name.as_str()).expect("names were checked"))
            .collect();
        let node = |place: usize| {
            let random = Random::new(seed, Purpose::Balancer(place));
            let service = Random::new(seed, Purpose::Service(place));
            Node::new(scenario.functions.len(), count, random, service)
        };
        let arrivals = scenario.demands.iter().enumerate().map(|(place, demand)| {
            let random = Random::new(seed, Purpose::Demand(place));
            Arrivals::new(demand.rate.clone(), demand.from_s, demand.until_s, random)
        });
        let neighbours = scenario.graph.neighbours();
        let mut engine = Self {
            scenario,
            strategy,
            start: Instant::now(),
            clock: Clock::new(),
            numbers: ids.iter().cloned().zip(0..).collect(),
            ids,
            nodes: (0..count).map(node).collect(),
            neighbours: neighbours
                .into_iter()
                .map(|of| of.into_iter().collect())
                .collect(),
            ways: scenario.graph.ways(scenario.quality),
            groups: vec![0; count],
            connected: vec![false; count * count],
            arrivals: arrivals.collect(),
            requests: Requests::default(),
            recorder: Recorder::new(scenario),
            network: Random::new(seed, Purpose::Network),
            tokens: Random::new(seed, Purpose::Tokens),
        };
        engine.plan_beginning(seed);
        engine
    }

    /// Nodes do not start together: each at its own time within a period.
    fn plan_beginning(&mut self, seed: u64) {
        let mut phases = Random::new(seed, Purpose::Phases);
        for (place, node) in self.scenario.nodes.iter().enumerate() {
            let phase_ns = (phases.unit() * self.scenario.period.as_nanos() as f64) as u64;
            if node.starts {
                self.clock.plan(phase_ns, Event::Start(place));
            }
        }
        for (place, &(at_ns, _)) in self.scenario.events.iter().enumerate() {
            self.clock.plan(at_ns, Event::Scripted(place));
        }
        for demand in 0..self.arrivals.len() {
            self.plan_arrival(demand);
        }
    }

    fn run(&mut self, progress: &mut dyn FnMut(f64)) {
        let end_ns = u64::from(self.scenario.seconds) * 1_000_000_000;
        let is_over = |engine: &Self, next_ns: u64| {
            next_ns >= end_ns && (engine.requests.under_way() == 0 || next_ns >= end_ns + DRAIN_NS)
        };
        while let Some(next_ns) = self.clock.next_ns()
            && !is_over(self, next_ns)
        {
            while self.recorder.is_due(next_ns) {
                self.close_second();
                progress((next_ns as f64 / end_ns as f64).min(1.0));
            }
            if let Some(event) = self.clock.pop() {
                self.handle(event);
            }
        }
        self.fail_rest();
        while self.recorder.is_due(end_ns.max(self.clock.now_ns)) {
            self.close_second();
        }
        if self.clock.now_ns > end_ns {
            self.close_second();
        }
        progress(1.0);
    }

    fn close_second(&mut self) {
        let weights: Vec<_> = self.nodes.iter().map(|node| node.weights.clone()).collect();
        self.recorder.close(self.scenario, &weights);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrival(demand) => self.arrive(demand),
            Event::Start(node) => self.start_node(node),
            Event::Meet(pair) => self.meet(pair),
            Event::Lost { by, peer } => self.lose(by, peer),
            Event::Wake(node) => self.wake(node),
            Event::Told { to, input } => self.tell(to, *input),
            Event::Round { node, incarnation } => self.round(node, incarnation),
            Event::Heard { to, from, news } => {
                if let Mind::Rival(rival) = &mut self.nodes[to].mind {
                    rival.hear(from, &news);
                }
            }
            Event::AtPeer { request, peer } => self.arrive_at_peer(request, peer),
            Event::Back { request, peer } => self.come_back(request, peer),
            Event::Done {
                request,
                node,
                incarnation,
            } => self.finish(request, node, incarnation),
            Event::Answered { request, server } => self.answer(request, server),
            Event::Scripted(place) => self.follow_script(place),
        }
    }

    fn follow_script(&mut self, place: usize) {
        match &self.scenario.events[place].1 {
            Happening::Crash(node) => self.crash(*node),
            Happening::Join(node) => {
                if self.nodes[*node].is_up() {
                    self.crash(*node);
                }
                self.start_node(*node);
            }
            Happening::Partition(groups) => self.divide(groups.clone()),
            Happening::Heal => {
                self.divide(vec![0; self.nodes.len()]);
            }
        }
    }

    /// The way between two nodes, if they can reach each other.
    fn way(&self, from: usize, to: usize) -> Option<Quality> {
        let way = self.ways.between(from, to)?;
        (self.groups[from] == self.groups[to]).then_some(way)
    }

    /// How long a packet takes over a way, with what TCP sends again.
    fn travel_ns(&mut self, way: Quality) -> u64 {
        let mut delay_ns = way.latency_ns;
        if way.jitter_ns > 0 {
            delay_ns += (self.network.unit() * way.jitter_ns as f64) as u64;
        }
        let mut wait_ns = RETRANSMISSION_NS;
        while way.loss > 0.0 && self.network.chance(way.loss) {
            delay_ns += wait_ns;
            wait_ns *= 2;
        }
        delay_ns
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_nanos(self.clock.now_ns)
    }

    /// Whether the strategy is the agent's.
    fn is_agent(&self) -> bool {
        matches!(self.strategy.origin(), Origin::Agent(_))
    }
}
