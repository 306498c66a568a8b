//! What a federation of several nodes reaches, under virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dfaas_control::StrategyKind;

use self::world::{Tally, World};

mod faults;
mod go_agents;
mod hostile;
mod neighbours;
mod recalc;
mod shares;
mod strangers;
mod switch;
mod thousand;
mod water_filling;
mod world;

const SECOND: Duration = Duration::from_secs(1);
/// The function of the reference's scenarios.
const FUNCTION: &str = "funca";

/// The reference's three nodes with capacities of 10, 20 and 30 req/s, connected and idle for some time.
fn three_nodes(kind: StrategyKind) -> World {
    grown(World::new(kind, SECOND))
}

fn three_nodes_with_shadow(kind: StrategyKind, shadow: StrategyKind) -> World {
    let mut world = World::new(kind, SECOND);
    world.shadow = Some(shadow);
    grown(world)
}

fn grown(mut world: World) -> World {
    for (name, capacity) in [("n1", 10.0), ("n2", 20.0), ("n3", 30.0)] {
        world.start(name, &[(FUNCTION, capacity)]);
        // Nodes do not start together.
        world.run(Duration::from_millis(270));
    }
    world.run(5 * SECOND);
    world
}

fn load(world: &mut World, rates_rps: [f64; 3]) {
    for (name, rate) in ["n1", "n2", "n3"].into_iter().zip(rates_rps) {
        world.load(name, FUNCTION, rate);
    }
}

fn served(tallies: &BTreeMap<String, Tally>) -> u64 {
    tallies.values().map(Tally::total).sum()
}

/// How many requests a node served, whoever sent them.
fn served_by(tallies: &BTreeMap<String, Tally>, name: &str) -> u64 {
    tallies.values().map(|tally| tally.at(name)).sum()
}

#[track_caller]
fn about(got: u64, want: u64, tolerance: u64) {
    assert!(
        got.abs_diff(want) <= tolerance,
        "got {got}, want {want} ± {tolerance}"
    );
}
