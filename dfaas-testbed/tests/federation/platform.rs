//! Functions that come and go while the node runs, as `faas-cli` makes them.

use std::time::Duration;

use dfaas_testbed::{Node, wait_until};

use crate::kit::{Seen, curl, pair, turn};

const NOTICED: Duration = Duration::from_secs(10);

#[test]
fn a_deployed_function_is_reached_and_a_removed_one_is_not() {
    let _turn = turn();
    let federation = pair();
    let node = &federation.nodes[0];
    let deployment = r#"{"service": "shasum", "image": "functions/alpine:latest", "envProcess": "shasum",
        "labels": {"dfaas.maxrate": "100"}, "annotations": {}}"#;
    let describe = |path: &str| system(node, path, &[]);
    assert_eq!(
        system(node, "functions", &["-X", "PUT", "-d", deployment]).status,
        404
    );
    let created = system(node, "functions", &["-d", deployment]);
    assert!(matches!(created.status, 200..=202), "{created:?}");
    assert!(describe("functions").text().contains("\"shasum\""));
    assert_eq!(describe("function/shasum").status, 200);

    let ask = || {
        curl(
            &federation.client,
            &["-d", "abc", &format!("http://{}/function/shasum", node.service())],
        )
    };
    wait_until("shasum reached", NOTICED, || ask().status == 200).unwrap();
    assert!(
        ask()
            .text()
            .starts_with("a9993e364706816aba3e25717850c26c9cd0d89d"),
        "{:?}",
        ask()
    );

    let removed = system(
        node,
        "functions",
        &["-X", "DELETE", "-d", r#"{"functionName": "shasum"}"#],
    );
    assert!(matches!(removed.status, 200 | 202), "{removed:?}");
    assert_eq!(describe("function/shasum").status, 404);
    wait_until("shasum gone", NOTICED, || ask().status == 404).unwrap();
}

#[track_caller]
fn system(node: &Node, path: &str, arguments: &[&str]) -> Seen {
    let url = format!("http://127.0.0.1:8080/system/{path}");
    curl(
        node.namespace(),
        &[arguments, &["-H", "Content-Type: application/json", &url]].concat(),
    )
}
