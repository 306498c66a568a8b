use std::path::Path;

use super::*;

const GOOD: &str = r#"
name = "two"
duration_s = 10
strategy = "water-filling"
[[node]]
name = "n1"
functions.f.capacity_rps = 10
[[node]]
name = "n2"
functions.f.capacity_rps = 20
[[demand]]
node = "n1"
function = "f"
process.poisson.rate_rps = 5
"#;

#[test]
fn a_good_file_is_read() {
    let scenario = parse(GOOD).unwrap();
    assert_eq!(scenario.nodes.len(), 2);
    assert_eq!(scenario.demands.len(), 1);
    assert!(scenario.graph.is_mesh());
    let station = scenario.nodes[0].functions[0].as_ref().unwrap();
    assert_eq!((station.servers, station.queue), (1, 20));
    assert_eq!(station.service, ServiceTime::Exponential(80.0));
}

#[test]
fn several_nodes_may_be_alike_and_share_a_demand() {
    let text = GOOD
        .replace("name = \"n2\"", "name = \"m\"\ncount = 3")
        .replace("node = \"n1\"", "node = \"m*\"");
    let scenario = parse(&text).unwrap();
    let names: Vec<&str> = scenario.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["n1", "m1", "m2", "m3"]);
    let nodes: Vec<usize> = scenario.demands.iter().map(|demand| demand.node).collect();
    assert_eq!(nodes, [1, 2, 3]);
}

#[test]
fn mistakes_are_told_with_file_line_and_remedy() {
    let check = |good, bad, line, what, remedy| check(&GOOD.replace(good, bad), line, what, remedy);
    let (seconds, schema) = ("duration_s = 10", "dfaas-sim schema");
    check(
        seconds,
        "duratoin_s = 10",
        3,
        "unknown field `duratoin_s`",
        schema,
    );
    check(
        seconds,
        "duration_s = nan",
        3,
        "duration_s is NaN",
        "from 1 to 604800",
    );
    check(
        "\"water-filling\"",
        "\"best\"",
        4,
        "no strategy is called \"best\"",
        "one of these",
    );
    check(
        "capacity_rps = 20",
        "capacity_rps = -1",
        10,
        "capacity_rps",
        "from 0 to",
    );
    check("node = \"n1\"", "node = \"n9\"", 12, "no node \"n9\"", "n1, n2");
    check(
        "function = \"f\"",
        "function = \"g\"",
        13,
        "no node runs a function \"g\"",
        "are f",
    );
    check(
        "name = \"n2\"",
        "name = \"n1\"",
        9,
        "another one's",
        "name of its own",
    );
    check(
        "name = \"n2\"",
        "name = \"n2\"\ncount = 0",
        10,
        "0 nodes",
        "1 to 1000",
    );
}

#[test]
fn rates_are_numbers_from_zero_on() {
    let check = |bad: &str, what: &str, remedy: &str| {
        check(
            &GOOD.replace("process.poisson.rate_rps = 5", bad),
            14,
            what,
            remedy,
        );
    };
    check(
        "process.poisson.rate_rps = -5",
        "rate_rps (requests per second) is -5",
        "from 0 to",
    );
    check("process.poisson.rate_rps = nan", "is NaN", "from 0 to");
    check("process.poisson.rate_rps = inf", "is inf", "from 0 to");
    check(
        "process.poisson.rate_rps = \"5\"",
        "invalid type",
        "dfaas-sim schema",
    );
    check(
        "process.triangle = { low_rps = 0, high_rps = 9, start_s = 5, peak_s = 4, end_s = 9 }",
        "is none",
        "start_s < peak_s",
    );
    check(
        "process.trace = { file = \"none.csv\", step_s = 1 }",
        "none.csv",
        "scenario's folder",
    );
}

#[test]
fn impossible_topologies_are_told() {
    let with = |more: &str| GOOD.replace("strategy =", &format!("{more}\nstrategy ="));
    let network = |topology: &str| with(&format!("network.topology = {topology}"));
    check(&network("\"ring\""), 4, "2 nodes are no ring", "at least 3");
    check(
        &network("{ random = { p = 1.5 } }"),
        4,
        "p (a probability) is 1.5",
        "from 0 to 1",
    );
    check(
        &network("{ tree = { branching = 0 } }"),
        4,
        "0 below",
        "at least 1",
    );
    check(
        &network("{ listed = [] }"),
        4,
        "no way leads to n2",
        "list a link",
    );
    check(
        &network("{ listed = [[\"n1\", \"n3\"], [\"n1\", \"n2\"]] }"),
        4,
        "not two nodes",
        "n1, n2",
    );
    check(&network("\"moebius\""), 4, "unknown variant `moebius`", "schema");
    check(
        &(network("\"line\"") + "[[link]]\nbetween = [\"n1\", \"n1\"]\n"),
        17,
        "not two nodes",
        "n1, n2",
    );
}

#[test]
fn events_are_one_thing_each_and_name_nodes() {
    let with = |event: &str| format!("{GOOD}[[event]]\nat_s = 3\n{event}");
    assert!(parse(&with("crash = \"n1\"\n")).is_ok());
    check(&with(""), 16, "not exactly one", "[[event]]");
    check(
        &with("crash = \"n1\"\njoin = \"n1\"\n"),
        16,
        "not exactly one",
        "[[event]]",
    );
    check(&with("crash = \"n7\"\n"), 17, "no node \"n7\"", "n1, n2");
    check(
        &with("partition = [[\"n1\"], [\"n7\"]]\n"),
        17,
        "no node \"n7\"",
        "n1, n2",
    );
}

#[test]
fn traces_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    let read = |name: &str, content: &str| {
        std::fs::write(folder.path().join(name), content).unwrap();
        let trace = format!("trace = {{ file = \"{name}\", step_s = 2, scale = 2 }}");
        Scenario::parse(&path, &GOOD.replace("poisson.rate_rps = 5", &trace))
    };
    let rates = |scenario: Scenario| {
        let Rate::Trace { rates_rps, .. } = &scenario.demands[0].rate else {
            panic!("{:?} is no trace", scenario.demands[0].rate)
        };
        rates_rps.to_vec()
    };
    assert_eq!(
        rates(read("a.csv", "minute,rate_rps\n0,1\n1,2.5\n").unwrap()),
        [2.0, 5.0]
    );
    assert_eq!(rates(read("a.json", r#"{"f": {"n1": [3]}}"#).unwrap()), [6.0]);
    for (name, content, what) in [
        ("b.csv", "rate_rps\n", "the trace is empty"),
        ("c.csv", "rate\n1\n", "no column rate_rps"),
        ("d.csv", "rate_rps\n1\nx\n", "d.csv:3: \"x\" is not a number"),
        ("e.csv", "rate_rps\n1\n-2\n", "e.csv:3: the rate is -2"),
        ("f.csv", "rate_rps\nNaN\n", "f.csv:2: the rate is NaN"),
        ("g.json", r#"{"g": {}}"#, "no function \"f\""),
        ("h.json", r#"{"f": {}}"#, "no node \"n1\""),
        ("i.json", "[1]", "i.json:1:"),
        ("j.json", r#"{"f": {"n1": [1, -2]}}"#, "rate 2 of the trace is -2"),
    ] {
        let error = read(name, content).unwrap_err().to_string();
        assert!(error.contains(what) && error.contains("s.toml:14:"), "{error}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = GOOD
        .replace("= 10\nstr", "= -1\nstr")
        .replace("rate_rps = 5", "rate_rps = -5");
    assert_eq!(parse(&text).unwrap_err().0.len(), 2);
}

#[test]
fn the_published_schema_is_that_of_the_code() {
    let published = include_str!("../../schema/scenario.json");
    assert_eq!(
        published,
        Scenario::schema(),
        "write it anew: dfaas-sim schema > dfaas-sim/schema/scenario.json"
    );
}

#[test]
fn all_shipped_scenarios_can_be_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut found = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            Scenario::read(&path).unwrap_or_else(|error| panic!("{error}"));
            found += 1;
        }
    }
    assert!(found >= 8, "{found} scenarios");
}

#[track_caller]
fn check(text: &str, line: usize, what: &str, remedy: &str) {
    let error = parse(text).unwrap_err();
    let found = error.0.iter().any(|mistake| {
        mistake.line == line && mistake.what.contains(what) && mistake.remedy.contains(remedy)
    });
    assert!(found, "want line {line}, {what:?}, {remedy:?}; got {error}");
    assert!(error.to_string().starts_with("s.toml:"), "{error}");
}

fn parse(text: &str) -> Result<Scenario, Mistakes> {
    Scenario::parse(Path::new("s.toml"), text)
}
