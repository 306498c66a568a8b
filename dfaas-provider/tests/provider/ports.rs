//! The ports of warm functions: nobody is answered by another function, and none is left behind.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{BINARY, Server, patiently};

#[tokio::test]
async fn two_functions_may_not_have_one_port() {
    let server = Server::start().await;
    let port = free_port();
    server.deploy(echo("a", port, json!({}))).await;
    let refused = server
        .json("POST /system/functions", echo("b", port, json!({})))
        .await;
    refused.expect_refusal(400, &format!("port {port}, which is a.openfaas-fn's"));
    // Its own version after that keeps the port.
    server.deploy(echo("a", port, json!({"x": "y"}))).await;
    server.call("a", "still").await.expect(200, "still");
}

#[tokio::test]
async fn the_platforms_ports_are_no_functions_ports() {
    let server = Server::start().await;
    for port in [server.gateway().port(), server.functions().port()] {
        let refused = server
            .json("POST /system/functions", echo("a", port, json!({})))
            .await;
        refused.expect_refusal(400, "the platform's");
    }
}

#[tokio::test]
async fn upstreams_are_on_this_host() {
    let server = Server::start().await;
    let variables = json!({"mode": "http", "upstream_url": "http://192.0.2.1:80"});
    let refused = server
        .json(
            "POST /system/functions",
            json!({"service": "a", "envProcess": "sleep 1000", "envVars": variables}),
        )
        .await;
    refused.expect_refusal(400, "write http://127.0.0.1:PORT");
}

#[tokio::test]
async fn a_stranger_that_listens_is_not_taken_for_the_function() {
    let server = Server::start().await;
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = stranger.local_addr().unwrap().port();
    server.deploy(echo("a", port, json!({}))).await;
    let refused = server.call("a", "").await;
    refused.expect_refusal(503, "somebody else listens on 127.0.0.1");
    drop(stranger);
    patiently(async { while server.call("a", "free").await.status != 200 {} }).await;
}

#[tokio::test]
async fn a_function_whose_port_a_stranger_took_is_not_ready() {
    let server = Server::start().await;
    let port = free_port();
    let variables =
        json!({"mode": "http", "upstream_url": format!("http://127.0.0.1:{port}"), "exec_timeout": "1s"});
    server.deploy_script("idle", "sleep 1000", variables).await;
    // The function runs and listens nowhere.
    let told = format!("started, to listen on 127.0.0.1:{port}");
    patiently(async { while !server.log("idle").await.contains(&told) {} }).await;
    let _stranger = TcpListener::bind(("127.0.0.1", port)).unwrap();
    server.call("idle", "").await.expect_refusal(504, "no answer");
    let status = server.send("GET /system/function/idle", "").await.json();
    assert_eq!(status["availableReplicas"], 0);
}

#[tokio::test]
async fn calls_in_flight_are_answered_when_a_function_is_changed_or_removed() {
    let server = Server::start().await;
    let port = free_port();
    server
        .deploy(slow("slow", json!({"port": port.to_string()})))
        .await;
    server.deploy(slow("other", json!({}))).await;
    // Both processes listen.
    for name in ["slow", "other"] {
        server.call(name, "").await.expect(200, "old");
    }
    let (first, second, changed) = tokio::join!(
        server.call("slow/wait", ""),
        server.call("other/wait", ""),
        async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let mut newer = slow("slow", json!({"port": port.to_string()}));
            newer["envVars"]["WORD"] = json!("new");
            server.deploy(newer).await;
            let removal = json!({"functionName": "other"});
            server.json("DELETE /system/functions", removal).await;
            server.call("slow", "").await
        }
    );
    first.expect(200, "old");
    second.expect(200, "old");
    changed.expect(200, "new");
}

#[tokio::test]
async fn a_process_is_asked_to_end_before_it_is_killed() {
    let server = Server::start().await;
    let ended = server.directory.path().join("ended");
    server.deploy(slow("polite", json!({"ENDED": ended}))).await;
    server.call("polite", "").await.expect(200, "old");
    let _directory = patiently(server.stop()).await;
    assert_eq!(std::fs::read_to_string(ended).unwrap(), "SIGTERM");
}

#[tokio::test]
async fn labels_touch_no_process() {
    let server = Server::start().await;
    let port = free_port();
    let mut function = echo("a", port, json!({}));
    server.deploy(function.clone()).await;
    let before = server.call("a", "").await;
    function["labels"] = json!({"dfaas.maxrate": "7"});
    server.deploy(function).await;
    let after = server.call("a", "").await;
    assert_eq!(before.header("x-function-pid"), after.header("x-function-pid"));
    let status = server.send("GET /system/function/a", "").await.json();
    assert_eq!(status["labels"]["dfaas.maxrate"], "7");
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn echo(name: &str, port: u16, mut variables: Value) -> Value {
    variables["mode"] = json!("http");
    variables["upstream_url"] = json!(format!("http://127.0.0.1:{port}"));
    json!({"service": name, "envProcess": format!("{BINARY} warm-echo"), "envVars": variables})
}

/// A server that takes its time, says a word and tells how it ended.
fn slow(name: &str, mut variables: Value) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/provider/slow.py");
    variables["mode"] = json!("http");
    json!({"service": name, "envProcess": format!("python3 {script}"), "envVars": variables})
}
