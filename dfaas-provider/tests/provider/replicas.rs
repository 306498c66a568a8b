//! Warm functions that run several times, and those that rest when nobody calls them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{BINARY, Server, patiently};

#[tokio::test]
async fn replicas_are_processes_and_share_the_calls() {
    let server = Server::start().await;
    server.deploy(warm_echo(json!({}))).await;
    server
        .json("POST /system/scale-function/warm", json!({"replicas": 3}))
        .await;
    patiently(async { while available(&server).await != 3 {} }).await;
    let mut processes = BTreeSet::new();
    for _ in 0..9 {
        let reply = server.call("warm", "x").await;
        reply.expect(200, "x");
        processes.insert(reply.header("x-function-pid").to_owned());
    }
    assert_eq!(processes.len(), 3);
    server
        .json("POST /system/scale-function/warm", json!({"replicas": 1}))
        .await;
    let mut processes = BTreeSet::new();
    for _ in 0..9 {
        let reply = server.call("warm", "x").await;
        processes.insert(reply.header("x-function-pid").to_owned());
    }
    assert_eq!(processes.len(), 1);
}

#[tokio::test]
async fn an_idle_function_goes_to_zero_and_comes_back_with_a_call() {
    let server = Server::start().await;
    let labels = json!({"com.openfaas.scale.zero": "true", "com.openfaas.scale.zero-duration": "1s"});
    server.deploy(warm_echo(labels)).await;
    let before = server.call("warm", "x").await;
    before.expect(200, "x");
    patiently(async { while replicas(&server).await != 0 {} }).await;
    let after = server.call("warm", "y").await;
    after.expect(200, "y");
    assert_ne!(before.header("x-function-pid"), after.header("x-function-pid"));
    assert_eq!(replicas(&server).await, 1);
}

#[tokio::test]
async fn a_call_in_flight_keeps_a_function_from_resting() {
    let server = Server::start().await;
    let labels = json!({"com.openfaas.scale.zero": "true", "com.openfaas.scale.zero-duration": "100ms"});
    let mut function = warm_echo(labels);
    function["envVars"]["exec_timeout"] = json!("2s");
    server.deploy(function).await;
    server.call("warm", "x").await.expect(200, "x");
    // It would have rested long before.
    server
        .call("warm/hang", "")
        .await
        .expect_refusal(504, "within 2s");
}

#[tokio::test]
async fn waiting_calls_hear_that_the_function_was_stopped() {
    let server = Server::start().await;
    let variables = json!({"mode": "http", "exec_timeout": "0"});
    server.deploy_script("idle", "sleep 1000", variables).await;
    let (call, _) = tokio::join!(server.call("idle", ""), async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        server
            .json("POST /system/scale-function/idle", json!({"replicas": 0}))
            .await
    });
    call.expect_refusal(503, "stopped");
}

async fn replicas(server: &Server) -> u64 {
    status(server).await["replicas"].as_u64().unwrap()
}

async fn available(server: &Server) -> u64 {
    status(server).await["availableReplicas"].as_u64().unwrap()
}

async fn status(server: &Server) -> Value {
    server.send("GET /system/function/warm", "").await.json()
}

fn warm_echo(labels: Value) -> Value {
    json!({
        "service": "warm",
        "envProcess": format!("{BINARY} warm-echo"),
        "envVars": {"mode": "http"},
        "labels": labels,
    })
}
