//! Federations too large to look at each request: second by second, with counts instead of arrivals.
//!
//! Demand is metered and surplus allotted by `dfaas-control`, whose [`Federation`] computes once what all nodes compute
//! for themselves. What a node receives in a second it can serve in it; bursts that a bucket lets through are left out.

use std::collections::BTreeSet;
use std::f64::consts::TAU;
use std::time::{Duration, Instant};

use dfaas_control::{
    Control, Counters, Exchange, Federation, FunctionCounters, FunctionName, FunctionSpec, Input,
    MarginSettings, Neighbourhood, NodeId, Output, ServiceAddress, Settings, StrategyKind, Tokenless,
};
use rayon::prelude::*;
use serde::Serialize;

use crate::random::{Purpose, Random};
use crate::summary::share;
use crate::sweep::markdown;

/// Most nodes of a federation: an agent keeps 999 peers and itself.
pub const FEDERATION_MAX: usize = 1_000;
const PERIOD: Duration = Duration::from_secs(1);
/// Seconds until all have heard of all and demand is metered.
const WARMUP_S: u32 = 5;
/// How often a node hears each state: once from its author, who sends to all that it is connected with, and once from each
/// neighbour of its mesh (the agent asks libp2p's gossipsub for `flood_publish` and four of them).
const COPIES: usize = 1 + 4;
/// What gossipsub's protobuf puts around a state: author (40 bytes), sequence number (10), signature (66), topic (14) and the
/// heads of the message (6).
const ENVELOPE_BYTES: usize = 136;
/// What users ask for on the average, as a share of what their node can serve: from nothing to twice this.
const LOAD: f64 = 0.75;

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// How many nodes in all.
    pub nodes: usize,
    /// How many functions each runs.
    pub functions: usize,
    /// For how many seconds.
    pub seconds: u32,
    /// How many neighbours each sends to; all of its federation if absent.
    pub neighbours: Option<usize>,
    /// The seed.
    pub seed: u64,
}

/// What it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Outcome {
    /// How many nodes in all.
    pub nodes: usize,
    /// In how many federations.
    pub federations: usize,
    /// How many neighbours each sends to; all of its federation if absent.
    pub neighbours: Option<usize>,
    /// Requests that came after the warm-up.
    pub requests: u64,
    /// The share that was served, in percent.
    pub success_percent: f64,
    /// The share that would be served without sending any, in percent.
    pub alone_percent: f64,
    /// Bytes of a node's state.
    pub state_bytes: usize,
    /// Bytes of states that a node hears in a second, each counted once.
    pub heard_bytes_per_s: usize,
    /// Bytes of the same with what gossip adds: all copies that a node hears, each in its envelope.
    pub gossiped_bytes_per_s: usize,
}

/// How long a simulation took, and the most memory that the process had until its end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// In seconds.
    pub wall_s: f64,
    /// In MiB; none where the system does not tell.
    pub memory_mib: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    came: u64,
    served: f64,
    alone: u64,
}

/// Runs a setting.
pub fn run(setting: &Setting, done: &(dyn Fn() + Sync)) -> Outcome {
    let sizes = sizes(setting.nodes);
    let sums: Vec<Sums> = sizes
        .par_iter()
        .enumerate()
        .map(|(place, &nodes)| {
            let sums = federation(setting, place, nodes);
            done();
            sums
        })
        .collect();
    let came = sums.iter().map(|sums| sums.came).sum();
    let served: f64 = sums.iter().map(|sums| sums.served).sum();
    let alone = sums.iter().map(|sums| sums.alone).sum();
    let peers = sizes[0] - 1;
    let state_bytes = state_bytes(setting, peers);
    Outcome {
        nodes: setting.nodes,
        federations: sizes.len(),
        neighbours: setting.neighbours,
        requests: came,
        success_percent: 100.0 * (served / came as f64).min(1.0),
        alone_percent: 100.0 * share(alone, came),
        state_bytes,
        heard_bytes_per_s: state_bytes * peers,
        gossiped_bytes_per_s: (state_bytes + ENVELOPE_BYTES) * peers * COPIES.min(peers),
    }
}

/// So many federations of about the same size that none is too large.
fn sizes(nodes: usize) -> Vec<usize> {
    let count = nodes.div_ceil(FEDERATION_MAX).max(1);
    (0..count)
        .map(|place| nodes / count + usize::from(place < nodes % count))
        .collect()
}

fn federation(setting: &Setting, place: usize, nodes: usize) -> Sums {
    let mut random = Random::new(setting.seed, Purpose::Demand(place));
    let mut by_function = |of: &mut dyn FnMut(&mut Random) -> f64| -> Vec<Vec<f64>> {
        (0..setting.functions)
            .map(|_| (0..nodes).map(|_| of(&mut random)).collect())
            .collect()
    };
    let capacities = by_function(&mut |random| (5 + random.below(11)) as f64);
    let loads = by_function(&mut |random| 2.0 * LOAD * random.unit());
    let phases: Vec<f64> = (0..nodes).map(|_| random.unit()).collect();
    let mut federation = match setting.neighbours {
        None => Federation::whole(capacities.clone(), PERIOD),
        Some(count) => Federation::partial(capacities.clone(), &ring(nodes, count), PERIOD),
    };
    let mut counts = vec![vec![0; nodes]; setting.functions];
    let mut sums = Sums::default();
    for second in 0..setting.seconds {
        let day = f64::from(second) / f64::from(setting.seconds);
        let hours: Vec<f64> = phases
            .iter()
            .map(|phase| 1.0 + 0.5 * libm::sin(TAU * (day + phase)))
            .collect();
        for (function, counts) in counts.iter_mut().enumerate() {
            let decided = federation.decide(function);
            for (node, count) in counts.iter_mut().enumerate() {
                let capacity = capacities[function][node];
                *count = random.poisson(capacity * loads[function][node] * hours[node]);
                if second >= WARMUP_S {
                    sums.add(*count, capacity, decided[node]);
                }
            }
        }
        federation.close_period(&counts);
    }
    sums
}

impl Sums {
    fn add(&mut self, count: u64, capacity: f64, exchange: Exchange) {
        let own = count.min(capacity as u64);
        let excess = (count - own) as f64;
        self.came += count;
        self.alone += own;
        self.served += own as f64 + excess.min(exchange.placed_rps + exchange.stand_by_rps);
    }
}

/// Each node has the same number of neighbours, the nearest on a ring.
fn ring(nodes: usize, count: usize) -> Vec<BTreeSet<usize>> {
    let side = count.div_ceil(2).min(nodes.saturating_sub(1) / 2);
    let of =
        |node: usize| (1..=side).flat_map(move |far| [(node + far) % nodes, (node + nodes - far) % nodes]);
    (0..nodes).map(|node| of(node).collect()).collect()
}

/// How long the message is in which an agent tells its state.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant has no other origin; only differences matter"
)]
fn state_bytes(setting: &Setting, peers: usize) -> usize {
    let begin = Instant::now();
    let id = |number: usize| {
        NodeId::new(format!(
            "12D3KooWDZ3JhNfXuAa45LAupXfujbY23kqReX22gGiGj3R{number:05}"
        ))
        .expect("letters and digits are a name")
    };
    let hood = setting.neighbours.map_or(Neighbourhood::Everyone, |count| {
        Neighbourhood::Listed((1..=count.min(peers)).map(id).collect())
    });
    let mut control = Control::new(settings(id(0), hood), begin);
    for peer in 1..=peers {
        let rtt = Some(Duration::from_millis(20));
        control.handle_input(begin, Input::PeerUp { id: id(peer), rtt });
    }
    let name = |number: usize| {
        FunctionName::new(format!("function{number:02}")).expect("letters and digits are a name")
    };
    let spec = FunctionSpec { capacity_rps: 10.0 };
    let hosted = (0..setting.functions)
        .map(|number| (name(number), spec))
        .collect();
    control.handle_input(begin, Input::Functions(hosted));
    let counted = FunctionCounters {
        user: 7,
        service_time_p95: Some(Duration::from_micros(52_340)),
        ..FunctionCounters::default()
    };
    let counters = Counters {
        elapsed: PERIOD,
        functions: (0..setting.functions)
            .map(|number| (name(number), counted.clone()))
            .collect(),
    };
    control.handle_input(begin + PERIOD, Input::Counters(counters));
    control.handle_timeout(begin + PERIOD);
    let mut bytes = 0;
    while let Some(output) = control.poll_output() {
        if let Output::Publish(body) = output {
            bytes = body.len();
        }
    }
    bytes
}

fn settings(node: NodeId, neighbourhood: Neighbourhood) -> Settings {
    Settings {
        node,
        incarnation: 1_800_000_000,
        service: ServiceAddress::new([10, 77, 0, 1].into(), 80),
        period: PERIOD,
        strategy: StrategyKind::WaterFilling,
        token_rotation: Duration::from_secs(600),
        tokenless: Tokenless::All,
        neighbourhood,
        shadow: None,
        default_capacity_rps: 10.0,
        node_margin: MarginSettings::default(),
    }
}

/// Outcomes and what they cost, as a table of Markdown.
pub fn table(rows: &[(Outcome, Cost)]) -> String {
    let heads = [
        "nodes",
        "federations",
        "neighbours",
        "requests",
        "success, %",
        "alone, %",
        "state, bytes",
        "told, bytes/s heard by a node",
        "gossiped, bytes/s heard by a node",
        "took, s",
        "memory, MiB",
    ];
    let rows = rows.iter().map(|(outcome, cost)| {
        vec![
            outcome.nodes.to_string(),
            outcome.federations.to_string(),
            outcome
                .neighbours
                .map_or("all".to_owned(), |count| count.to_string()),
            outcome.requests.to_string(),
            format!("{:.3}", outcome.success_percent),
            format!("{:.3}", outcome.alone_percent),
            outcome.state_bytes.to_string(),
            outcome.heard_bytes_per_s.to_string(),
            outcome.gossiped_bytes_per_s.to_string(),
            format!("{:.1}", cost.wall_s),
            cost.memory_mib.map_or("-".to_owned(), |mib| mib.to_string()),
        ]
    });
    markdown(&heads.map(str::to_owned), &rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTING: Setting = Setting {
        nodes: 60,
        functions: 3,
        seconds: 60,
        neighbours: None,
        seed: 1,
    };

    #[test]
    fn nobody_is_left_out_of_federations_and_none_is_too_large() {
        for (nodes, want) in [(1, vec![1]), (1_000, vec![1_000]), (1_001, vec![501, 500])] {
            assert_eq!(sizes(nodes), want);
        }
        assert_eq!(sizes(10_000), [1_000; 10]);
    }

    #[test]
    fn sharing_serves_more_the_more_neighbours_there_are() {
        let success = |neighbours| {
            let outcome = run(
                &Setting {
                    neighbours,
                    ..SETTING
                },
                &|| {},
            );
            assert!(
                outcome.success_percent > outcome.alone_percent + 5.0,
                "{outcome:?}"
            );
            outcome.success_percent
        };
        let (few, all) = (success(Some(2)), success(None));
        assert!(
            all > few + 3.0 && all > 94.0,
            "{few} with two neighbours, {all} with all"
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_outcome() {
        let of = |seed| run(&Setting { seed, ..SETTING }, &|| {});
        assert_eq!(of(1), of(1));
        assert_ne!(of(1).requests, of(2).requests);
    }

    #[test]
    fn neighbours_are_mutual() {
        let ring = ring(9, 4);
        for (node, neighbours) in ring.iter().enumerate() {
            assert_eq!(neighbours.len(), 4);
            assert!(neighbours.iter().all(|&other| ring[other].contains(&node)));
        }
    }
}
