//! A member that says what is not true, or what makes no sense: nobody else may suffer from it.

use super::*;

use dfaas_control::{Input, MESSAGE_BYTES_MAX, Rejection};

const LIAR: &str = "liar";
/// As many as a node says by itself in a second, many times over.
const LIES_PER_SECOND: u32 = 100;

#[test]
fn nonsense_is_counted_by_its_kind_and_changes_nothing() {
    let mut world = helped();
    let before = world.host("n1").policy.clone();
    let counted = world.status("n1").accepted;
    let lies = [
        ("{\"MsgType\":".to_owned(), Rejection::Malformed),
        (
            state(1, 1, "\"Capacity\":1e999,\"Demand\":0"),
            Rejection::Malformed,
        ),
        (
            state(1, 1, "\"Capacity\":1e18,\"Demand\":0"),
            Rejection::AbsurdValue,
        ),
        (
            state(1, 1, "\"Capacity\":0,\"Demand\":-1"),
            Rejection::AbsurdValue,
        ),
        (
            state(1, 1, FAIR).replace("\"Period\":1.0", "\"Period\":1e9"),
            Rejection::AbsurdValue,
        ),
        (
            state(1, 1, FAIR).replace("10.77.0.66", "0.0.0.0"),
            Rejection::BadAddress,
        ),
        (
            state(1, 1, FAIR).replace("10.77.0.66", "127.0.0.1"),
            Rejection::BadAddress,
        ),
        (
            state(1, 1, FAIR).replace("10.77.0.66", "169.254.169.254"),
            Rejection::BadAddress,
        ),
        (
            state(1, 1, FAIR).replace("nodestate", "nodestates"),
            Rejection::UnknownType,
        ),
        (
            state(1, 1, FAIR) + &" ".repeat(MESSAGE_BYTES_MAX),
            Rejection::TooLarge,
        ),
    ];
    for (lie, _) in &lies {
        say(&mut world, "n1", LIAR, lie);
    }
    let status = world.status("n1");
    let mut want: BTreeMap<Rejection, u64> = BTreeMap::new();
    for (_, rejection) in &lies {
        *want.entry(*rejection).or_default() += 1;
    }
    assert_eq!((status.rejected, status.accepted), (want, counted));
    assert!(
        !status.peers.contains_key(&world::node(LIAR)),
        "nothing of it is kept"
    );
    assert_eq!(world.host("n1").policy, before);
}

#[test]
fn who_tells_the_address_of_another_gets_no_request() {
    let mut world = three_nodes(StrategyKind::WaterFilling);
    world.start(LIAR, &[]);
    load(&mut world, [60.0, 0.0, 0.0]);
    for (address, round) in [
        ("10.77.0.3", 1),
        ("10.77.0.1", 2),
        ("10.77.0.66", 3),
        ("10.77.0.3", 4),
    ] {
        for sequence in 1..=8 {
            let lie = state(8 + round, sequence, CLAIM_OF_CAPACITY).replace("10.77.0.66", address);
            for name in ["n1", "n2", "n3"] {
                say(&mut world, name, LIAR, &lie);
            }
            let tallies = world.run(SECOND / 2);
            assert_eq!(tallies["n1"].at(LIAR), 0, "{address}");
            assert!(!world.host("n1").receivers(FUNCTION).contains(LIAR), "{address}");
            // Once all know that nothing goes there, all help as if it said nothing.
            if sequence > 7 {
                about(served(&tallies), 30, 2);
            }
        }
    }
}

#[test]
fn a_flood_of_nonsense_costs_no_request() {
    let mut world = helped();
    let mut total = 0;
    for _ in 0..LIES_PER_SECOND {
        for name in ["n1", "n2", "n3"] {
            say(
                &mut world,
                name,
                LIAR,
                &state(1, 1, "\"Capacity\":1e18,\"Demand\":0"),
            );
        }
        total += served(&world.run(SECOND / LIES_PER_SECOND));
    }
    about(total, 50, 1);
    let rejected = &world.status("n2").rejected[&Rejection::AbsurdValue];
    assert_eq!(*rejected, u64::from(LIES_PER_SECOND));
}

#[test]
fn a_state_from_the_future_silences_nobody_but_its_sender() {
    let mut world = helped();
    for name in ["n1", "n2"] {
        let lie = state(u64::MAX, u64::MAX, "\"Capacity\":30,\"Demand\":0");
        say(&mut world, name, "n3", &lie.replace("10.77.0.66", "10.77.0.3"));
    }
    world.run(4 * SECOND);
    assert!(world.status("n1").rejected[&Rejection::Outdated] >= 3);
    let knows_third = |world: &World| world.host("n1").receivers(FUNCTION).contains("n3");
    assert!(!knows_third(&world), "what it says now is older");
    let tallies = world.run(5 * SECOND);
    about(tallies["n1"].at("n1"), 50, 1);
    about(tallies["n1"].at("n2"), 100, 2);
    // It is forgotten ten periods after it was believed last, and then it is a newcomer.
    world.run(5 * SECOND);
    assert!(knows_third(&world));
    about(served(&world.run(5 * SECOND)), 250, 3);
}

#[test]
fn who_claims_all_demand_gets_no_more_than_a_fair_share() {
    let mut world = helped();
    world.start(LIAR, &[]);
    for round in 1..=50 {
        for name in ["n1", "n2", "n3"] {
            say(&mut world, name, LIAR, &state(9, round, CLAIM_OF_DEMAND));
        }
        world.run(SECOND / 10);
    }
    let granted = |name: &str| {
        let admit = &world.host(name).policy.functions[&world::function(FUNCTION)].admit;
        admit.get(&world::node(LIAR)).copied().unwrap_or_default()
    };
    let to_liar = granted("n2") + granted("n3");
    assert!(
        to_liar <= 25.0 + 1e-3,
        "{to_liar} of the 50 that two ask for beyond what they have"
    );
}

#[test]
fn users_of_a_node_keep_all_of_it_whatever_peers_claim() {
    let mut world = helped();
    world.start(LIAR, &[]);
    load(&mut world, [0.0, 20.0, 30.0]);
    let mut total = 0;
    for round in 1..=50 {
        for name in ["n1", "n2", "n3"] {
            let lie = if round % 2 == 0 {
                CLAIM_OF_DEMAND
            } else {
                CLAIM_OF_CAPACITY
            };
            say(&mut world, name, LIAR, &state(9, round, lie));
        }
        let tallies = world.run(SECOND / 10);
        total += tallies["n2"].at("n2") + tallies["n3"].at("n3");
    }
    about(total, 250, 3);
}

const FAIR: &str = "\"Capacity\":1,\"Demand\":0";
/// The most that is believed.
const CLAIM_OF_DEMAND: &str = "\"Capacity\":0,\"Demand\":1e9";
const CLAIM_OF_CAPACITY: &str = "\"Capacity\":1e9,\"Demand\":0";

/// The first node needs help with 40 of its 50 requests a second, and gets it.
fn helped() -> World {
    let mut world = three_nodes(StrategyKind::WaterFilling);
    load(&mut world, [50.0, 0.0, 0.0]);
    world.run(5 * SECOND);
    about(served(&world.run(SECOND)), 50, 1);
    world
}

fn say(world: &mut World, to: &str, from: &str, body: &str) {
    let (from, body) = (world::node(from), body.as_bytes().to_vec());
    world.input(to, Input::Message { from, body });
}

fn state(incarnation: u64, sequence: u64, load: &str) -> String {
    format!(
        r#"{{"MsgType":"nodestate","Incarnation":{incarnation},"Sequence":{sequence},"HAProxyHost":"10.77.0.66",
        "HAProxyPort":80,"Period":1.0,"Functions":{{"{FUNCTION}":{{{load}}}}}}}"#
    )
}
