//! A federation under virtual time: nodes, messages on their way, users, and token buckets in place of the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use dfaas_control::{
    Control, Counters, FunctionCounters, FunctionName, FunctionSpec, Input, MarginSettings, Neighbourhood,
    NodeId, Output, Policy, ServiceAddress, Settings, Status, StrategyKind, SwitchError, Token, Tokenless,
};

const STEP: Duration = Duration::from_millis(1);
/// Short, so that tokens change in every test.
const TOKEN_ROTATION: Duration = Duration::from_secs(1);
/// How long a bucket that was not used fills up.
const BURST: Duration = Duration::from_millis(100);

/// What became of the requests of the users of one node.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) arrived: u64,
    /// By the node that served them.
    pub(crate) served: BTreeMap<String, u64>,
    pub(crate) unknown_403: u64,
    pub(crate) over_limit_429: u64,
    pub(crate) nobody_503: u64,
}

impl Tally {
    pub(crate) fn total(&self) -> u64 {
        self.served.values().sum()
    }

    pub(crate) fn at(&self, node: &str) -> u64 {
        self.served.get(node).copied().unwrap_or(0)
    }
}

/// The network's faults.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    pub(crate) delay: Duration,
    /// Up to this much more, so that messages overtake each other.
    pub(crate) jitter: Duration,
    pub(crate) loss_permille: u64,
}

/// How user requests come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrivals {
    /// Evenly spaced.
    Even,
    /// Independently of each other.
    Random,
}

pub(crate) struct World {
    pub(crate) start: Instant,
    pub(crate) now: Duration,
    pub(crate) network: Network,
    pub(crate) arrivals: Arrivals,
    kind: StrategyKind,
    pub(crate) shadow: Option<StrategyKind>,
    /// How nodes choose their neighbours that do not take everyone.
    pub(crate) hoods: BTreeMap<String, Neighbourhood>,
    period: Duration,
    hosts: BTreeMap<String, Host>,
    in_flight: BTreeMap<(Duration, u64), (String, Input)>,
    random: u64,
    messages: u64,
}

pub(crate) struct Host {
    /// Absent while the node is down.
    pub(crate) control: Option<Control>,
    pub(crate) policy: Policy,
    pub(crate) tally: Tally,
    pub(crate) policies_applied: u64,
    index: u8,
    incarnation: u64,
    rates: BTreeMap<FunctionName, f64>,
    due: BTreeMap<FunctionName, f64>,
    buckets: BTreeMap<String, (f64, Duration)>,
    credits: BTreeMap<String, f64>,
    counted: BTreeMap<FunctionName, FunctionCounters>,
    read_at: Duration,
}

impl World {
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant has no other origin; only differences matter"
    )]
    pub(crate) fn new(kind: StrategyKind, period: Duration) -> Self {
        Self {
            start: Instant::now(),
            now: Duration::ZERO,
            network: Network {
                delay: Duration::from_millis(5),
                jitter: Duration::ZERO,
                loss_permille: 0,
            },
            arrivals: Arrivals::Even,
            kind,
            shadow: None,
            hoods: BTreeMap::new(),
            period,
            hosts: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            random: 1,
            messages: 0,
        }
    }

    /// Starts a node that hosts `functions` and is connected with everybody.
    pub(crate) fn start(&mut self, name: &str, functions: &[(&str, f64)]) {
        let index = self
            .hosts
            .get(name)
            .map_or(self.hosts.len() as u8 + 1, |host| host.index);
        let incarnation = self.hosts.get(name).map_or(1, |host| host.incarnation + 1);
        let settings = Settings {
            node: node(name),
            incarnation,
            service: address(index),
            period: self.period,
            strategy: self.kind,
            token_rotation: TOKEN_ROTATION,
            tokenless: Tokenless::default(),
            neighbourhood: self.hoods.get(name).cloned().unwrap_or_default(),
            shadow: self.shadow,
            default_capacity_rps: 10.0,
            node_margin: MarginSettings::default(),
        };
        let control = Control::new(settings, self.start + self.now);
        self.hosts
            .insert(name.to_owned(), Host::new(control, index, incarnation, self.now));
        self.deploy(name, functions);
        let others = self.others(name);
        for other in &others {
            if self.hosts[other].control.is_none() {
                continue;
            }
            self.input(
                name,
                Input::PeerUp {
                    id: node(other),
                    rtt: None,
                },
            );
            self.input(
                other,
                Input::PeerUp {
                    id: node(name),
                    rtt: None,
                },
            );
        }
    }

    /// Stops a node without a word: connections seem to live on.
    pub(crate) fn kill(&mut self, name: &str) {
        let host = self.host_mut(name);
        host.control = None;
        host.rates.clear();
    }

    /// Begins to replace the strategy of a node.
    pub(crate) fn switch(&mut self, name: &str, kind: StrategyKind) {
        self.try_switch(name, kind).expect("no other change is under way");
    }

    pub(crate) fn try_switch(&mut self, name: &str, kind: StrategyKind) -> Result<(), SwitchError> {
        let now = self.start + self.now;
        let control = self.host_mut(name).control.as_mut().expect("the node is up");
        control.switch(now, kind)
    }

    pub(crate) fn status(&self, name: &str) -> Status {
        let control = self.host(name).control.as_ref().expect("the node is up");
        control.status(self.start + self.now)
    }

    pub(crate) fn disconnect(&mut self, name: &str) {
        let others = self.others(name);
        for other in others {
            self.input(&other, Input::PeerDown { id: node(name) });
        }
    }

    pub(crate) fn deploy(&mut self, name: &str, functions: &[(&str, f64)]) {
        let spec = |&(name, capacity_rps): &(&str, f64)| (function(name), FunctionSpec { capacity_rps });
        self.input(name, Input::Functions(functions.iter().map(spec).collect()));
    }

    /// Sets the rate of the users of a node.
    pub(crate) fn load(&mut self, name: &str, function_name: &str, rate_rps: f64) {
        self.host_mut(name)
            .rates
            .insert(function(function_name), rate_rps);
    }

    pub(crate) fn input(&mut self, name: &str, input: Input) {
        self.feed(name, input);
        self.drain(name);
    }

    fn feed(&mut self, name: &str, input: Input) {
        let now = self.start + self.now;
        if let Some(control) = &mut self.host_mut(name).control {
            control.handle_input(now, input);
        }
    }

    /// Lets time pass and tells what became of the requests meanwhile.
    pub(crate) fn run(&mut self, time: Duration) -> BTreeMap<String, Tally> {
        for host in self.hosts.values_mut() {
            host.tally = Tally::default();
        }
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
        self.hosts
            .iter()
            .map(|(name, host)| (name.clone(), host.tally.clone()))
            .collect()
    }

    pub(crate) fn host(&self, name: &str) -> &Host {
        &self.hosts[name]
    }

    fn others(&self, name: &str) -> Vec<String> {
        self.hosts
            .keys()
            .filter(|&other| other != name)
            .cloned()
            .collect()
    }

    fn host_mut(&mut self, name: &str) -> &mut Host {
        self.hosts.get_mut(name).expect("tests name existing nodes")
    }

    fn step(&mut self) {
        self.now += STEP;
        while let Some(entry) = self.in_flight.first_entry()
            && entry.key().0 <= self.now
        {
            let (to, input) = entry.remove();
            self.deliver(&to, input);
        }
        let names: Vec<String> = self.hosts.keys().cloned().collect();
        for name in &names {
            self.tick(name);
        }
        for name in &names {
            self.users(name);
        }
    }

    fn tick(&mut self, name: &str) {
        let (start, now) = (self.start, self.now);
        let host = self.host_mut(name);
        let Some(control) = &mut host.control else {
            return;
        };
        if control.poll_timeout().is_some_and(|at| at <= start + now) {
            let functions = std::mem::take(&mut host.counted);
            let counters = Counters {
                elapsed: now - host.read_at,
                functions,
            };
            host.read_at = now;
            control.handle_input(start + now, Input::Counters(counters));
            control.handle_timeout(start + now);
        }
        self.drain(name);
    }

    /// Gives a node what was sent to it. A token is acknowledged by who gets it.
    fn deliver(&mut self, to: &str, input: Input) {
        if let Input::TokenTold { from, token, .. } = &input
            && self.host(to).control.is_some()
        {
            let (from, by, token) = (from.to_string(), node(to), *token);
            self.post(&from, Input::TokenTaken { by, token });
        }
        self.input(to, input);
    }

    /// Sends over a connection, where nothing is lost.
    fn post(&mut self, to: &str, input: Input) {
        self.messages += 1;
        let at = self.now + self.network.delay;
        self.in_flight.insert((at, self.messages), (to.to_owned(), input));
    }

    fn drain(&mut self, name: &str) {
        while let Some(output) = self
            .host_mut(name)
            .control
            .as_mut()
            .and_then(Control::poll_output)
        {
            match output {
                Output::Publish(body) => self.send(name, &body),
                Output::Ask { .. } => {}
                Output::Apply(policy) => {
                    let host = self.host_mut(name);
                    // Tokens change all the time.
                    host.policies_applied += u64::from(policy.functions != host.policy.functions);
                    host.policy = (*policy).clone();
                    self.feed(name, Input::InForce);
                }
                Output::DrawToken { peer } => {
                    let random = (u128::from(self.draw(1 << 31)) << 64) | u128::from(self.draw(1 << 31));
                    let token = Token::new(random.to_be_bytes());
                    self.feed(name, Input::TokenDrawn { peer, token });
                }
                Output::Probe { peer, service, token } => {
                    let is_there = self.answers(name, service, token);
                    let probed = Input::Probed {
                        peer,
                        service,
                        is_there,
                    };
                    // There and back again.
                    self.post(name, probed);
                }
                Output::SendToken {
                    to,
                    token,
                    has_theirs,
                } => {
                    let from = node(name);
                    let has_ours = has_theirs;
                    self.post(
                        to.as_str(),
                        Input::TokenTold {
                            from,
                            token,
                            has_ours,
                        },
                    );
                }
            }
        }
    }

    /// Whether whoever is at an address takes this token for that of a node.
    fn answers(&self, asker: &str, service: ServiceAddress, token: Token) -> bool {
        let there = self.hosts.values().find(|host| address(host.index) == service);
        there.is_some_and(|host| {
            let peer = host.policy.peers.get(&node(asker));
            host.control.is_some() && peer.is_some_and(|peer| peer.trust.accepts.contains(&Some(token)))
        })
    }

    fn send(&mut self, from: &str, body: &[u8]) {
        let others = self.others(from);
        for to in others {
            if self.draw(1000) < self.network.loss_permille {
                continue;
            }
            let jitter_ms = self.network.jitter.as_millis() as u64 + 1;
            let at = self.now + self.network.delay + Duration::from_millis(self.draw(jitter_ms));
            self.messages += 1;
            let input = Input::Message {
                from: node(from),
                body: body.to_vec(),
            };
            self.in_flight.insert((at, self.messages), (to, input));
        }
    }

    /// A linear congruential generator (Knuth's MMIX constants): the same world always meets the same fate.
    fn draw(&mut self, below: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn users(&mut self, name: &str) {
        let rates = self.host(name).rates.clone();
        for (function, rate_rps) in rates {
            let expected = rate_rps * STEP.as_secs_f64();
            let due = match self.arrivals {
                Arrivals::Even => self.host_mut(name).arrive(&function, expected),
                Arrivals::Random => u64::from((self.draw(1_000_000) as f64) < expected * 1e6),
            };
            for _ in 0..due {
                self.request(name, &function);
            }
        }
    }

    fn request(&mut self, name: &str, function: &FunctionName) {
        let now = self.now;
        let host = self.host_mut(name);
        host.tally.arrived += 1;
        host.counted.entry(function.clone()).or_default().user += 1;
        let local_rps = host
            .policy
            .functions
            .get(function)
            .map_or(0.0, |policy| policy.local_rps);
        if host.take(&format!("{function} local"), local_rps, now) {
            *host.tally.served.entry(name.to_owned()).or_insert(0) += 1;
            return;
        }
        if host.draws_itself(function) {
            *host.tally.served.entry(name.to_owned()).or_insert(0) += 1;
            return;
        }
        match host.route(function, now) {
            Some(peer) => self.forward(name, &peer, function),
            None => host.tally.nobody_503 += 1,
        }
    }

    fn forward(&mut self, from: &str, to: &str, function: &FunctionName) {
        let now = self.now;
        let sent = self.host(from).policy.peers[&node(to)].trust.sends;
        let receiver = self.host_mut(to);
        let peer = receiver.policy.peers.get(&node(from));
        let known = receiver.control.is_some()
            && peer.is_some_and(|peer| sent.is_some() && peer.trust.accepts.contains(&sent));
        let limit = receiver
            .policy
            .functions
            .get(function)
            .and_then(|policy| policy.admit.get(&node(from)));
        let limit = limit.copied().unwrap_or(0.0);
        let admitted = known && receiver.take(&format!("{function} from {from}"), limit, now);
        let tally = &mut self.host_mut(from).tally;
        if admitted {
            *tally.served.entry(to.to_owned()).or_insert(0) += 1;
        } else if known {
            tally.over_limit_429 += 1;
        } else {
            tally.unknown_403 += 1;
        }
    }
}

impl Host {
    fn new(control: Control, index: u8, incarnation: u64, now: Duration) -> Self {
        Self {
            control: Some(control),
            policy: Policy::default(),
            tally: Tally::default(),
            policies_applied: 0,
            index,
            incarnation,
            rates: BTreeMap::new(),
            due: BTreeMap::new(),
            buckets: BTreeMap::new(),
            credits: BTreeMap::new(),
            counted: BTreeMap::new(),
            read_at: now,
        }
    }

    /// The names of the peers to which something may be sent.
    pub(crate) fn receivers(&self, name: &str) -> BTreeSet<String> {
        let policy = self.policy.functions.get(&function(name));
        policy
            .into_iter()
            .flat_map(|policy| policy.routes.keys())
            .map(ToString::to_string)
            .collect()
    }

    /// Counts fractions of requests until there is a whole one.
    fn arrive(&mut self, function: &FunctionName, expected: f64) -> u64 {
        let due = self.due.entry(function.clone()).or_insert(0.0);
        *due += expected;
        let whole = due.floor();
        *due -= whole;
        whole as u64
    }

    /// Takes a token. A bucket starts with one and holds one more than a tenth of a second brings: arrivals do
    /// not come at the moment a token is due, and a bucket of one would lose the part of a token that is over.
    fn take(&mut self, bucket: &str, rate_rps: f64, now: Duration) -> bool {
        if rate_rps.is_infinite() {
            return true;
        }
        if rate_rps <= 0.0 {
            return false;
        }
        let (tokens, at) = self.buckets.entry(bucket.to_owned()).or_insert((1.0, now));
        let depth = 1.0 + rate_rps * BURST.as_secs_f64();
        // Rates that divide the step evenly must not lose a token to rounding.
        *tokens = (*tokens + rate_rps * (now - *at).as_secs_f64() + 1e-9).min(depth + 1e-9);
        *at = now;
        let conforms = *tokens >= 1.0;
        if conforms {
            *tokens -= 1.0;
        }
        conforms
    }

    /// Tells whether this node is drawn by its own share. What is due adds up until it is a whole request.
    fn draws_itself(&mut self, name: &FunctionName) -> bool {
        let here = self.policy.functions.get(name).map_or(0.0, |policy| policy.here);
        let credit = self.credits.entry(format!("{name} here")).or_insert(0.0);
        *credit += here;
        let is_due = *credit >= 1.0 - 1e-9;
        if is_due {
            *credit -= 1.0;
        }
        is_due
    }

    /// Chooses by weight (smooth weighted round robin); one without a token is passed over for the next.
    fn route(&mut self, name: &FunctionName, now: Duration) -> Option<String> {
        let routes = self.policy.functions.get(name)?.routes.clone();
        let credit_key = |peer: &NodeId| format!("{name} {peer}");
        let credit_order = |credits: &BTreeMap<String, f64>| {
            let mut order: Vec<NodeId> = routes.keys().cloned().collect();
            let credit = |peer: &NodeId| credits.get(&credit_key(peer)).copied().unwrap_or(0.0);
            order.sort_by(|a, b| credit(b).total_cmp(&credit(a)));
            order
        };
        let total: f64 = routes.values().map(|route| route.weight).sum();
        for (peer, route) in &routes {
            *self.credits.entry(credit_key(peer)).or_insert(0.0) += route.weight / total;
        }
        let order = credit_order(&self.credits);
        if let Some(first) = order.first() {
            *self.credits.entry(credit_key(first)).or_insert(0.0) -= 1.0;
        }
        let open = |host: &mut Self, peer: &NodeId| {
            let cap = routes[peer].cap_rps;
            host.take(&format!("{name} to {peer}"), cap, now)
        };
        order
            .into_iter()
            .find(|peer| open(self, peer))
            .map(|peer| peer.to_string())
    }
}

fn address(index: u8) -> ServiceAddress {
    ServiceAddress::new(Ipv4Addr::new(10, 77, 0, index), 80)
}

pub(crate) fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("tests use valid names")
}

pub(crate) fn function(name: &str) -> FunctionName {
    FunctionName::new(name).expect("tests use valid names")
}
