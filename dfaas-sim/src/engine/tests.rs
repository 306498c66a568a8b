use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::record::Row;
use crate::results::Results;
use crate::summary::Summary;

/// The reference's nodes and loads (its section 10.2), and what each strategy comes to there.
#[test]
fn reference_loads_come_to_the_known_rates() {
    use StrategyName::{Base, Recalc, WaterFilling};
    // By its own table, the original serves 35, 40, 55 and 60 of them.
    for (loads, strategy, want) in [
        ([50, 0, 0], WaterFilling, 50.0),
        ([50, 0, 0], Recalc, 35.0),
        ([50, 0, 0], Base, 10.0),
        ([50, 10, 0], WaterFilling, 60.0),
        ([50, 10, 0], Recalc, 40.0),
        ([50, 30, 0], WaterFilling, 60.0),
        ([50, 30, 0], Recalc, 55.0),
        ([50, 50, 50], WaterFilling, 60.0),
        ([50, 50, 50], Recalc, 60.0),
    ] {
        let summary = summary(&three(&loads, "even"), strategy, 7);
        let served_rps: f64 = summary.served_by_rps.values().sum();
        assert!(
            (served_rps / want - 1.0).abs() < 0.05,
            "{strategy} serves {served_rps} of {loads:?}, not {want}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    for strategy in StrategyName::ALL {
        let scenario = three(&[50, 10, 0], "poisson");
        let json = |seed| {
            Results::of(&scenario, strategy, seed, &mut |_| {})
                .to_json()
                .unwrap()
        };
        assert_eq!(json(7), json(7), "{strategy}");
        assert_ne!(json(7), json(8), "{strategy}");
    }
}

/// Written down on one machine, so that another one that computes something else is found out.
#[test]
fn a_run_is_the_same_on_all_machines() {
    let summary = summary(&three(&[50, 10, 0], "poisson"), StrategyName::WaterFilling, 7);
    let got = (
        summary.arrived,
        summary.served,
        summary.refused,
        summary.traffic.bytes,
    );
    assert_eq!(got, (1_468, 1_404, 81, 36_670));
}

#[test]
fn arrivals_do_not_depend_on_the_strategy() {
    let scenario = three(&[50, 10, 0], "poisson");
    let arrived = |strategy| -> Vec<u64> {
        let record = run(&scenario, strategy, 7, &mut |_| {});
        record
            .rows
            .iter()
            .filter(|row| row.second < 30)
            .map(|row| row.arrived)
            .collect()
    };
    let want = arrived(StrategyName::WaterFilling);
    for strategy in StrategyName::ALL {
        assert_eq!(arrived(strategy), want, "{strategy}");
    }
}

#[test]
fn a_crashed_node_is_routed_around() {
    let scenario = parse(&(text(&[50, 0, 0], "even") + "[[event]]\nat_s = 15\ncrash = \"n3\"\n"));
    let record = run(&scenario, StrategyName::WaterFilling, 7, &mut |_| {});
    let served_rps = |seconds: std::ops::Range<u32>| {
        let rows = record.rows.iter().filter(|row| seconds.contains(&row.second));
        let served: u64 = rows.map(|row| row.served_own + row.served_elsewhere).sum();
        served as f64 / seconds.len() as f64
    };
    let (before, after) = (served_rps(5..15), served_rps(20..30));
    assert!((before - 50.0).abs() < 1.0, "{before}");
    // n1 and n2 have 30.
    assert!((after - 30.0).abs() < 1.0, "{after}");
    let rows = record.rows.iter().filter(|row| row.second >= 5);
    let failed: u64 = rows.map(|row| row.failed).sum();
    assert!(failed <= 10, "{failed} requests that the crashed node had");
}

#[test]
fn a_node_that_joins_helps_within_seconds() {
    let scenario = parse(
        &(text(&[50, 0, 0], "even").replace("name = \"n3\"", "name = \"n3\"\nstarts = false")
            + "[[event]]\nat_s = 15\njoin = \"n3\"\n"),
    );
    let record = run(&scenario, StrategyName::WaterFilling, 7, &mut |_| {});
    let by_n3 = |second: u32| -> u64 {
        let rows = record
            .rows
            .iter()
            .filter(|row| row.second == second && row.node == "n3");
        rows.map(|row| row.served_others).sum()
    };
    assert_eq!(by_n3(14), 0);
    assert!(by_n3(19) >= 20, "{}", by_n3(19));
}

#[test]
fn a_partition_divides_and_heals() {
    let scenario = parse(
        &(text(&[50, 0, 0], "even")
            + "[[event]]\nat_s = 10\npartition = [[\"n1\"]]\n[[event]]\nat_s = 20\nheal = true\n"),
    );
    let record = run(&scenario, StrategyName::WaterFilling, 7, &mut |_| {});
    let elsewhere = |second: u32| -> u64 {
        let rows = record.rows.iter().filter(|row| row.second == second);
        rows.map(|row| row.served_elsewhere).sum()
    };
    assert_eq!(elsewhere(18), 0);
    for second in [9, 26] {
        assert!((36..=44).contains(&elsewhere(second)), "{}", elsewhere(second));
    }
}

#[test]
fn lossy_links_make_answers_late_and_lose_none() {
    let scenario = parse(&text(&[50, 0, 0], "even").replace(
        "[[node]]\nname = \"n1\"",
        "[network]\nloss = 0.05\n[[node]]\nname = \"n1\"",
    ));
    let lossy = summary(&scenario, StrategyName::WaterFilling, 7);
    let good = summary(&three(&[50, 0, 0], "even"), StrategyName::WaterFilling, 7);
    assert!(lossy.success > 0.98, "{lossy:?}");
    assert!(lossy.p99_ms > good.p99_ms.map(|ms| ms + 50.0), "{lossy:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happens, each request that came was served, refused or failed, and each served once.
    #[test]
    fn all_requests_are_accounted_for(
        seed in any::<u64>(),
        strategy in proptest::sample::select(StrategyName::ALL.to_vec()),
        loads in proptest::array::uniform3(0u32..80),
        crash_s in 2u32..20,
        loss in 0.0f64..0.3,
    ) {
        let events = format!(
            "[[event]]\nat_s = {crash_s}\ncrash = \"n2\"\n[[event]]\nat_s = {}.5\njoin = \"n2\"\n\
             [[event]]\nat_s = 12\npartition = [[\"n1\", \"n2\"], [\"n3\"]]\n[[event]]\nat_s = 16\nheal = true\n",
            crash_s + 1
        );
        let loads = loads.map(|load| load as usize);
        let text = text(&loads, "poisson") + &events;
        let text = text.replacen("[[node]]", &format!("[network]\nloss = {loss}\njitter_ms = 20\n[[node]]"), 1);
        let record = run(&parse(&text), strategy, seed, &mut |_| {});
        let sum = |of: fn(&Row) -> u64| record.rows.iter().map(of).sum::<u64>();
        let ended = sum(|row| row.served_own + row.served_elsewhere + row.refused + row.failed);
        prop_assert_eq!(sum(|row| row.arrived), ended);
        prop_assert_eq!(sum(|row| row.served_elsewhere), sum(|row| row.served_others));
        prop_assert_eq!(
            record.flows.iter().map(|flow| flow.served).sum::<u64>(),
            sum(|row| row.served_own + row.served_elsewhere)
        );
        prop_assert!(sum(|row| row.taken) >= sum(|row| row.served_own + row.served_others));
    }

    /// What an agent admits and serves itself is within the capacity that it told, but for bursts.
    #[test]
    fn water_filling_overloads_nobody(seed in any::<u64>(), loads in proptest::array::uniform3(0usize..90)) {
        let record = run(&three(&loads, "poisson"), StrategyName::WaterFilling, seed, &mut |_| {});
        for (node, capacity) in [("n1", 10.0), ("n2", 20.0), ("n3", 30.0)] {
            let rows: Vec<&Row> = record.rows.iter().filter(|row| row.node == node && row.second >= 5).collect();
            let taken: u64 = rows.iter().map(|row| row.taken).sum();
            let mean = taken as f64 / rows.len() as f64;
            prop_assert!(mean <= capacity * 1.15 + 1.0, "{node} takes {mean} a second");
        }
    }
}

fn summary(scenario: &Scenario, strategy: StrategyName, seed: u64) -> Summary {
    let record = run(scenario, strategy, seed, &mut |_| {});
    Summary::new(scenario, strategy, seed, &record)
}

fn three(loads: &[usize; 3], process: &str) -> Scenario {
    parse(&text(loads, process))
}

fn text(loads: &[usize; 3], process: &str) -> String {
    let mut text =
        "name = \"three\"\nduration_s = 30\nwarmup_s = 5\nstrategy = \"water-filling\"\n".to_owned();
    for (number, load) in (1..).zip(loads) {
        let capacity = number * 10;
        text += &format!("[[node]]\nname = \"n{number}\"\nfunctions.f.capacity_rps = {capacity}\n");
        text += &format!(
            "[[demand]]\nnode = \"n{number}\"\nfunction = \"f\"\nprocess.{process}.rate_rps = {load}\n"
        );
    }
    text
}

fn parse(text: &str) -> Scenario {
    Scenario::parse(Path::new("three.toml"), text).unwrap_or_else(|error| panic!("{error}"))
}
