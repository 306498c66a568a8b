//! Who may use the gateway, and what else operators meet there.

use http_body_util::Full;
use serde_json::json;

use crate::harness::{Server, config, credentials, request, send, start_error};

#[tokio::test]
async fn an_open_gateway_is_for_this_host_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut open = config(directory.path());
    open.gateway = ([0, 0, 0, 0], 0).into();
    let error = start_error(open.clone()).await.to_string();
    assert!(
        error.contains("--basic-auth-user-file") && error.contains("--insecure"),
        "{error}"
    );
    for change in [
        |config: &mut dfaas_provider::Config| config.insecure = true,
        |config: &mut dfaas_provider::Config| config.credentials = Some(credentials(&config.state_dir)),
    ] {
        std::fs::create_dir_all(&open.state_dir).unwrap();
        let mut allowed = open.clone();
        change(&mut allowed);
        let provider = dfaas_provider::Provider::start(allowed).await.unwrap();
        provider.stop().await;
    }
}

#[tokio::test]
async fn pages_of_other_sites_deploy_nothing() {
    let server = Server::start().await;
    let body = r#"{"service":"p","envProcess":"id"}"#;
    for (headers, status) in [
        (&[("origin", "http://evil.example"), ("host", "x")][..], 403),
        (
            &[
                ("origin", "http://evil"),
                ("host", "evil"),
                ("content-type", "text/plain"),
            ],
            415,
        ),
        (&[("host", "evil.example")], 403),
        (&[("host", "x"), ("content-type", "text/plain")], 415),
    ] {
        let mut asked = hyper::Request::post("/system/functions");
        for (name, value) in headers {
            asked = asked.header(*name, *value);
        }
        let refused = send(server.gateway(), asked.body(Full::from(body)).unwrap()).await;
        assert_eq!(refused.status.as_u16(), status, "{headers:?}");
    }
    server.call("p", "").await.expect_refusal(404, "no function");
}

#[tokio::test]
async fn nulls_are_absent() {
    let server = Server::start().await;
    let deployment = json!({
        "service": "cat", "envProcess": "cat", "namespace": null, "image": null,
        "limits": {"memory": null}, "labels": {"a": null}, "requests": null,
    });
    server.deploy(deployment).await;
    server.call("cat", "x").await.expect(200, "x");
}

#[tokio::test]
async fn the_first_page_and_the_telemetry_say_what_runs() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "cat", "envProcess": "cat"}))
        .await;
    let first = server.send("GET /", "").await;
    assert_eq!((first.status.as_u16(), first.header("location")), (307, "/ui/"));
    let page = server.send("GET /ui/", "").await;
    assert!(page.text().contains("cat.openfaas-fn"), "{}", page.text());
    server.call("cat", "x").await.expect(200, "x");
    let telemetry = server.send("GET /system/telemetry", "").await.json();
    assert_eq!(
        (&telemetry["functions"], &telemetry["invocations"]),
        (&json!(1), &json!(1))
    );
}

#[tokio::test]
async fn alerts_scale_within_the_labels() {
    let server = Server::start().await;
    let labels = json!({"com.openfaas.scale.min": "2", "com.openfaas.scale.max": "10"});
    server
        .deploy(json!({"service": "cat", "envProcess": "cat", "labels": labels}))
        .await;
    for (status, want) in [("firing", 3), ("firing", 5), ("resolved", 2)] {
        let alert = json!({"alerts": [{"status": status, "labels": {"function_name": "cat"}}]});
        server.json("POST /system/alert", alert).await.expect(200, "");
        let function = server.send("GET /system/function/cat", "").await.json();
        assert_eq!(function["replicas"], want);
    }
}

#[tokio::test]
async fn counters_are_there_before_the_first_call() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "cat", "envProcess": "cat"}))
        .await;
    let metrics = server.send("GET /metrics", "").await;
    for name in [
        "gateway_function_invocation_total",
        "gateway_functions_seconds_count",
    ] {
        let line = format!("{name}{{function_name=\"cat.openfaas-fn\",code=\"200\"}} 0\n");
        assert!(metrics.text().contains(&line), "{}", metrics.text());
    }
}

#[tokio::test]
async fn many_headers_are_taken_and_a_request_without_a_host_is_not() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "echo", "image": "builtin:echo"}))
        .await;
    let mut asked = request("GET /function/echo");
    for number in 0..200 {
        asked = asked.header(format!("x-{number}"), "y");
    }
    send(server.functions(), asked.body(Full::default()).unwrap())
        .await
        .expect(200, "echo\n");
    let asked = hyper::Request::get("/function/echo");
    send(server.functions(), asked.body(Full::default()).unwrap())
        .await
        .expect_refusal(400, "no Host");
}

#[tokio::test]
async fn a_namespace_leaves_nothing_to_the_next_of_its_name() {
    let server = Server::start().await;
    let team = json!({"name": "team", "labels": {"openfaas": "1"}});
    server
        .json("POST /system/namespace/", team.clone())
        .await
        .expect(201, "");
    server
        .json(
            "POST /system/secrets",
            json!({"name": "s", "namespace": "team", "value": "v"}),
        )
        .await
        .expect(201, "");
    server
        .send("DELETE /system/namespace/team", "")
        .await
        .expect(202, "");
    server.json("POST /system/namespace/", team).await.expect(201, "");
    server
        .send("GET /system/secrets?namespace=team", "")
        .await
        .expect(200, "[]");
}

#[tokio::test]
async fn a_secret_that_is_listed_twice_is_one() {
    let server = Server::start().await;
    for name in ["s", "s.tmp"] {
        server
            .json("POST /system/secrets", json!({"name": name, "value": name}))
            .await
            .expect(201, "");
    }
    server
        .json("PUT /system/secrets", json!({"name": "s", "value": "new"}))
        .await
        .expect(200, "");
    let listed = server.send("GET /system/secrets", "").await.json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    server
        .deploy(json!({"service": "cat", "envProcess": "cat", "secrets": ["s", "s", "s.tmp"]}))
        .await;
    let server = server.restart().await;
    server.call("cat", "x").await.expect(200, "x");
}

#[tokio::test]
async fn a_stray_file_keeps_nothing_from_starting() {
    let server = Server::start().await;
    std::fs::write(server.directory.path().join("state/functions/README"), "").unwrap();
    let server = server.restart().await;
    server.send("GET /healthz", "").await.expect(200, "");
}

#[tokio::test]
async fn usage_tells_what_processes_take() {
    let server = Server::start().await;
    let process = format!("{} warm-echo", crate::harness::BINARY);
    server
        .deploy(json!({"service": "warm", "envProcess": process, "envVars": {"mode": "http"}}))
        .await;
    server.call("warm", "").await.expect(200, "");
    let function = server.send("GET /system/function/warm?usage=1", "").await.json();
    assert!(
        function["usage"]["totalMemoryBytes"].as_u64().unwrap() > 100_000,
        "{function}"
    );
    assert!(function["usage"]["cpu"].as_f64().unwrap() >= 0.0, "{function}");
    server
        .json("POST /system/scale-function/warm", json!({"replicas": 0}))
        .await;
    crate::harness::patiently(async {
        while !server.send("GET /system/function/warm?usage=1", "").await.json()["usage"].is_null() {}
    })
    .await;
}
