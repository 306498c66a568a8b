//! Functions that are one long-lived process.

use http_body_util::Full;
use serde_json::{Value, json};

use crate::harness::{BINARY, Reply, Server, request, send};

#[tokio::test]
async fn one_process_answers_every_call() {
    let server = with_warm_echo(json!({})).await;
    let first = server.call("warm/a?b=c", "one").await;
    first.expect(200, "one");
    assert_eq!(first.header("x-function-path"), "/a?b=c");
    assert_eq!(first.header("x-served-by"), "node-1");
    let second = server.call("warm", "two").await;
    second.expect(200, "two");
    assert_eq!(pid(&first), pid(&second));
}

#[tokio::test]
async fn large_bodies_stream_through() {
    let server = with_warm_echo(json!({})).await;
    let body = vec![b'x'; 3_000_000];
    assert!(server.call("warm", body.clone()).await.body == body);
}

#[tokio::test]
async fn a_dead_process_is_started_again() {
    let server = with_warm_echo(json!({})).await;
    let before = server.call("warm", "").await;
    server
        .call("warm/exit", "")
        .await
        .expect_refusal(500, "call the function's process at 127.0.0.1");
    let mut after = server.call("warm", "").await;
    while after.status != 200 {
        after = server.call("warm", "").await;
    }
    assert_ne!(pid(&before), pid(&after));
    assert!(
        server
            .log("warm")
            .await
            .contains(&"exit status 3; starting again in 100ms".to_owned())
    );
}

#[tokio::test]
async fn a_slow_answer_is_status_504() {
    let server = with_warm_echo(json!({"exec_timeout": "100ms"})).await;
    let reply = server.call("warm/hang", "").await;
    reply.expect_refusal(504, "no answer within 100ms");
    assert_eq!(reply.header("x-openfaas-internal"), "of-watchdog");
    assert!(reply.header("x-duration-seconds").parse::<f64>().unwrap() >= 0.1);
}

#[tokio::test]
async fn a_caller_may_ask_for_a_shorter_timeout() {
    let server = with_warm_echo(json!({})).await;
    let asked = request("GET /function/warm/hang")
        .header("x-timeout", "1ms")
        .body(Full::default());
    send(server.functions(), asked.unwrap())
        .await
        .expect_refusal(504, "no answer within 1ms");
}

#[tokio::test]
async fn a_process_that_never_listens_is_reported_with_its_end() {
    let server = Server::start().await;
    let variables = json!({"mode": "http", "exec_timeout": "60s"});
    server
        .deploy_script("broken", "echo no luck; exit 7", variables)
        .await;
    server
        .call("broken", "")
        .await
        .expect_refusal(503, "exit status 7");
    assert!(server.log("broken").await.contains(&"no luck".to_owned()));
    assert_eq!(
        server.send("GET /system/function/broken", "").await.json()["availableReplicas"],
        0
    );
}

#[tokio::test]
async fn replicas_are_available_once_the_process_listens() {
    let server = with_warm_echo(json!({})).await;
    server.call("warm", "").await.expect(200, "");
    assert_eq!(
        server.send("GET /system/function/warm", "").await.json()["availableReplicas"],
        1
    );
    server
        .json("POST /system/scale-function/warm", json!({"replicas": 0}))
        .await;
    assert_eq!(
        server.send("GET /system/function/warm", "").await.json()["availableReplicas"],
        0
    );
    server.call("warm", "").await.expect_refusal(503, "0 replicas");
    server
        .json("POST /system/scale-function/warm", json!({"replicas": 1}))
        .await;
    server.call("warm", "again").await.expect(200, "again");
}

#[tokio::test]
async fn an_update_starts_another_process() {
    let server = with_warm_echo(json!({})).await;
    let before = server.call("warm", "").await;
    server.deploy(warm_echo(json!({"x": "y"}))).await;
    assert_ne!(pid(&before), pid(&server.call("warm", "").await));
}

async fn with_warm_echo(variables: Value) -> Server {
    let server = Server::start().await;
    server.deploy(warm_echo(variables)).await;
    server
}

fn warm_echo(mut variables: Value) -> Value {
    variables["mode"] = json!("http");
    json!({"service": "warm", "envProcess": format!("{BINARY} warm-echo"), "envVars": variables})
}

#[track_caller]
fn pid(reply: &Reply) -> u32 {
    reply.header("x-function-pid").parse().unwrap()
}
