//! Water-filling in the experiment: agents' minds that are told of a minute, tell each other, and decide.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dfaas_control::{
    Control, Counters, FunctionCounters, FunctionName, FunctionSpec, Input, MarginSettings, Neighbourhood,
    NodeId, Output, Policy, ServiceAddress, Settings, StrategyKind, Tokenless,
};

use super::instance::Instance;
use super::recordings::FUNCTIONS;

/// A minute, as the original measures it.
const PERIOD: Duration = Duration::from_secs(60);

/// What comes in at each node in a minute, in requests per second, by function. As the original's strategies do, minds
/// know the minute's rates before they decide.
pub(super) fn forward(instance: &Instance<'_>, minute: usize) -> Vec<Vec<f64>> {
    let policies = policies(instance, minute);
    let numbers: BTreeMap<NodeId, usize> = (0..instance.nodes()).map(|node| (id(node), node)).collect();
    let of_function = |function: usize| {
        let rates = |node: usize| {
            instance
                .at(node, minute, function)
                .map(|measured| (measured.metrics.invoc_rate, measured.metrics.max_rate))
        };
        let kept = |node: usize| rates(node).map_or(0.0, |(invoc, max)| invoc.min(max));
        let mut incoming: Vec<f64> = (0..instance.nodes()).map(kept).collect();
        for (node, policy) in policies.iter().enumerate() {
            let excess = rates(node).map_or(0.0, |(invoc, max)| (invoc - max).max(0.0));
            let Some(policy) = policy.functions.get(&name(function)) else {
                continue;
            };
            for (peer, route) in &policy.routes {
                // Weights say where, caps how much: what is over a cap is not sent.
                incoming[numbers[peer]] += (excess * route.weight).min(route.cap_rps);
            }
        }
        incoming
    };
    (0..FUNCTIONS.len()).map(of_function).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant has no other origin; only differences matter"
)]
fn policies(instance: &Instance<'_>, minute: usize) -> Vec<Policy> {
    let begin = Instant::now();
    let now = begin + PERIOD;
    let mut controls: Vec<Control> = (0..instance.nodes())
        .map(|node| Control::new(settings(instance, node), begin))
        .collect();
    let mut said: Vec<(NodeId, Vec<u8>)> = Vec::new();
    let mut policies = vec![Policy::default(); controls.len()];
    for (node, control) in controls.iter_mut().enumerate() {
        for other in (0..instance.nodes()).filter(|&other| other != node) {
            let id = id(other);
            control.handle_input(begin, Input::PeerUp { id, rtt: None });
        }
        control.handle_input(begin, Input::Functions(hosted(instance, node, minute)));
        control.handle_input(now, Input::Counters(counted(instance, node, minute)));
        control.handle_timeout(now);
        let body = drain(control, &mut policies[node]);
        said.extend(body.map(|body| (id(node), body)));
    }
    for (node, control) in controls.iter_mut().enumerate() {
        for (from, body) in said.iter().filter(|(from, _)| *from != id(node)) {
            let (from, body) = (from.clone(), body.clone());
            control.handle_input(now, Input::Message { from, body });
        }
        // Among many nodes it decides with one of the next samples only.
        for sample in 1..=5 {
            control.handle_timeout(now + PERIOD / 10 * sample);
            drain(control, &mut policies[node]);
        }
    }
    policies
}

/// The last message, and the last policy.
fn drain(control: &mut Control, policy: &mut Policy) -> Option<Vec<u8>> {
    let mut said = None;
    while let Some(output) = control.poll_output() {
        match output {
            Output::Publish(body) => said = Some(body),
            Output::Apply(applied) => *policy = (*applied).clone(),
            Output::Ask { .. }
            | Output::DrawToken { .. }
            | Output::SendToken { .. }
            | Output::Probe { .. } => {}
        }
    }
    said
}

fn settings(instance: &Instance<'_>, node: usize) -> Settings {
    let [high, low] = (node as u16 + 1).to_be_bytes();
    let neighbours = instance.neighbours[node].iter().map(|&other| id(other));
    Settings {
        node: id(node),
        incarnation: 1,
        service: ServiceAddress::new([10, 77, high, low].into(), 80),
        period: PERIOD,
        strategy: StrategyKind::WaterFilling,
        token_rotation: Duration::from_secs(600),
        tokenless: Tokenless::All,
        neighbourhood: Neighbourhood::Listed(neighbours.collect()),
        shadow: None,
        default_capacity_rps: 0.0,
        node_margin: MarginSettings::default(),
    }
}

fn hosted(instance: &Instance<'_>, node: usize, minute: usize) -> BTreeMap<FunctionName, FunctionSpec> {
    let spec = |function: usize| {
        let capacity_rps = instance.at(node, minute, function)?.metrics.max_rate;
        Some((name(function), FunctionSpec { capacity_rps }))
    };
    (0..FUNCTIONS.len()).filter_map(spec).collect()
}

fn counted(instance: &Instance<'_>, node: usize, minute: usize) -> Counters {
    let count = |function: usize| {
        let rate = instance.at(node, minute, function)?.metrics.invoc_rate;
        let counters = FunctionCounters {
            user: (rate * PERIOD.as_secs_f64()).round() as u64,
            ..FunctionCounters::default()
        };
        Some((name(function), counters))
    };
    Counters {
        elapsed: PERIOD,
        functions: (0..FUNCTIONS.len()).filter_map(count).collect(),
    }
}

fn id(node: usize) -> NodeId {
    NodeId::new(format!("node_{node:04}")).expect("letters and digits are a name")
}

fn name(function: usize) -> FunctionName {
    FunctionName::new(FUNCTIONS[function]).expect("letters are a name")
}
