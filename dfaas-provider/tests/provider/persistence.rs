//! What a provider keeps: its functions over a restart, its stack, and its state directory for itself.

use http_body_util::Full;
use serde_json::json;

use crate::harness::{Server, config, deployment, request, send, start_error};

#[tokio::test]
async fn functions_secrets_and_namespaces_survive_a_restart() {
    let server = Server::start().await;
    let team = json!({"name": "team-a", "labels": {"openfaas": "1"}});
    server.json("POST /system/namespace/", team).await.expect(201, "");
    server
        .json(
            "POST /system/secrets",
            json!({"name": "s", "namespace": "team-a", "value": "v"}),
        )
        .await
        .expect(201, "");
    let cat = json!({"service": "cat", "namespace": "team-a", "envProcess": "cat", "secrets": ["s"], "labels": {"l": "1"}});
    server.deploy(cat).await;
    server
        .json("POST /system/scale-function/cat.team-a", json!({"replicas": 3}))
        .await
        .expect(202, "");
    let before = server
        .send("GET /system/functions?namespace=team-a", "")
        .await
        .json();
    let server = server.restart().await;
    assert_eq!(
        server
            .send("GET /system/functions?namespace=team-a", "")
            .await
            .json(),
        before
    );
    server.call("cat.team-a", "x").await.expect(200, "x");
}

#[tokio::test]
async fn a_corrupt_file_does_not_keep_the_others_from_starting() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "cat", "envProcess": "cat"}))
        .await;
    let corrupt = server
        .directory
        .path()
        .join("state/functions/openfaas-fn/bad.json");
    std::fs::write(&corrupt, "{").unwrap();
    let server = server.restart().await;
    server.call("cat", "x").await.expect(200, "x");
    assert!(corrupt.with_extension("corrupt").exists());
}

#[tokio::test]
async fn a_stack_changes_only_what_differs() {
    let stack = || {
        vec![
            deployment(json!({"service": "same", "envProcess": "cat"})),
            deployment(json!({"service": "new", "envProcess": "cat"})),
        ]
    };
    let server = Server::start_with(|config| config.stack = stack()).await;
    server.call("new", "x").await.expect(200, "x");
    let before = server.send("GET /system/function/same", "").await.json();
    let directory = server.stop().await;
    let mut config = config(directory.path());
    config.stack = stack();
    config.stack[1].env_process = "sha512sum".to_owned();
    let provider = dfaas_provider::Provider::start(config).await.unwrap();
    let get = |name| {
        request(&format!("GET /system/function/{name}"))
            .body(Full::default())
            .unwrap()
    };
    assert_eq!(send(provider.gateway(), get("same")).await.json(), before);
    assert_eq!(
        send(provider.gateway(), get("new")).await.json()["envProcess"],
        "sha512sum"
    );
}

#[tokio::test]
async fn one_provider_a_state_directory() {
    let server = Server::start().await;
    let error = start_error(config(server.directory.path())).await;
    assert!(
        error.to_string().contains("in use by another dfaas-provider"),
        "{error}"
    );
}
