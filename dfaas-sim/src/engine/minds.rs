//! Starts and ends of nodes, what they tell each other, and what their minds decide.

use std::time::Duration;

use dfaas_control::{
    Control, FunctionSpec, Input, LoadGroup, MarginSettings, Neighbourhood, NodeUsage, Output, Policy,
    ServiceAddress, Settings, StrategyKind, Token, Tokenless,
};

use super::node::{Mind, Node};
use super::{Engine, Event, REDIAL_NS, SILENCE_NS};
use crate::rivals;
use crate::scenario::NodeSpec;
use crate::strategy::Origin;

/// How long a peer uses a token; the agent's default.
const TOKEN_ROTATION: Duration = Duration::from_secs(600);

impl Engine<'_> {
    pub(super) fn start_node(&mut self, node: usize) {
        let neighbours = self.neighbours[node].clone();
        let mind = match self.strategy.origin() {
            Origin::Agent(kind) => Mind::Agent(Box::new(Control::new(self.settings(node, kind), self.now()))),
            Origin::Reference | Origin::Balancer => {
                let threshold_s = self.scenario.latency_threshold.as_secs_f64();
                rivals::start(self.strategy, node, neighbours, threshold_s).map_or(Mind::None, Mind::Rival)
            }
        };
        let spec = &self.scenario.nodes[node];
        self.nodes[node].start(mind, spec, self.clock.now_ns);
        for other in (0..self.nodes.len()).filter(|&other| other != node) {
            if let Some(way) = self.way(node, other)
                && self.nodes[other].is_up()
            {
                self.clock.after(2 * way.latency_ns, Event::Meet([node, other]));
            }
        }
        if self.is_agent() {
            self.tell(node, Input::Clock(Duration::from_nanos(self.clock.now_ns)));
            self.tell(node, Input::Functions(functions(spec, &self.scenario.functions)));
        } else {
            // What is known from the beginning: who runs what.
            self.round(node, self.nodes[node].incarnation);
        }
    }

    fn settings(&self, node: usize, kind: StrategyKind) -> Settings {
        let [high, low] = (node as u16 + 1).to_be_bytes();
        let neighbourhood = if self.scenario.graph.is_mesh() {
            Neighbourhood::Everyone
        } else {
            let ids = self.neighbours[node].iter().map(|&other| self.ids[other].clone());
            Neighbourhood::Listed(ids.collect())
        };
        Settings {
            node: self.ids[node].clone(),
            incarnation: self.nodes[node].incarnation + 1,
            service: ServiceAddress::new([10, 77, high, low].into(), 80),
            period: self.scenario.period,
            strategy: kind,
            token_rotation: TOKEN_ROTATION,
            tokenless: Tokenless::default(),
            neighbourhood,
            shadow: None,
            default_capacity_rps: 10.0,
            node_margin: self.margin_settings(node),
        }
    }

    /// A node may use as much processor time as its functions do at their capacity; all functions are of one group.
    fn margin_settings(&self, node: usize) -> MarginSettings {
        let stations = self.scenario.nodes[node].functions.iter().flatten();
        let percent: f64 = stations
            .map(|station| station.capacity_rps * station.service.mean_ms() / 10.0)
            .sum();
        let groups = self.scenario.functions.iter().cloned();
        MarginSettings {
            limits: NodeUsage {
                cpu_percent: Some(percent.max(1.0)),
                ..NodeUsage::default()
            },
            groups: groups.map(|name| (name, LoadGroup::Medium)).collect(),
            ..MarginSettings::default()
        }
    }

    /// A node ends without a word.
    pub(super) fn crash(&mut self, node: usize) {
        self.nodes[node].mind = Mind::None;
        self.fail_inside(node);
        for other in 0..self.nodes.len() {
            if self.are_connected(node, other) {
                self.set_connected(node, other, false);
                self.clock.after(
                    SILENCE_NS,
                    Event::Lost {
                        by: other,
                        peer: node,
                    },
                );
            }
        }
    }

    /// Only nodes of the same group reach each other from now on.
    pub(super) fn divide(&mut self, groups: Vec<u32>) {
        self.groups = groups;
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                let is_open = self.way(a, b).is_some();
                if self.are_connected(a, b) && !is_open {
                    self.set_connected(a, b, false);
                    self.clock.after(SILENCE_NS, Event::Lost { by: a, peer: b });
                    self.clock.after(SILENCE_NS, Event::Lost { by: b, peer: a });
                } else if is_open && !self.are_connected(a, b) {
                    self.clock.after(REDIAL_NS, Event::Meet([a, b]));
                }
            }
        }
    }

    fn are_connected(&self, a: usize, b: usize) -> bool {
        self.connected[a * self.nodes.len() + b]
    }

    fn set_connected(&mut self, a: usize, b: usize, connected: bool) {
        let count = self.nodes.len();
        self.connected[a * count + b] = connected;
        self.connected[b * count + a] = connected;
    }

    pub(super) fn meet(&mut self, [a, b]: [usize; 2]) {
        let Some(way) = self.way(a, b) else { return };
        if self.are_connected(a, b) || !self.nodes[a].is_up() || !self.nodes[b].is_up() {
            return;
        }
        self.set_connected(a, b, true);
        if self.is_agent() {
            let rtt = Some(Duration::from_nanos(2 * way.latency_ns));
            for (to, peer) in [(a, b), (b, a)] {
                let id = self.ids[peer].clone();
                self.tell(to, Input::PeerUp { id, rtt });
            }
        }
    }

    pub(super) fn lose(&mut self, by: usize, peer: usize) {
        // They may have met again meanwhile.
        if self.are_connected(by, peer) {
            return;
        }
        if let Mind::Rival(rival) = &mut self.nodes[by].mind {
            rival.forget(peer);
        }
        let id = self.ids[peer].clone();
        self.tell(by, Input::PeerDown { id });
    }

    pub(super) fn wake(&mut self, node: usize) {
        let now_ns = self.clock.now_ns;
        if self.nodes[node].wake_at_ns != now_ns {
            return;
        }
        let now = self.now();
        let at = &mut self.nodes[node];
        at.wake_at_ns = u64::MAX;
        let elapsed = Duration::from_nanos(now_ns - at.read_at_ns);
        let usage = at.usage(elapsed);
        let counters = at.read(&self.scenario.functions, &self.ids, now_ns);
        if let Mind::Agent(control) = &mut at.mind {
            control.handle_input(now, Input::Counters(counters));
            control.handle_input(now, Input::Usage(usage));
            control.handle_timeout(now);
        }
        self.drain(node);
    }

    /// Gives an agent an input. A token is acknowledged by who gets it.
    pub(super) fn tell(&mut self, to: usize, input: Input) {
        let now = self.now();
        if let Input::TokenTold { from, token, .. } = &input
            && self.nodes[to].is_up()
        {
            let from = self.numbers[from] as usize;
            let taken = Input::TokenTaken {
                by: self.ids[to].clone(),
                token: *token,
            };
            self.post(to, from, taken);
        }
        if let Mind::Agent(control) = &mut self.nodes[to].mind {
            control.handle_input(now, input);
            self.drain(to);
        }
    }

    /// Does what an agent wants, and notes when it is to be asked again.
    fn drain(&mut self, node: usize) {
        while let Mind::Agent(control) = &mut self.nodes[node].mind
            && let Some(output) = control.poll_output()
        {
            match output {
                Output::Publish(body) => self.publish(node, &body),
                Output::Apply(policy) => {
                    self.apply(node, &policy);
                    self.feed(node, Input::InForce);
                }
                Output::DrawToken { peer } => {
                    let random = (u128::from(self.tokens.bits()) << 64) | u128::from(self.tokens.bits());
                    let token = Token::new(random.to_be_bytes());
                    self.feed(node, Input::TokenDrawn { peer, token });
                }
                Output::SendToken {
                    to,
                    token,
                    has_theirs,
                } => {
                    let told = Input::TokenTold {
                        from: self.ids[node].clone(),
                        token,
                        has_ours: has_theirs,
                    };
                    self.post(node, self.numbers[&to] as usize, told);
                }
                // In the simulator nobody is where he is not.
                Output::Probe { peer, service, .. } => {
                    let probed = Input::Probed {
                        peer,
                        service,
                        is_there: true,
                    };
                    self.feed(node, probed);
                }
                // There is no service in the simulator.
                Output::Ask { strategy, .. } => self.feed(node, Input::Answer { strategy, body: None }),
            }
        }
        self.plan_wake(node);
    }

    fn feed(&mut self, node: usize, input: Input) {
        let now = self.now();
        if let Mind::Agent(control) = &mut self.nodes[node].mind {
            control.handle_input(now, input);
        }
    }

    fn plan_wake(&mut self, node: usize) {
        let Some(at_ns) = self.nodes[node].poll_timeout_ns(self.start) else {
            return;
        };
        // An overdue mind is asked with the next tick of the clock, so that time goes on.
        let at_ns = at_ns.max(self.clock.now_ns + 1);
        if at_ns != self.nodes[node].wake_at_ns {
            self.nodes[node].wake_at_ns = at_ns;
            self.clock.plan(at_ns, Event::Wake(node));
        }
    }

    fn apply(&mut self, node: usize, policy: &Policy) {
        let functions = &self.scenario.functions;
        let at: &mut Node = &mut self.nodes[node];
        at.kernel.apply(policy, functions, &self.numbers);
        at.weights.clear();
        for (function, name) in functions.iter().enumerate() {
            let routes = policy
                .functions
                .get(name)
                .into_iter()
                .flat_map(|policy| &policy.routes);
            for (peer, route) in routes {
                if let Some(&number) = self.numbers.get(peer) {
                    at.weights.insert((function, number as usize), route.weight);
                }
            }
        }
    }

    /// Sends to all that are connected.
    fn publish(&mut self, from: usize, body: &[u8]) {
        self.recorder.record.traffic.messages += 1;
        for to in 0..self.nodes.len() {
            if self.are_connected(from, to) {
                let message = Input::Message {
                    from: self.ids[from].clone(),
                    body: body.to_vec(),
                };
                self.count_delivery(body.len());
                self.post(from, to, message);
            }
        }
    }

    fn count_delivery(&mut self, bytes: usize) {
        let traffic = &mut self.recorder.record.traffic;
        traffic.deliveries += 1;
        traffic.bytes += bytes as u64;
    }

    /// Sends over a connection, on which what is lost comes later.
    fn post(&mut self, from: usize, to: usize, input: Input) {
        if let Some(way) = self.way(from, to) {
            let travel_ns = self.travel_ns(way);
            let input = Box::new(input);
            self.clock.after(travel_ns, Event::Told { to, input });
        }
    }

    /// Ends a rival's period: it decides anew, and tells its neighbours.
    pub(super) fn round(&mut self, node: usize, incarnation: u64) {
        if self.nodes[node].incarnation != incarnation || !self.nodes[node].is_up() {
            return;
        }
        self.tell_news(node);
        let period_ns = self.scenario.period.as_nanos() as u64;
        self.clock.after(period_ns, Event::Round { node, incarnation });
    }

    fn tell_news(&mut self, node: usize) {
        let at = &mut self.nodes[node];
        let news = at.news(self.clock.now_ns);
        if let Mind::Rival(rival) = &mut at.mind {
            rival.close_period(&news, &mut at.random);
        }
        let bytes = serde_json::to_vec(&news).map_or(0, |body| body.len());
        self.recorder.record.traffic.messages += 1;
        for to in self.neighbours[node].clone() {
            if self.are_connected(node, to)
                && let Some(way) = self.way(node, to)
            {
                self.count_delivery(bytes);
                let travel_ns = self.travel_ns(way);
                let heard = Event::Heard {
                    to,
                    from: node,
                    news: Box::new(news.clone()),
                };
                self.clock.after(travel_ns, heard);
            }
        }
    }
}

fn functions(
    spec: &NodeSpec,
    names: &[dfaas_control::FunctionName],
) -> std::collections::BTreeMap<dfaas_control::FunctionName, FunctionSpec> {
    let stations = names.iter().zip(&spec.functions);
    stations
        .filter_map(|(name, station)| {
            let capacity_rps = station.as_ref()?.capacity_rps;
            Some((name.clone(), FunctionSpec { capacity_rps }))
        })
        .collect()
}
