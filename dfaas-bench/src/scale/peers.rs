//! What many peers cost: messages and decisions of one node's mind.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use dfaas_control::{
    Control, Counters, FunctionCounters, FunctionName, FunctionSpec, Input, MarginSettings, Neighbourhood,
    NodeId, Output, ServiceAddress, Settings, StrategyKind, Tokenless,
};
use dfaas_testbed::now;
use serde_json::{Value, json};

const FUNCTIONS: usize = 20;
const PERIOD: Duration = Duration::from_secs(1);
const ROUNDS: u32 = 9;
const CAPACITY_RPS: f64 = 10.0;

/// A node that has too much of everything, among so many peers that have room.
///
/// # Errors
///
/// When a decision leaves a peer out.
pub(super) fn with_peers(peers: usize) -> Result<Value> {
    let begun = now();
    let mut first = control(0, begun)?;
    let mut others = (1..=peers)
        .map(|number| control(number, begun))
        .collect::<Result<Vec<_>>>()?;
    for number in 1..=peers {
        first.handle_input(
            begun,
            Input::PeerUp {
                id: id(number)?,
                rtt: None,
            },
        );
    }
    let (mut taken, mut decided, mut published, mut routes) = (Vec::new(), Vec::new(), 0, 0);
    for round in 1..=ROUNDS {
        let at = begun + PERIOD * round;
        let mut messages = Vec::new();
        for (number, other) in (1..).zip(&mut others) {
            let outputs = round_of(other, at, 1)?;
            messages.extend(bodies(&outputs).map(|body| (number, body.to_vec())));
        }
        let start = now();
        for (number, body) in &messages {
            let from = id(*number)?;
            first.handle_input(
                at,
                Input::Message {
                    from,
                    body: body.clone(),
                },
            );
        }
        taken.push(start.elapsed().as_secs_f64() * 1e6 / messages.len() as f64);
        let start = now();
        let outputs = round_of(&mut first, at, 100)?;
        decided.push(start.elapsed().as_secs_f64() * 1e3);
        published = bodies(&outputs).map(<[u8]>::len).sum();
        routes = outputs.iter().filter_map(routes_of).next_back().unwrap_or(routes);
    }
    ensure!(routes > 0, "nothing is sent to peers");
    Ok(json!({
        "peers": peers,
        "message_us": median(taken),
        "decision_ms": median(decided),
        "message_bytes": published,
        "peers_with_routes": routes,
    }))
}

/// To how many peers the first function is sent.
fn routes_of(output: &Output) -> Option<usize> {
    match output {
        Output::Apply(policy) => policy
            .functions
            .values()
            .next()
            .map(|function| function.routes.len()),
        Output::Publish(_) | Output::Ask { .. } | Output::DrawToken { .. } | Output::SendToken { .. } => None,
    }
}

fn bodies(outputs: &[Output]) -> impl Iterator<Item = &[u8]> {
    outputs.iter().filter_map(|output| match output {
        Output::Publish(body) => Some(&body[..]),
        Output::Apply(_) | Output::Ask { .. } | Output::DrawToken { .. } | Output::SendToken { .. } => None,
    })
}

fn control(number: usize, begun: Instant) -> Result<Control> {
    let [high, low] = u16::try_from(number)?.to_be_bytes();
    let settings = Settings {
        node: id(number)?,
        incarnation: 1,
        service: ServiceAddress::new(Ipv4Addr::new(10, 77, high, low.max(1)), 80),
        period: PERIOD,
        strategy: StrategyKind::WaterFilling,
        // Nobody carries tokens here.
        token_rotation: Duration::from_secs(600),
        tokenless: Tokenless::All,
        neighbourhood: Neighbourhood::default(),
        shadow: None,
        default_capacity_rps: CAPACITY_RPS,
        node_margin: MarginSettings::default(),
    };
    let mut control = Control::new(settings, begun);
    let spec = FunctionSpec {
        capacity_rps: CAPACITY_RPS,
    };
    let functions: Result<BTreeMap<_, _>> = names().map(|name| Ok((name?, spec))).collect();
    control.handle_input(begun, Input::Functions(functions?));
    Ok(control)
}

/// Tells a node what its users asked for, and lets it decide.
fn round_of(control: &mut Control, at: Instant, user: u64) -> Result<Vec<Output>> {
    let counted = FunctionCounters {
        user,
        local: user.min(CAPACITY_RPS as u64),
        ..FunctionCounters::default()
    };
    let functions: Result<BTreeMap<_, _>> = names().map(|name| Ok((name?, counted.clone()))).collect();
    let counters = Counters {
        elapsed: PERIOD,
        functions: functions?,
    };
    control.handle_input(at, Input::Counters(counters));
    control.handle_timeout(at);
    Ok(std::iter::from_fn(|| control.poll_output()).collect())
}

fn names() -> impl Iterator<Item = Result<FunctionName>> {
    (0..FUNCTIONS).map(|number| FunctionName::new(format!("near{number}")).context("a name of ours"))
}

fn id(number: usize) -> Result<NodeId> {
    NodeId::new(format!("12D3KooWBenchNumber{number:05}")).context("an identity of ours")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    (values[values.len() / 2] * 1000.0).round() / 1000.0
}
