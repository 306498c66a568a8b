//! A strategy is replaced while requests come.

use dfaas_control::{Input, SwitchError};

use super::*;

const KINDS: [StrategyKind; 6] = [
    StrategyKind::WaterFilling,
    StrategyKind::Recalc,
    StrategyKind::Static,
    StrategyKind::AllLocal,
    StrategyKind::NodeMargin,
    StrategyKind::External,
];
/// Coming and leaving take four periods each.
const HANDOVER: u32 = 8;

/// More than node 1 takes alone under strategies that know limits, but `external` keeps what it cannot send.
const RATE_RPS: f64 = 20.0;

#[test]
fn no_request_fails_while_all_nodes_change_from_any_strategy_to_any_other() {
    for from in KINDS {
        for to in KINDS.into_iter().filter(|&to| to != from) {
            check(from, to, &["n1", "n2", "n3"]);
        }
    }
}

#[test]
fn no_request_is_refused_by_a_peer_that_changes_alone() {
    for to in KINDS {
        check(StrategyKind::WaterFilling, to, &["n3"]);
    }
}

#[test]
fn nodes_that_change_one_after_the_other_serve_everything() {
    let mut world = three_nodes(StrategyKind::WaterFilling);
    load(&mut world, [RATE_RPS, 0.0, 0.0]);
    for (name, kind) in [
        ("n1", StrategyKind::Static),
        ("n2", StrategyKind::Static),
        ("n3", StrategyKind::Static),
    ] {
        world.switch(name, kind);
        no_failures(&world.run(3 * SECOND), &format!("{name} to {kind}"));
    }
    no_failures(&world.run(HANDOVER * SECOND), "to static");
    // And back: what it told when it last acted does not make it outdated.
    for name in ["n3", "n2", "n1"] {
        world.switch(name, StrategyKind::WaterFilling);
    }
    no_failures(&world.run(HANDOVER * SECOND), "back");
    let tallies = world.run(10 * SECOND);
    about(tallies["n1"].at("n1"), 100, 3);
    no_failures(&tallies, "afterwards");
}

#[test]
fn a_change_is_refused_while_another_is_under_way() {
    let mut world = three_nodes(StrategyKind::WaterFilling);
    world.switch("n1", StrategyKind::Recalc);
    for _ in 0..HANDOVER {
        let err: SwitchError = world.try_switch("n1", StrategyKind::Static).unwrap_err();
        assert!(
            err.to_string()
                .contains("water-filling is just being replaced by recalc"),
            "{err}"
        );
        world.run(SECOND);
    }
    world.run(SECOND);
    world.try_switch("n1", StrategyKind::Static).unwrap();
}

#[test]
fn a_shadow_decides_as_if_it_acted_and_nobody_acts_on_it() {
    let mut acting = three_nodes(StrategyKind::WaterFilling);
    let mut world = three_nodes_with_shadow(StrategyKind::Static, StrategyKind::WaterFilling);
    for world in [&mut acting, &mut world] {
        load(world, [50.0, 0.0, 0.0]);
        world.run(10 * SECOND);
    }
    let want = acting.status("n1").functions[&world::function(FUNCTION)].clone();
    let shadow = world.status("n1").shadow.unwrap();
    assert_eq!(shadow.strategy, StrategyKind::WaterFilling);
    let got = &shadow.functions[&world::function(FUNCTION)];
    assert_eq!((got.local_rps, got.routes.len()), (want.local_rps, 2));
    for (id, route) in &want.routes {
        assert!(
            (got.routes[id].weight - route.weight).abs() < 0.02,
            "{got:?} {want:?}"
        );
    }
    // In force is static.
    about(world.run(10 * SECOND)["n1"].at("n1"), 300, 2);
}

#[test]
fn what_a_shadow_tells_is_of_no_use_to_those_who_act() {
    let mut world = three_nodes(StrategyKind::WaterFilling);
    let state = r#"{"MsgType":"nodestate","Incarnation":1,"Sequence":1,"HAProxyHost":"10.0.0.9",
        "HAProxyPort":80,"Period":1,"Functions":{}}"#;
    let body = format!(r#"{{"MsgType":"shadow","Body":{state}}}"#).into_bytes();
    let from = world::node("n9");
    world.input("n1", Input::Message { from, body });
    assert_eq!(world.host("n1").policy.peers.len(), 2);
}

#[track_caller]
fn check(from: StrategyKind, to: StrategyKind, names: &[&str]) {
    let mut world = three_nodes(from);
    // Alone, external sends nothing on: a node's users get its capacity.
    let rate = if [from, to].contains(&StrategyKind::External) {
        8.0
    } else {
        RATE_RPS
    };
    load(&mut world, [rate, 0.0, 0.0]);
    world.run(4 * SECOND);
    for name in names {
        world.switch(name, to);
        // Not all at the same moment.
        no_failures(&world.run(SECOND / 3), &format!("{from} to {to}"));
    }
    no_failures(&world.run(2 * HANDOVER * SECOND), &format!("{from} to {to}"));
}

#[track_caller]
fn no_failures(tallies: &BTreeMap<String, Tally>, what: &str) {
    for tally in tallies.values() {
        assert_eq!(tally.total(), tally.arrived, "{what}: {tally:?}");
    }
}
