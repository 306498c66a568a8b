//! A thousand nodes: what each says grows with its functions, and what each decides is what the others count on.

use std::net::Ipv4Addr;
use std::time::Instant;

use dfaas_control::{
    Control, Counters, FunctionCounters, FunctionSpec, Input, MarginSettings, Neighbourhood, NodeId, Output,
    Policy, ServiceAddress, Settings, Tokenless,
};

use super::*;

const NODES: usize = 1_000;

#[test]
fn what_a_node_says_grows_with_its_functions_and_not_with_the_nodes() {
    let [few, many] = [100, NODES].map(|nodes| said(nodes, 20));
    assert!(
        many.abs_diff(few) < few / 10,
        "{few} bytes among 100 nodes, {many} among {NODES}"
    );
    let each = (said(NODES, 40) - many) as f64 / 20.0;
    assert!((30.0..60.0).contains(&each), "{each} bytes a function");
    let rest = many as f64 - 20.0 * each;
    assert!(rest < 1_000.0, "{rest} bytes that are not about functions");
}

#[test]
fn nodes_that_heard_all_thousand_decide_the_same() {
    let mut nodes = Nodes::new(NODES, 20);
    // Who was heard of only once the others have decided, has told for the others to decide.
    let bodies = nodes.round(1);
    let hearers = [0, 1, 2, 500, NODES - 1];
    let policies: Vec<Policy> = hearers
        .iter()
        .map(|&hearer| nodes.hear(hearer, 1, &bodies))
        .collect();
    for (&i, of_i) in hearers.iter().zip(&policies) {
        for (&j, of_j) in hearers.iter().zip(&policies) {
            for (name, function) in &of_i.functions {
                let cap = function.routes.get(&id(j)).map(|route| route.cap_rps);
                let admitted = of_j.functions[name].admit.get(&id(i)).copied();
                assert_eq!(cap, admitted, "{name} from {i} to {j}");
            }
        }
    }
    let overloaded = &policies[0].functions[&name(0)];
    assert_eq!(overloaded.routes.len(), NODES - 1, "all that have room are used");
    let sent: f64 = overloaded.routes.values().map(|route| route.cap_rps).sum();
    assert!(sent > 89.9, "{sent} of the excess of 90");
    for of_j in &policies[1..] {
        let admitted: f64 = of_j.functions[&name(0)].admit.values().sum();
        assert!(
            admitted <= 9.0 + 1e-6,
            "{admitted} admitted by who has room for 9"
        );
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what is measured is time")]
fn partial_topologies_cost_little_more_than_the_whole() {
    // Without optimization all takes many times as long.
    let count = if cfg!(debug_assertions) { 100 } else { NODES };
    // Each round is another, so that there is something to decide.
    let nobody = |_: usize, round: u32| u64::from(1 + round % 2);
    let few = |number: usize, round: u32| u64::from(if number == 0 { 100 } else { 1 + round % 2 });
    let many = |number: usize, round: u32| {
        u64::from(if number.is_multiple_of(3) {
            20 + round % 2
        } else {
            1
        })
    };
    let one = |number: usize| match number {
        1 => Neighbourhood::Nearest(16),
        _ => Neighbourhood::Everyone,
    };
    let all = |_: usize| Neighbourhood::Nearest(16);
    let none = |_: usize| Neighbourhood::Everyone;
    let topologies: [(&str, Chosen); 3] = [("nobody's", none), ("one node's", one), ("every node's", all)];
    let mut whole: BTreeMap<&str, Duration> = BTreeMap::new();
    let loads: [(&str, Load); 3] = [("nobody", nobody), ("one node", few), ("every third", many)];
    for (whose, hood) in topologies {
        let mut nodes = Nodes::choosing(count, 20, hood);
        let mut round = 0;
        for (who, load) in loads {
            nodes.load = load;
            // The first decision is about who is how far, too, and other programs may take the processor.
            let took = (0..4).map(|_| {
                round += 1;
                let bodies = nodes.round(round);
                nodes.tell(0, round, &bodies);
                let start = Instant::now();
                nodes.decide(0, round);
                start.elapsed()
            });
            let took = took.min().unwrap_or_default();
            println!(
                "{whose} neighbours are chosen, {who} asks for help: {count} nodes x 20 functions decided in {took:?}"
            );
            let whole = *whole.entry(who).or_insert(took);
            assert!(
                took < whole * 4 + Duration::from_millis(10),
                "{took:?}, and {whole:?} where all send to all"
            );
        }
    }
}

/// The most that a node says in a period, of so many nodes that are connected and have measured each other.
fn said(nodes: usize, functions: usize) -> usize {
    let bodies = Nodes::new(nodes, functions).round(1);
    assert_eq!(bodies.len(), nodes, "each says one thing a period");
    bodies.iter().map(Vec::len).max().unwrap_or_default()
}

/// How a node chooses its neighbours, by its number.
type Chosen = fn(usize) -> Neighbourhood;
/// How many requests for each function users make of a node in a period, by its number and the round.
type Load = fn(usize, u32) -> u64;

/// Many minds at the same time.
struct Nodes {
    begun: Instant,
    controls: Vec<Control>,
    functions: usize,
    load: Load,
}

impl Nodes {
    fn new(count: usize, functions: usize) -> Self {
        Self::choosing(count, functions, |_| Neighbourhood::default())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant has no other origin; only differences matter"
    )]
    fn choosing(count: usize, functions: usize, hood: Chosen) -> Self {
        let begun = Instant::now();
        let ids: Vec<NodeId> = (0..count).map(id).collect();
        let control = |number: usize| {
            let settings = Settings {
                neighbourhood: hood(number),
                ..settings(number)
            };
            let mut control = Control::new(settings, begun);
            let spec = FunctionSpec { capacity_rps: 10.0 };
            let offered = (0..functions).map(|number| (name(number), spec)).collect();
            control.handle_input(begun, Input::Functions(offered));
            for (other, id) in ids.iter().enumerate().filter(|&(other, _)| other != number) {
                // A site a dozen: who is near is the exception.
                let rtt = if other / 12 == number / 12 { 1 } else { 20 };
                let (id, rtt) = (id.clone(), Some(Duration::from_millis(rtt)));
                control.handle_input(begun, Input::PeerUp { id, rtt });
            }
            while control.poll_output().is_some() {}
            control
        };
        Self {
            begun,
            controls: (0..count).map(control).collect(),
            functions,
            load: |number, _| if number == 0 { 100 } else { 1 },
        }
    }

    /// Tells all what was asked for in a period, and returns what they then say. The first has too much of everything.
    fn round(&mut self, round: u32) -> Vec<Vec<u8>> {
        let at = self.begun + SECOND * round;
        let mut bodies = Vec::new();
        for (number, control) in self.controls.iter_mut().enumerate() {
            let user = (self.load)(number, round);
            let counted = FunctionCounters {
                user,
                ..FunctionCounters::default()
            };
            let functions = (0..self.functions).map(|number| (name(number), counted.clone()));
            let counters = Counters {
                elapsed: SECOND,
                functions: functions.collect(),
            };
            control.handle_input(at, Input::Counters(counters));
            control.handle_timeout(at);
            while let Some(output) = control.poll_output() {
                if let Output::Publish(body) = output {
                    bodies.push(body);
                }
            }
        }
        bodies
    }

    /// Lets one hear all the others, and returns what it decides.
    fn hear(&mut self, hearer: usize, round: u32, bodies: &[Vec<u8>]) -> Policy {
        self.tell(hearer, round, bodies);
        self.decide(hearer, round)
    }

    fn tell(&mut self, hearer: usize, round: u32, bodies: &[Vec<u8>]) {
        let at = self.begun + SECOND * round;
        let control = &mut self.controls[hearer];
        for (number, body) in bodies.iter().enumerate().filter(|&(number, _)| number != hearer) {
            let (from, body) = (id(number), body.clone());
            control.handle_input(at, Input::Message { from, body });
        }
    }

    fn decide(&mut self, hearer: usize, round: u32) -> Policy {
        let at = self.begun + SECOND * round;
        let control = &mut self.controls[hearer];
        let mut policy = Policy::default();
        // Among so many, not each sample is decided upon.
        for sample in 1..=5 {
            control.handle_timeout(at + SECOND / 10 * sample);
            while let Some(output) = control.poll_output() {
                if let Output::Apply(applied) = output {
                    policy = (*applied).clone();
                }
            }
        }
        policy
    }
}

fn settings(number: usize) -> Settings {
    let [.., high, low] = number.to_be_bytes();
    Settings {
        node: id(number),
        incarnation: 1,
        service: ServiceAddress::new(Ipv4Addr::new(10, 77, high, low), 80),
        period: SECOND,
        strategy: StrategyKind::WaterFilling,
        token_rotation: Duration::from_secs(600),
        tokenless: Tokenless::All,
        neighbourhood: Neighbourhood::default(),
        shadow: None,
        default_capacity_rps: 10.0,
        node_margin: MarginSettings::default(),
    }
}

fn id(number: usize) -> NodeId {
    NodeId::new(format!(
        "12D3KooWDZ3JhNfXuAa45LAupXfujbY23kqReX22gGiGj3R{number:05}"
    ))
    .expect("an identity")
}

fn name(number: usize) -> dfaas_control::FunctionName {
    world::function(&format!("function{number:02}"))
}
