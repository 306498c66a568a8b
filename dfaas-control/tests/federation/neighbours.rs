//! Nodes that send their excess to neighbours only, and know everybody.

use dfaas_control::{Input, Neighbourhood, NodeId};

use super::*;

#[test]
fn in_a_chain_the_excess_goes_to_the_next_only() {
    for kind in [StrategyKind::WaterFilling, StrategyKind::Recalc] {
        let mut world = chain(kind);
        load(&mut world, [50.0, 0.0, 0.0]);
        world.run(4 * SECOND);
        let n1 = &world.run(10 * SECOND)["n1"];
        about(n1.at("n1"), 100, 2);
        about(
            n1.at("n2"),
            if kind == StrategyKind::Recalc { 100 } else { 200 },
            3,
        );
        assert_eq!((n1.at("n3"), n1.unknown_403), (0, 0), "{kind} {n1:?}");
        // It is a member all the same, and a neighbour of a neighbour.
        let status = world.status("n1");
        let third = &status.peers[&world::node("n3")];
        assert!(third.connected && !third.neighbour && third.functions.len() == 1);
        assert_eq!(status.neighbours.to_string(), "n2");
        assert!(world.host("n1").policy.peers.contains_key(&world::node("n3")));
        let control = world.host("n1").control.as_ref().unwrap();
        let why = control.explain(&world::function(FUNCTION)).unwrap().to_string();
        assert!(
            why.contains("this node sends to its neighbours only, which are n2\n"),
            "{why}"
        );
        // The one in the middle sends to both.
        load(&mut world, [0.0, 50.0, 0.0]);
        world.run(4 * SECOND);
        let n2 = &world.run(10 * SECOND)["n2"];
        assert!(n2.at("n1") > 0 && n2.at("n3") > 0, "{kind} {n2:?}");
    }
}

#[test]
fn static_shares_go_to_neighbours_in_equal_parts() {
    let mut world = chain(StrategyKind::Static);
    load(&mut world, [50.0, 0.0, 0.0]);
    let n1 = &world.run(10 * SECOND)["n1"];
    about(n1.at("n1"), 300, 2);
    about(n1.at("n2"), 200, 2);
    assert_eq!(n1.total(), n1.arrived);
    assert!(
        !world.host("n3").policy.functions[&world::function(FUNCTION)]
            .admit
            .contains_key(&world::node("n1"))
    );
}

#[test]
fn the_nearest_take_the_excess_and_change_with_the_distance() {
    let mut world = World::new(StrategyKind::WaterFilling, SECOND);
    world.hoods = hoods(&[("n1", Neighbourhood::Nearest(1))]);
    let mut world = grown(world);
    let receivers = |world: &World| world.host("n1").receivers(FUNCTION);
    assert!(receivers(&world).is_empty(), "who was not measured is not near");
    measure(&mut world, &[("n2", 3), ("n3", 9)]);
    assert_eq!(receivers(&world), ["n2".to_owned()].into());
    measure(&mut world, &[("n2", 60), ("n3", 9)]);
    assert_eq!(receivers(&world), ["n3".to_owned()].into());
    // Others have everyone.
    assert_eq!(world.host("n2").receivers(FUNCTION).len(), 2);
}

#[test]
fn whom_latency_puts_out_of_bounds_is_left_alone() {
    let mut world = World::new(StrategyKind::WaterFilling, SECOND);
    world.hoods = hoods(&[("n1", Neighbourhood::Within(Duration::from_millis(20)))]);
    let mut world = grown(world);
    measure(&mut world, &[("n2", 20), ("n3", 21)]);
    load(&mut world, [50.0, 0.0, 0.0]);
    world.run(2 * SECOND);
    let n1 = &world.run(10 * SECOND)["n1"];
    about(n1.at("n2"), 200, 3);
    assert_eq!(n1.at("n3"), 0);
}

#[test]
fn random_topologies_serve_without_refusals_by_peers() {
    for seed in 1..=12 {
        let mut random = seed;
        let mut world = World::new(StrategyKind::WaterFilling, SECOND);
        let names: Vec<String> = (0..6).map(|i| format!("n{i}")).collect();
        for name in &names {
            let others = names.iter().filter(|&other| other != name);
            let listed: BTreeSet<NodeId> = others
                .filter(|_| draw(&mut random, 2) == 0)
                .map(|other| world::node(other))
                .collect();
            world.hoods.insert(name.clone(), Neighbourhood::Listed(listed));
        }
        for name in &names {
            world.start(name, &[(FUNCTION, 20.0)]);
        }
        world.run(3 * SECOND);
        for name in &names {
            world.load(name, FUNCTION, [0.0, 5.0, 30.0, 60.0][draw(&mut random, 4)]);
        }
        world.run(4 * SECOND);
        let tallies = world.run(5 * SECOND);
        for (name, tally) in &tallies {
            let served = served_by(&tallies, name);
            assert!(served <= 103, "seed {seed}: {name} served {served}");
            assert_eq!(
                (tally.unknown_403, tally.over_limit_429),
                (0, 0),
                "seed {seed}: {name} {tally:?}"
            );
            let Neighbourhood::Listed(listed) = &world.hoods[name] else {
                unreachable!("all are listed");
            };
            let strange = tally
                .served
                .keys()
                .find(|&by| by != name && !listed.contains(&world::node(by)));
            assert_eq!(strange, None, "seed {seed}: {name}");
        }
    }
}

/// The reference's three nodes, of which the first and the last are no neighbours.
fn chain(kind: StrategyKind) -> World {
    let listed = |names: &[&str]| Neighbourhood::Listed(names.iter().map(|name| world::node(name)).collect());
    let mut world = World::new(kind, SECOND);
    world.hoods = hoods(&[
        ("n1", listed(&["n2"])),
        ("n2", listed(&["n1", "n3"])),
        ("n3", listed(&["n2"])),
    ]);
    grown(world)
}

fn hoods(of: &[(&str, Neighbourhood)]) -> BTreeMap<String, Neighbourhood> {
    of.iter()
        .map(|(name, hood)| ((*name).to_owned(), hood.clone()))
        .collect()
}

/// Tells the first node how far others are, and lets it tell them.
fn measure(world: &mut World, rtts_ms: &[(&str, u64)]) {
    for &(name, rtt_ms) in rtts_ms {
        let (id, rtt) = (world::node(name), Some(Duration::from_millis(rtt_ms)));
        world.input("n1", Input::PeerUp { id, rtt });
    }
    world.run(2 * SECOND);
}

fn draw(random: &mut u64, below: usize) -> usize {
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*random >> 33) as usize % below
}
