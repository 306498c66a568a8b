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
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use super::script::Script;

const FUNCTIONS: usize = 20;
const PERIOD: Duration = Duration::from_secs(1);
const ROUNDS: u32 = 9;
const CAPACITY_RPS: f64 = 10.0;

/// What a decision may take, whatever the federation.
const DECISION_MS_MAX: f64 = 10.0;
const LOSSES: usize = 3;
/// Nodes of a site are near to each other.
const SITE: usize = 12;
const NEAR: Duration = Duration::from_millis(1);
const FAR: Duration = Duration::from_millis(20);

/// A node that has too much of everything, among so many peers that have room.
///
/// # Errors
///
/// When a decision leaves a peer out.
pub(super) fn with_peers(peers: usize) -> Result<Value> {
    let begun = now();
    let mut nodes = (0..=peers)
        .map(|number| control(number, begun))
        .collect::<Result<Vec<_>>>()?;
    let mut script = Script::new(&settings(0)?, begun)?;
    script.note_input(begun, &offer()?)?;
    for (number, node) in nodes.iter_mut().enumerate() {
        // All connections of all would be a million; these are enough for all to have something to say of distances.
        let met = if number == 0 { peers + 1 } else { 3 * SITE };
        for meeting in meetings(number, met.min(peers + 1)) {
            let meeting = meeting?;
            if number == 0 {
                script.note_input(begun, &meeting)?;
            }
            node.handle_input(begun, meeting);
        }
    }
    let (first, others) = nodes.split_first_mut().context("there is a first node")?;
    let (mut taken, mut decided, mut published, mut routes) = (Vec::new(), Vec::new(), 0, 0);
    for round in 1..=ROUNDS {
        let at = begun + PERIOD * round;
        let mut messages: Vec<Input> = Vec::new();
        for (number, other) in (1..).zip(&mut *others) {
            let outputs = round_of(other, at, 1 + (number as u64 + u64::from(round)) % 3)?;
            let from = id(number)?;
            messages.extend(bodies(&outputs).map(|body| Input::Message {
                from: from.clone(),
                body: body.to_vec(),
            }));
        }
        for message in messages.iter().chain([&asked(100)?]) {
            script.note_input(at, message)?;
        }
        script.note_timeout(at)?;
        let count = messages.len() as f64;
        let start = spent();
        for message in messages {
            first.handle_input(at, message);
        }
        taken.push((spent() - start).as_secs_f64() * 1e6 / count);
        let start = spent();
        let outputs = round_of(first, at, 100)?;
        decided.push((spent() - start).as_secs_f64() * 1e3);
        published = bodies(&outputs).map(<[u8]>::len).sum();
        routes = outputs.iter().filter_map(routes_of).next_back().unwrap_or(routes);
    }
    ensure!(routes == peers, "{routes} of {peers} peers have routes");
    let (decision_ms, after_a_loss_ms) = (median(decided), after_a_loss(first, begun + PERIOD * ROUNDS)?);
    let slower_ms = decision_ms.max(after_a_loss_ms);
    ensure!(
        slower_ms < DECISION_MS_MAX,
        "a decision takes {slower_ms} ms of a processor"
    );
    let (write_all_ms, write_change_ms) = script.written_ms()?;
    Ok(json!({
        "peers": peers,
        "message_us": median(taken),
        "decision_ms": decision_ms,
        "decision_after_a_loss_ms": after_a_loss_ms,
        "write_all_ms": write_all_ms,
        "write_change_ms": write_change_ms,
        "message_bytes": published,
        "peers_with_routes": routes,
    }))
}

/// A node is connected with others, its site among them.
fn meetings(number: usize, others: usize) -> impl Iterator<Item = Result<Input>> {
    let site = number / SITE * SITE;
    let met = (site..site + others).filter(move |&other| other != number);
    met.map(move |other| {
        let rtt = if other / SITE == number / SITE { NEAR } else { FAR };
        let (id, rtt) = (id(other)?, Some(rtt));
        Ok(Input::PeerUp { id, rtt })
    })
}

/// What it takes to decide anew when a peer goes, which changes who is how far from whom.
fn after_a_loss(node: &mut Control, at: Instant) -> Result<f64> {
    let mut taken = Vec::new();
    for number in 1..=LOSSES {
        let lost = Input::PeerDown { id: id(number)? };
        let start = spent();
        node.handle_input(at, lost);
        let decided = std::iter::from_fn(|| node.poll_output()).any(|output| routes_of(&output).is_some());
        taken.push((spent() - start).as_secs_f64() * 1e3);
        ensure!(decided, "a lost peer changes nothing");
    }
    Ok(median(taken))
}

/// The time that this thread has had a processor for.
fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// To how many peers the first function is sent.
fn routes_of(output: &Output) -> Option<usize> {
    match output {
        Output::Apply(policy) => policy
            .functions
            .values()
            .next()
            .map(|function| function.routes.len()),
        Output::Publish(_)
        | Output::Ask { .. }
        | Output::DrawToken { .. }
        | Output::SendToken { .. }
        | Output::Probe { .. } => None,
    }
}

fn bodies(outputs: &[Output]) -> impl Iterator<Item = &[u8]> {
    outputs.iter().filter_map(|output| match output {
        Output::Publish(body) => Some(&body[..]),
        Output::Apply(_)
        | Output::Ask { .. }
        | Output::DrawToken { .. }
        | Output::SendToken { .. }
        | Output::Probe { .. } => None,
    })
}

fn control(number: usize, begun: Instant) -> Result<Control> {
    let mut control = Control::new(settings(number)?, begun);
    control.handle_input(begun, offer()?);
    Ok(control)
}

pub(super) fn settings(number: usize) -> Result<Settings> {
    let [high, low] = u16::try_from(number)?.to_be_bytes();
    Ok(Settings {
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
    })
}

/// What every node offers.
fn offer() -> Result<Input> {
    let spec = FunctionSpec {
        capacity_rps: CAPACITY_RPS,
    };
    let functions: Result<BTreeMap<_, _>> = names().map(|name| Ok((name?, spec))).collect();
    Ok(Input::Functions(functions?))
}

/// Tells a node what its users asked for, and lets it decide.
fn round_of(control: &mut Control, at: Instant, user: u64) -> Result<Vec<Output>> {
    control.handle_input(at, asked(user)?);
    control.handle_timeout(at);
    Ok(std::iter::from_fn(|| control.poll_output()).collect())
}

/// What users asked for in a period.
fn asked(user: u64) -> Result<Input> {
    let counted = FunctionCounters {
        user,
        local: user.min(CAPACITY_RPS as u64),
        ..FunctionCounters::default()
    };
    let functions: Result<BTreeMap<_, _>> = names().map(|name| Ok((name?, counted.clone()))).collect();
    Ok(Input::Counters(Counters {
        elapsed: PERIOD,
        functions: functions?,
    }))
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
