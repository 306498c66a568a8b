//! Nodes come, go and return; messages are late, lost or in the wrong order.

use super::*;

use dfaas_control::{Input, Rejection};

#[test]
fn pairs_that_hear_each_other_and_are_not_connected_are_not_reckoned_with() {
    let mut world = three_nodes(StrategyKind::WaterFilling);
    // What the one tells still comes to the other by way of the second.
    for (name, lost) in [("n1", "n3"), ("n3", "n1")] {
        let id = world::node(lost);
        world.input(name, Input::PeerDown { id });
    }
    load(&mut world, [30.0, 0.0, 0.0]);
    world.run(6 * SECOND);
    let tallies = world.run(5 * SECOND);
    about(tallies["n1"].at("n2"), 100, 2);
    about(served(&tallies), 150, 2);
    // They are connected again.
    for (name, met) in [("n1", "n3"), ("n3", "n1")] {
        let (id, rtt) = (world::node(met), None);
        world.input(name, Input::PeerUp { id, rtt });
    }
    world.run(3 * SECOND);
    assert!(world.run(SECOND)["n1"].at("n3") > 0);
}

#[test]
fn nothing_is_sent_to_a_silent_node_after_two_and_a_half_periods() {
    let mut world = overloaded();
    world.kill("n3");
    world.run(Duration::from_millis(2500));
    assert!(!world.host("n1").receivers(FUNCTION).contains("n3"));
    assert!(!world.host("n1").policy.peers.contains_key(&world::node("n3")));
    let tallies = world.run(5 * SECOND);
    about(tallies["n1"].at("n2"), 100, 1);
    assert_eq!(tallies["n1"].unknown_403, 0);
}

#[test]
fn nothing_is_sent_to_a_node_whose_connection_is_lost() {
    let mut world = overloaded();
    world.kill("n3");
    world.disconnect("n3");
    assert!(!world.host("n1").receivers(FUNCTION).contains("n3"));
    // What the dead node said last arrives late and must not revive it.
    world.run(Duration::from_millis(100));
    assert!(!world.host("n1").receivers(FUNCTION).contains("n3"));
}

#[test]
fn a_lost_message_changes_nothing() {
    let mut world = overloaded();
    world.network.loss_permille = 1000;
    world.run(Duration::from_millis(1450));
    assert!(world.host("n1").receivers(FUNCTION).contains("n3"));
}

#[test]
fn a_restarted_node_is_recognised() {
    let mut world = overloaded();
    world.kill("n3");
    world.disconnect("n3");
    world.run(Duration::from_millis(50));
    world.start("n3", &[(FUNCTION, 30.0)]);
    world.run(Duration::from_millis(300));
    assert!(world.host("n1").receivers(FUNCTION).contains("n3"));
    world.run(SECOND);
    about(served(&world.run(5 * SECOND)), 250, 2);
}

#[test]
fn a_late_joiner_is_admitted_and_used_at_once() {
    let mut world = World::new(StrategyKind::WaterFilling, SECOND);
    world.start("n1", &[(FUNCTION, 10.0)]);
    world.start("n2", &[(FUNCTION, 20.0)]);
    world.run(3 * SECOND);
    world.load("n1", FUNCTION, 50.0);
    about(served(&world.run(5 * SECOND)), 150, 5);
    world.start("n3", &[(FUNCTION, 30.0)]);
    world.run(Duration::from_millis(300));
    about(served(&world.run(5 * SECOND)), 250, 3);
    world.load("n3", FUNCTION, 25.0);
    world.run(2 * SECOND);
    about(served(&world.run(5 * SECOND)), 300, 5);
}

#[test]
fn late_lost_and_overtaking_messages_do_little_harm() {
    let mut world = three_nodes(StrategyKind::WaterFilling);
    world.network.delay = Duration::from_millis(50);
    world.network.jitter = Duration::from_millis(1500);
    world.network.loss_permille = 100;
    load(&mut world, [50.0, 0.0, 0.0]);
    world.run(5 * SECOND);
    let tallies = world.run(30 * SECOND);
    assert!(served(&tallies) >= 1450, "{} of 1500 served", served(&tallies));
    let status = world
        .host("n1")
        .control
        .as_ref()
        .map(|control| control.status(world.start + world.now));
    assert!(status.is_some_and(|status| status.rejected[&Rejection::Outdated] > 0));
}

#[test]
fn a_replayed_message_is_dropped() {
    let mut world = overloaded();
    let body =
        br#"{"MsgType":"nodestate","Incarnation":1,"Sequence":1,"HAProxyHost":"10.77.0.9","HAProxyPort":80,
        "Period":1.0,"Functions":{}}"#;
    let before = world.host("n1").policy.clone();
    world.input(
        "n1",
        Input::Message {
            from: world::node("n3"),
            body: body.to_vec(),
        },
    );
    assert_eq!(world.host("n1").policy, before);
}

#[test]
fn the_same_history_gives_the_same_policies() {
    let history = || {
        let mut world = three_nodes(StrategyKind::WaterFilling);
        world.network.jitter = Duration::from_millis(400);
        world.network.loss_permille = 200;
        load(&mut world, [50.0, 13.0, 1.0]);
        let tallies = world.run(7 * SECOND);
        (
            tallies,
            world.host("n1").policy.clone(),
            world.host("n3").policies_applied,
        )
    };
    assert_eq!(history(), history());
}

/// The first node needs help and gets it from both others.
fn overloaded() -> World {
    let mut world = three_nodes(StrategyKind::WaterFilling);
    load(&mut world, [50.0, 0.0, 0.0]);
    world.run(5 * SECOND);
    assert!(world.host("n1").receivers(FUNCTION).contains("n3"));
    world
}
