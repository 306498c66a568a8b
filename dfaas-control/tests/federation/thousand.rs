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
        .map(|&hearer| nodes.hear(hearer, &bodies))
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

/// The most that a node says in a period, of so many nodes that are connected and have measured each other.
fn said(nodes: usize, functions: usize) -> usize {
    let bodies = Nodes::new(nodes, functions).round(1);
    assert_eq!(bodies.len(), nodes, "each says one thing a period");
    bodies.iter().map(Vec::len).max().unwrap_or_default()
}

/// Many minds at the same time.
struct Nodes {
    begun: Instant,
    controls: Vec<Control>,
    functions: usize,
}

impl Nodes {
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant has no other origin; only differences matter"
    )]
    fn new(count: usize, functions: usize) -> Self {
        let begun = Instant::now();
        let ids: Vec<NodeId> = (0..count).map(id).collect();
        let control = |number: usize| {
            let mut control = Control::new(settings(number), begun);
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
        }
    }

    /// Tells all what was asked for in a period, and returns what they then say. The first has too much of everything.
    fn round(&mut self, round: u32) -> Vec<Vec<u8>> {
        let at = self.begun + SECOND * round;
        let mut bodies = Vec::new();
        for (number, control) in self.controls.iter_mut().enumerate() {
            let user = if number == 0 { 100 } else { 1 };
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
    fn hear(&mut self, hearer: usize, bodies: &[Vec<u8>]) -> Policy {
        let at = self.begun + SECOND;
        let control = &mut self.controls[hearer];
        for (number, body) in bodies.iter().enumerate().filter(|&(number, _)| number != hearer) {
            let (from, body) = (id(number), body.clone());
            control.handle_input(at, Input::Message { from, body });
        }
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
