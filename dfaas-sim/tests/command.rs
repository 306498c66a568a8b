//! The command `dfaas-sim`, as it is typed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[test]
fn two_runs_of_a_seed_print_the_same_bytes() {
    let run = |seed: &str| {
        let output = sim(&["run", &scenario("reference-50-10-0"), "--seed", seed, "--json"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        output.stdout
    };
    let first = run("7");
    assert!(first.len() > 10_000, "{} bytes", first.len());
    assert_eq!(first, run("7"));
    assert_ne!(first, run("8"));
}

#[test]
fn what_is_wrong_is_told_and_nothing_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.toml");
    std::fs::write(&path, "name = \"bad\"\nduration_s = nan\n").unwrap();
    let output = sim(&["run", path.to_str().unwrap()]);
    let error = text(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty(), "{error}");
    assert!(
        error.contains("bad.toml:1:1: missing field `strategy`"),
        "{error}"
    );
    let missing = text(&sim(&["run", "none.toml"]).stderr);
    assert!(
        missing.contains("none.toml") && missing.contains("give the path"),
        "{missing}"
    );
    let strategy = text(&sim(&["run", "none.toml", "--strategy", "best"]).stderr);
    assert!(
        strategy.contains("no strategy is called \"best\"") && strategy.contains("water-filling"),
        "{strategy}"
    );
    let results = text(&sim(&["plot", path.to_str().unwrap(), "--out", "x"]).stderr);
    assert!(
        results.contains("bad.toml is no result") && results.contains("run --out"),
        "{results}"
    );
}

#[test]
fn results_are_tables_too() {
    let folder = tempfile::tempdir().unwrap();
    run_into(folder.path(), "recalc");
    let rows = std::fs::read_to_string(folder.path().join("recalc/rows.csv")).unwrap();
    assert!(rows.starts_with("second,node,function,arrived,"), "{rows}");
    // What is under way when the last user has come ends in a second more.
    let second = |line: &str| {
        line.split(',')
            .next()
            .and_then(|second| second.parse::<u32>().ok())
    };
    let counted = rows
        .lines()
        .filter_map(second)
        .filter(|&second| second < 65)
        .count();
    assert_eq!(counted, 65 * 3, "a row per node, function and second");
}

#[test]
fn results_are_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let results = ["water-filling", "recalc"].map(|strategy| run_into(folder.path(), strategy));
    let pictures = folder.path().join("p");
    let pictures_text = pictures.to_str().unwrap();
    let output = sim(&[
        "plot",
        &results[0],
        &results[1],
        "--out",
        pictures_text,
        "--format",
        "svg",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let check = |name: &str, words: &[&str]| {
        let svg = std::fs::read_to_string(pictures.join(name)).unwrap();
        for word in words {
            assert!(svg.contains(word), "{name} does not tell {word:?}");
        }
    };
    check(
        "success-over-time.svg",
        &[
            "water-filling",
            "recalc",
            "served of requests, %",
            "time, seconds",
        ],
    );
    check("success-by-function.svg", &["funca", "recalc"]);
    check("latency-distribution.svg", &["answers, %"]);
    check(
        "recalc/served-by-node.svg",
        &["n1", "n2", "n3", "requests per second"],
    );
    check("recalc/outcomes.svg", &["refused (429, 503)"]);
    check(
        "recalc/weights.svg",
        &["to n2", "to n3", "share of the excess, %"],
    );
    check("recalc/topology.svg", &["n1: 10 req/s", "n3: 30 req/s"]);
    check("recalc/latency-by-node.svg", &["users of n1", "milliseconds"]);
}

#[test]
fn a_report_is_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let results = ["water-filling", "recalc"].map(|strategy| run_into(folder.path(), strategy));
    let path = folder.path().join("r.html");
    let output = sim(&[
        "report",
        &results[0],
        &results[1],
        "--out",
        path.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let page = std::fs::read_to_string(path).unwrap();
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert!(page.matches("<svg").count() >= 10);
    // Names of XML are no addresses.
    let page = page.replace("http://www.w3.org/2000/svg", "");
    assert!(
        !page.contains("http") && !page.contains("src="),
        "the report fetches something"
    );
}

/// Runs the first of the reference's loads, and tells where its results.json is.
fn run_into(folder: &Path, strategy: &str) -> String {
    let scenario = scenario("reference-50-0-0");
    let folder = folder.join(strategy);
    let folder = folder.to_str().expect("paths of tests are text");
    let output = sim(&["run", &scenario, "--strategy", strategy, "--out", folder]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    format!("{folder}/results.json")
}

fn scenario(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let path: PathBuf = folder.join(name).with_extension("toml");
    path.to_str().expect("paths of tests are text").to_owned()
}

fn sim(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dfaas-sim"));
    command.args(args).output().expect("the program was built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
