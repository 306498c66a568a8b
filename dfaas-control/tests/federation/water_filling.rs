//! Water-filling must reach all there is, from the first second.

use super::*;

#[test]
fn one_overloaded_node_is_helped_out_whole() {
    check([50.0, 0.0, 0.0], 50);
}

#[test]
fn a_peer_in_use_helps_with_the_rest() {
    check([50.0, 10.0, 0.0], 60);
}

#[test]
fn two_overloaded_nodes_get_all_there_is() {
    check([50.0, 30.0, 0.0], 60);
}

#[test]
fn where_all_are_overloaded_each_serves_its_own() {
    let tallies = check([50.0, 50.0, 50.0], 60);
    let nobody: u64 = tallies.values().map(|tally| tally.nobody_503).sum();
    about(nobody, 900, 10);
}

#[test]
fn nobody_serves_more_than_it_can() {
    for rates in [
        [50.0, 0.0, 0.0],
        [50.0, 10.0, 0.0],
        [50.0, 30.0, 0.0],
        [5.0, 19.0, 60.0],
    ] {
        let mut world = three_nodes(StrategyKind::WaterFilling);
        load(&mut world, rates);
        world.run(2 * SECOND);
        let tallies = world.run(10 * SECOND);
        for (name, capacity_rps) in [("n1", 10), ("n2", 20), ("n3", 30)] {
            let served = served_by(&tallies, name);
            assert!(
                served <= 10 * capacity_rps + 3,
                "{name} served {served} in ten seconds at {rates:?}"
            );
        }
    }
}

#[test]
fn a_step_in_load_is_followed_in_any_phase_of_the_period() {
    for phase_ms in (0..1000).step_by(90) {
        let mut world = three_nodes(StrategyKind::WaterFilling);
        world.run(Duration::from_millis(phase_ms));
        load(&mut world, [50.0, 0.0, 0.0]);
        let first = world.run(SECOND);
        assert!(
            served(&first) >= 44,
            "{} served in the first second at phase {phase_ms}",
            served(&first)
        );
        let second = world.run(SECOND);
        assert!(
            served(&second) >= 49,
            "{} served in the next second at phase {phase_ms}",
            served(&second)
        );
    }
}

#[test]
fn constant_demand_settles() {
    let mut world = three_nodes(StrategyKind::WaterFilling);
    // Periods hold 40 or 41 requests of the first, and 7 or 8 of the second.
    load(&mut world, [40.7, 7.3, 0.0]);
    world.run(3 * SECOND);
    let caps = |world: &World| -> Vec<f64> {
        let routes = &world.host("n1").policy.functions[&world::function(FUNCTION)].routes;
        routes.values().map(|route| route.cap_rps).collect()
    };
    let settled = caps(&world);
    for _ in 0..20 {
        world.run(SECOND);
        for (now, then) in caps(&world).iter().zip(&settled) {
            assert!((now - then).abs() < 0.6, "cap went from {then} to {now}");
        }
    }
}

#[test]
fn steady_counts_change_no_policy() {
    let mut world = three_nodes(StrategyKind::WaterFilling);
    load(&mut world, [50.0, 10.0, 0.0]);
    world.run(5 * SECOND);
    let before = world.host("n1").policies_applied;
    world.run(10 * SECOND);
    assert_eq!(world.host("n1").policies_applied, before);
}

#[test]
fn random_arrivals_are_followed_without_swinging() {
    let mut world = three_nodes(StrategyKind::WaterFilling);
    world.arrivals = world::Arrivals::Random;
    load(&mut world, [40.0, 10.0, 0.0]);
    world.run(4 * SECOND);
    let routed_rps = |world: &World| -> f64 {
        let routes = &world.host("n1").policy.functions[&world::function(FUNCTION)].routes;
        routes.values().map(|route| route.cap_rps).sum()
    };
    let (mut arrived, mut got, mut low, mut high) = (0, 0, f64::MAX, 0.0_f64);
    for _ in 0..60 {
        let tallies = world.run(SECOND);
        arrived += tallies.values().map(|tally| tally.arrived).sum::<u64>();
        got += served(&tallies);
        low = low.min(routed_rps(&world));
        high = high.max(routed_rps(&world));
    }
    // Buckets that hold a tenth of a second cut off some of the bursts.
    assert!(got * 100 >= arrived * 93, "{got} of {arrived} served");
    // 30 are needed; three standard deviations of a mean over three seconds are 11.
    assert!(low >= 19.0 && high <= 46.0, "caps swing from {low} to {high}");
}

#[test]
fn twelve_nodes_settle_like_three() {
    let mut world = World::new(StrategyKind::WaterFilling, SECOND);
    let names: Vec<String> = (0..12).map(|i| format!("n{i:02}")).collect();
    for name in &names {
        world.start(name, &[(FUNCTION, 20.0)]);
        world.run(Duration::from_millis(70));
    }
    world.run(3 * SECOND);
    for (name, rate_rps) in names
        .iter()
        .zip([90.0, 35.0, 0.0, 5.0, 60.0, 0.0, 20.0, 10.0, 0.0, 0.0, 2.0, 1.0])
    {
        world.load(name, FUNCTION, rate_rps);
    }
    world.run(3 * SECOND);
    about(served(&world.run(10 * SECOND)), 2230, 25);
}

#[test]
fn a_load_that_ends_frees_the_surplus() {
    let mut world = three_nodes(StrategyKind::WaterFilling);
    load(&mut world, [50.0, 0.0, 0.0]);
    world.run(5 * SECOND);
    load(&mut world, [0.0, 50.0, 0.0]);
    world.run(2 * SECOND);
    let tallies = world.run(5 * SECOND);
    about(served(&tallies), 250, 2);
}

#[test]
fn a_function_that_only_a_peer_has_is_reached() {
    let mut world = World::new(StrategyKind::WaterFilling, SECOND);
    world.start("n1", &[]);
    world.start("n2", &[("ocr", 20.0)]);
    world.start("n3", &[]);
    world.run(SECOND);
    world.load("n1", "ocr", 5.0);
    let tallies = world.run(2 * SECOND);
    about(tallies["n1"].at("n2"), 10, 0);
    // More than an equal share of the stand-by credit, and more than there is.
    world.load("n1", "ocr", 30.0);
    world.run(SECOND);
    let tallies = world.run(10 * SECOND);
    about(tallies["n1"].at("n2"), 200, 5);
    assert!(!world.host("n1").policy.functions[&world::function("ocr")].hosted);
}

#[test]
fn a_function_deployed_later_takes_part_at_once() {
    let mut world = three_nodes(StrategyKind::WaterFilling);
    world.load("n1", "ocr", 20.0);
    let tallies = world.run(2 * SECOND);
    about(tallies["n1"].total(), 0, 0);
    world.deploy("n3", &[(FUNCTION, 30.0), ("ocr", 30.0)]);
    world.run(2 * SECOND);
    let tallies = world.run(5 * SECOND);
    about(tallies["n1"].at("n3"), 100, 1);
}

#[test]
fn a_function_removed_is_not_offered_any_more() {
    let mut world = three_nodes(StrategyKind::WaterFilling);
    load(&mut world, [50.0, 0.0, 0.0]);
    world.run(3 * SECOND);
    world.deploy("n3", &[]);
    world.run(Duration::from_millis(10));
    assert!(!world.host("n1").receivers(FUNCTION).contains("n3"));
    assert!(!world.host("n3").policy.functions[&world::function(FUNCTION)].hosted);
}

/// Runs a scenario: wants `want_rps` served in each of ten seconds but the first, and nearly so in the first.
#[track_caller]
fn check(rates_rps: [f64; 3], want_rps: u64) -> BTreeMap<String, Tally> {
    let mut world = three_nodes(StrategyKind::WaterFilling);
    load(&mut world, rates_rps);
    let first = served(&world.run(SECOND));
    assert!(first >= want_rps * 92 / 100, "{first} served in the first second");
    about(served(&world.run(SECOND)), want_rps, 1);
    let tallies = world.run(10 * SECOND);
    about(served(&tallies), want_rps * 10, 3);
    tallies
}
