//! Nodes that nobody has admitted: whatever they say, what the members decide stays the same to the last digit.

use super::*;

use dfaas_control::{Input, Policy, Rejection};
use proptest::prelude::*;

const MEMBERS: [&str; 3] = ["n1", "n2", "n3"];
/// As many as a node keeps peers at most.
const IDENTITIES_MAX: usize = 1_000;

/// What somebody who belongs to nobody claims.
#[derive(Debug, Clone, Copy)]
struct Claim {
    capacity_rps: f64,
    demand_rps: f64,
    identities: usize,
    is_connected: bool,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn strangers_leave_the_allocation_of_members_as_it_is(
        capacities in prop::array::uniform3(0.0..50.0_f64),
        demands in prop::array::uniform3(0.0..80.0_f64),
        claims_demand: bool,
        is_connected: bool,
        identities in prop_oneof![Just(1), Just(IDENTITIES_MAX), 2..20_usize],
    ) {
        let (capacity_rps, demand_rps) = if claims_demand { (0.0, 1e9) } else { (1e9, 0.0) };
        let claim = Claim { capacity_rps, demand_rps, identities, is_connected };
        let alone = decided(StrategyKind::WaterFilling, capacities, demands, None);
        let beset = decided(StrategyKind::WaterFilling, capacities, demands, Some(claim));
        prop_assert_eq!(alone, beset);
    }
}

#[test]
fn strangers_sway_no_strategy() {
    for kind in [
        StrategyKind::Recalc,
        StrategyKind::Static,
        StrategyKind::NodeMargin,
    ] {
        let (capacities, demands) = ([10.0, 20.0, 30.0], [50.0, 10.0, 0.0]);
        let claim = Claim {
            capacity_rps: 1e9,
            demand_rps: 1e9,
            identities: 40,
            is_connected: true,
        };
        let alone = decided(kind, capacities, demands, None);
        let beset = decided(kind, capacities, demands, Some(claim));
        assert_eq!(alone, beset, "{kind}");
    }
}

#[test]
fn what_strangers_say_is_counted_and_they_are_no_peers() {
    let mut world = members(StrategyKind::WaterFilling, [10.0, 20.0, 30.0]);
    say(&mut world, &stranger(1), &state(1, 0.0, 1e9));
    let status = world.status("n1");
    assert_eq!(status.rejected.get(&Rejection::NotAdmitted), Some(&1));
    assert!(!status.peers.contains_key(&world::node(&stranger(1))));
}

#[test]
fn who_is_struck_off_is_forgotten_at_once_and_comes_back_when_admitted_again() {
    let mut world = members(StrategyKind::WaterFilling, [10.0, 20.0, 30.0]);
    load(&mut world, [50.0, 0.0, 0.0]);
    world.run(3 * SECOND);
    admit(&mut world, "n1", &["n2"]);
    let policy = &world.host("n1").policy;
    assert!(!policy.peers.contains_key(&world::node("n3")));
    assert!(
        policy.barred.contains(&world::node("n3")),
        "what it has under way ends"
    );
    assert!(!world.status("n1").peers.contains_key(&world::node("n3")));
    // The others hear of it, and count on nothing between the two.
    world.run(SECOND);
    let of_third = &world.host("n3").policy.functions[&world::function(FUNCTION)];
    assert!(!of_third.admit.contains_key(&world::node("n1")));
    assert!(!of_third.routes.contains_key(&world::node("n1")));
    admit(&mut world, "n1", &MEMBERS);
    world.run(5 * SECOND);
    assert!(world.host("n1").receivers(FUNCTION).contains("n3"));
    assert_eq!(world.host("n1").policy.barred, BTreeSet::new());
    about(served(&world.run(5 * SECOND)), 250, 3);
}

#[test]
fn pairs_of_which_one_admits_the_other_only_are_not_reckoned_with() {
    let mut world = members(StrategyKind::WaterFilling, [10.0, 20.0, 30.0]);
    // The third takes nothing from the first, which has not struck it off.
    admit(&mut world, "n3", &["n2"]);
    load(&mut world, [30.0, 0.0, 0.0]);
    world.run(5 * SECOND);
    let tallies = world.run(5 * SECOND);
    about(served(&tallies), 150, 3);
    assert_eq!(tallies["n1"].unknown_403 + tallies["n1"].over_limit_429, 0);
    assert!(!world.host("n1").receivers(FUNCTION).contains("n3"));
}

/// What members have decided after some seconds, and what became of their users' requests.
fn decided(
    kind: StrategyKind,
    capacities: [f64; 3],
    demands: [f64; 3],
    claim: Option<Claim>,
) -> Vec<(Policy, Tally)> {
    let mut world = members(kind, capacities);
    load(&mut world, demands);
    if let Some(claim) = claim.filter(|claim| claim.is_connected) {
        for number in 0..claim.identities {
            let id = world::node(&stranger(number));
            for name in MEMBERS {
                let (id, rtt) = (id.clone(), Some(Duration::from_micros(10)));
                world.input(name, Input::PeerUp { id, rtt });
            }
        }
    }
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for round in 1..=8 {
        if let Some(claim) = claim {
            for number in 0..claim.identities {
                let body = state(round, claim.capacity_rps, claim.demand_rps);
                say(&mut world, &stranger(number), &body);
                say(&mut world, &stranger(number), &offer(claim.capacity_rps));
                say(&mut world, &stranger(number), &info());
            }
        }
        tallies = world.run(SECOND / 2);
    }
    let policies = MEMBERS.map(|name| without_tokens(world.host(name).policy.clone()));
    policies.into_iter().zip(tallies.into_values()).collect()
}

/// Tokens are drawn for whoever connects, so which they are may differ.
fn without_tokens(mut policy: Policy) -> Policy {
    for peer in policy.peers.values_mut() {
        peer.trust = dfaas_control::Trust::default();
    }
    policy
}

/// Three nodes that admit each other and nobody else.
fn members(kind: StrategyKind, capacities: [f64; 3]) -> World {
    let mut world = World::new(kind, SECOND);
    for (name, capacity) in MEMBERS.into_iter().zip(capacities) {
        world.start(name, &[(FUNCTION, capacity)]);
        admit(&mut world, name, &MEMBERS);
        world.run(Duration::from_millis(270));
    }
    world.run(4 * SECOND);
    world
}

fn admit(world: &mut World, at: &str, whom: &[&str]) {
    let whom = whom.iter().map(|name| world::node(name)).collect();
    world.input(at, Input::Admitted(whom));
}

fn say(world: &mut World, from: &str, body: &str) {
    for name in MEMBERS {
        let (from, body) = (world::node(from), body.as_bytes().to_vec());
        world.input(name, Input::Message { from, body });
    }
}

/// Before and between the members in the order of names, which is the order of tables.
fn stranger(number: usize) -> String {
    match number % 3 {
        0 => format!("a{number}"),
        1 => format!("n2{number}"),
        _ => format!("z{number}"),
    }
}

fn state(sequence: u32, capacity_rps: f64, demand_rps: f64) -> String {
    format!(
        r#"{{"MsgType":"nodestate","Incarnation":1,"Sequence":{sequence},"HAProxyHost":"10.77.0.66","HAProxyPort":80,
        "Period":1.0,"Functions":{{"{FUNCTION}":{{"Capacity":{capacity_rps},"Demand":{demand_rps}}}}},"Band":0}}"#
    )
}

fn offer(limit_rps: f64) -> String {
    let limits = MEMBERS.map(|name| format!(r#""{name}":{{"{FUNCTION}":{limit_rps}}}"#));
    let limits = limits.join(",");
    format!(
        r#"{{"MsgType":"nodeinfoRecalc","HAProxyHost":"10.77.0.66","HAProxyPort":80,"FuncLimits":{{{limits}}}}}"#
    )
}

fn info() -> String {
    let info = |kind: &str| {
        format!(
            r#"{{"MsgType":"{kind}","HAProxyHost":"10.77.0.66","HAProxyPort":80,"Functions":["{FUNCTION}"]}}"#
        )
    };
    info("nodeinfoStatic")
}
