//! The strategies whose shares do not depend on the load.

use super::*;

#[test]
fn static_keeps_60_of_100_and_gives_the_rest_in_equal_parts() {
    let mut world = three_nodes(StrategyKind::Static);
    load(&mut world, [50.0, 0.0, 0.0]);
    world.run(2 * SECOND);
    let tallies = world.run(10 * SECOND);
    let n1 = &tallies["n1"];
    about(n1.at("n1"), 300, 2);
    about(n1.at("n2"), 100, 2);
    about(n1.at("n3"), 100, 2);
    assert_eq!(n1.total(), n1.arrived);
}

#[test]
fn static_keeps_all_once_the_others_are_gone() {
    let mut world = three_nodes(StrategyKind::Static);
    load(&mut world, [50.0, 0.0, 0.0]);
    world.kill("n2");
    world.kill("n3");
    world.run(4 * SECOND);
    let tallies = world.run(10 * SECOND);
    assert_eq!(tallies["n1"].at("n1"), tallies["n1"].arrived);
}

#[test]
fn all_local_keeps_everything_and_tells_nobody() {
    let mut world = three_nodes(StrategyKind::AllLocal);
    load(&mut world, [50.0, 5.0, 0.0]);
    let tallies = world.run(10 * SECOND);
    for name in ["n1", "n2"] {
        assert_eq!(tallies[name].at(name), tallies[name].arrived);
        assert!(world.host(name).policy.peers.is_empty());
    }
}
