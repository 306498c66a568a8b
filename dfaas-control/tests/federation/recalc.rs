//! Recalc must give the figures of the reference.

use super::*;

#[test]
fn one_overloaded_node_gets_equal_offers() {
    let tallies = steady([50.0, 0.0, 0.0]);
    let n1 = &tallies["n1"];
    about(n1.at("n1"), 100, 1);
    about(n1.at("n2"), 100, 1);
    about(n1.at("n3"), 150, 1);
    about(n1.over_limit_429, 150, 2);
}

#[test]
fn a_peer_in_use_offers_less() {
    let tallies = steady([50.0, 10.0, 0.0]);
    let n1 = &tallies["n1"];
    about(n1.at("n1"), 100, 1);
    about(n1.at("n2"), 50, 1);
    about(n1.at("n3"), 150, 1);
    about(n1.over_limit_429, 200, 2);
    about(tallies["n2"].at("n2"), 100, 1);
}

#[test]
fn two_overloaded_nodes_share_the_third() {
    let tallies = steady([50.0, 30.0, 0.0]);
    about(tallies["n1"].at("n1"), 100, 1);
    about(tallies["n1"].at("n3"), 150, 1);
    about(tallies["n1"].over_limit_429, 250, 2);
    about(tallies["n2"].at("n2"), 200, 1);
    about(tallies["n2"].at("n3"), 100, 1);
}

#[test]
fn nobody_helps_where_all_are_overloaded() {
    let tallies = steady([50.0, 50.0, 50.0]);
    about(served(&tallies), 600, 3);
    about(tallies.values().map(|tally| tally.nobody_503).sum(), 900, 3);
}

#[test]
fn a_node_that_is_gone_gets_nothing() {
    let mut world = three_nodes(StrategyKind::Recalc);
    load(&mut world, [50.0, 0.0, 0.0]);
    world.run(4 * SECOND);
    assert!(world.host("n1").receivers(FUNCTION).contains("n3"));
    world.kill("n3");
    world.run(3 * SECOND);
    assert!(!world.host("n1").receivers(FUNCTION).contains("n3"));
}

#[test]
fn a_lost_connection_ends_routes_at_once() {
    let mut world = three_nodes(StrategyKind::Recalc);
    load(&mut world, [50.0, 0.0, 0.0]);
    world.run(4 * SECOND);
    world.disconnect("n3");
    let policy = &world.host("n1").policy.functions[&world::function(FUNCTION)];
    assert_eq!(
        policy.routes.keys().map(ToString::to_string).collect::<Vec<_>>(),
        ["n2"]
    );
    assert_eq!(policy.routes.values().map(|route| route.weight).sum::<f64>(), 1.0);
}

/// Ten seconds of a load that has lasted long enough.
fn steady(rates_rps: [f64; 3]) -> BTreeMap<String, Tally> {
    let mut world = three_nodes(StrategyKind::Recalc);
    load(&mut world, rates_rps);
    world.run(4 * SECOND);
    world.run(10 * SECOND)
}
