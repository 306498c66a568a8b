//! `/system`, in the words of `faas-cli`.

use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::harness::{Server, credentials, deployment, open, patiently, request, send};

#[tokio::test]
async fn deploy_updates_first_and_creates_on_404() {
    let server = Server::start().await;
    let cat = json!({"service": "cat", "image": "x", "envProcess": "cat", "namespace": "openfaas-fn"});
    server
        .json("PUT /system/functions", cat.clone())
        .await
        .expect_refusal(404, "there is no function cat");
    server
        .json("POST /system/functions", cat.clone())
        .await
        .expect(202, "");
    server
        .json("PUT /system/functions", cat.clone())
        .await
        .expect(202, "");
    server
        .json("POST /system/functions", cat)
        .await
        .expect_refusal(409, "change it with PUT");
}

#[tokio::test]
async fn a_list_is_an_array_even_if_empty() {
    let server = Server::start().await;
    server.send("GET /system/functions", "").await.expect(200, "[]");
    server
        .send("GET /system/secrets?namespace=openfaas-fn", "")
        .await
        .expect(200, "[]");
    server
        .send("GET /system/functions?namespace=none", "")
        .await
        .expect_refusal(400, "no namespace none");
}

#[tokio::test]
async fn a_function_is_described_as_it_was_deployed() {
    let server = Server::start().await;
    let asked = json!({
        "service": "cat", "image": "x", "envProcess": "cat", "envVars": {"A": "b"}, "labels": {"l": "1"},
        "annotations": null, "constraints": null, "secrets": [], "limits": {"memory": "128Mi"},
    });
    server.deploy(asked).await;
    server.call("cat", "").await.expect(200, "");
    let mut described = server
        .send("GET /system/function/cat?namespace=&usage=1", "")
        .await
        .json();
    let listed = server.send("GET /system/functions?namespace=", "").await.json();
    assert_eq!(listed, json!([described]));
    assert!(described["createdAt"].take().as_str().unwrap().ends_with('Z'));
    let want = json!({
        "name": "cat", "namespace": "openfaas-fn", "image": "x", "envProcess": "cat", "envVars": {"A": "b"},
        "labels": {"l": "1"}, "annotations": {}, "limits": {"memory": "128Mi"},
        "invocationCount": 1, "replicas": 1, "availableReplicas": 1, "createdAt": null,
    });
    assert_eq!(described, want);
    server
        .send("GET /system/function/none", "")
        .await
        .expect_refusal(404, "there is no function none");
}

#[tokio::test]
async fn functions_are_removed_by_a_body() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "cat", "envProcess": "cat"}))
        .await;
    let body = json!({"functionName": "cat", "namespace": "openfaas-fn"});
    server
        .json("DELETE /system/functions", body.clone())
        .await
        .expect(202, "");
    server
        .json("DELETE /system/functions", body)
        .await
        .expect_refusal(404, "there is no function cat");
    server
        .call("cat", "")
        .await
        .expect_refusal(404, "there is no function");
    assert!(!server.send("GET /metrics", "").await.text().contains("cat."));
}

#[tokio::test]
async fn deployments_that_make_no_sense_are_refused() {
    let server = Server::start().await;
    for (body, part) in [
        (json!({"service": "", "envProcess": "cat"}), "the name is empty"),
        (json!({"service": "../x", "envProcess": "cat"}), "holds '.'"),
        (json!({"service": "a b", "envProcess": "cat"}), "holds ' '"),
        (
            json!({"service": "x".repeat(64), "envProcess": "cat"}),
            "64 characters; 63 are allowed",
        ),
        (
            json!({"service": "x", "namespace": "none", "envProcess": "cat"}),
            "there is no namespace none",
        ),
        (json!({"service": "x", "image": "nginx"}), "give an envProcess"),
        (
            json!({"service": "x", "envProcess": "cat", "secrets": ["none"]}),
            "there is no secret none",
        ),
        (
            json!({"service": "x", "envProcess": "cat", "envVars": {"exec_timeout": "?"}}),
            "exec_timeout",
        ),
        (
            json!({"service": "x", "envProcess": "cat", "secrets": ["../x"]}),
            "secret name",
        ),
        (json!("x"), "not the JSON expected"),
    ] {
        let reply = server.json("POST /system/functions", body).await;
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert!(reply.text().contains(part), "{}", reply.text());
    }
    server.send("GET /system/functions", "").await.expect(200, "[]");
}

#[tokio::test]
async fn scaling_takes_the_name_of_the_body_or_of_the_path() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "cat", "envProcess": "cat"}))
        .await;
    let scale = "POST /system/scale-function/cat";
    server
        .json(
            scale,
            json!({"serviceName": "cat", "replicas": 3, "namespace": "openfaas-fn"}),
        )
        .await
        .expect(202, "");
    assert_eq!(
        server.send("GET /system/function/cat", "").await.json()["replicas"],
        3
    );
    server.json(scale, json!({"replicas": 2})).await.expect(202, "");
    assert_eq!(
        server.send("GET /system/function/cat", "").await.json()["replicas"],
        2
    );
    server
        .json(scale, json!({"serviceName": "none", "replicas": 2}))
        .await
        .expect_refusal(404, "none.openfaas-fn");
    server
        .json(scale, json!({"replicas": 1001}))
        .await
        .expect_refusal(400, "1001 replicas");
    server
        .json(scale, json!({"replicas": -1}))
        .await
        .expect_refusal(400, "not the JSON expected");
}

#[tokio::test]
async fn secrets_are_files_for_the_functions_that_list_them() {
    let server = Server::start().await;
    let secret = |value: &str| json!({"name": "token", "namespace": "openfaas-fn", "value": value});
    server
        .json("PUT /system/secrets", secret("x"))
        .await
        .expect_refusal(404, "no secret token");
    server
        .json("POST /system/secrets", secret("one"))
        .await
        .expect(201, "");
    server
        .json("POST /system/secrets", secret("one"))
        .await
        .expect_refusal(409, "the secret token exists");
    let listed = json!([{"name": "token", "namespace": "openfaas-fn"}]);
    assert_eq!(server.send("GET /system/secrets", "").await.json(), listed);
    let script = "cat \"$secret_mount_path/token\"";
    server.deploy_script("reader", script, json!({})).await;
    let mut reader = server.send("GET /system/function/reader", "").await.json();
    reader["service"] = json!("reader");
    reader["secrets"] = json!(["token"]);
    server.deploy(reader).await;
    server.call("reader", "").await.expect(200, "one");
    let raw = json!({"name": "token", "rawValue": "dHdv"});
    server.json("PUT /system/secrets", raw).await.expect(200, "");
    server.call("reader", "").await.expect(200, "two");
    server
        .json("DELETE /system/secrets", json!({"name": "token"}))
        .await
        .expect(200, "");
    server
        .json("DELETE /system/secrets", json!({"name": "token"}))
        .await
        .expect_refusal(404, "no secret");
    for name in ["", "..", "a/b", ".x"] {
        let reply = server
            .json("POST /system/secrets", json!({"name": name, "value": "x"}))
            .await;
        reply.expect_refusal(400, "secret name");
    }
}

#[tokio::test]
async fn namespaces_are_created_and_deleted() {
    let server = Server::start().await;
    assert_eq!(
        server.send("GET /system/namespaces", "").await.json(),
        json!(["openfaas-fn"])
    );
    let team = |labels: Value| json!({"name": "team-a", "annotations": {"openfaas": "1"}, "labels": labels});
    server
        .json("POST /system/namespace/", team(json!({})))
        .await
        .expect_refusal(400, "lacks the label openfaas=1");
    server
        .json("POST /system/namespace/", team(json!({"openfaas": "1"})))
        .await
        .expect(201, "");
    server
        .json("POST /system/namespace/", team(json!({"openfaas": "1"})))
        .await
        .expect_refusal(409, "exists");
    assert_eq!(
        server.send("GET /system/namespaces", "").await.json(),
        json!(["openfaas-fn", "team-a"])
    );
    server
        .json(
            "PUT /system/namespace/team-a",
            team(json!({"openfaas": "1", "x": "y"})),
        )
        .await
        .expect(202, "");
    assert_eq!(
        server.send("GET /system/namespace/team-a", "").await.json()["labels"]["x"],
        "y"
    );
    server
        .deploy(json!({"service": "cat", "namespace": "team-a", "envProcess": "cat"}))
        .await;
    server.call("cat.team-a", "x").await.expect(200, "x");
    server.call("cat", "x").await.expect_refusal(404, "no function");
    server
        .send("DELETE /system/namespace/team-a", "")
        .await
        .expect_refusal(409, "still has the functions cat");
    server
        .json(
            "DELETE /system/functions",
            json!({"functionName": "cat", "namespace": "team-a"}),
        )
        .await;
    server
        .send("DELETE /system/namespace/team-a", "")
        .await
        .expect(202, "");
    server
        .send("GET /system/namespace/team-a", "")
        .await
        .expect_refusal(404, "no namespace team-a");
    server
        .send("DELETE /system/namespace/openfaas-fn", "")
        .await
        .expect_refusal(400, "default");
}

#[tokio::test]
async fn logs_are_followed_as_they_come() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "cat", "envProcess": "cat", "envVars": {"write_debug": "true"}}))
        .await;
    let asked =
        request("GET /system/logs?name=cat&follow=true&tail=-1&since=2026-01-02T15%3A04%3A05%2B02%3A00");
    let mut log = open(
        server.gateway(),
        asked.body(Full::<bytes::Bytes>::default()).unwrap(),
    )
    .await
    .into_body();
    server.call("cat", "hello").await.expect(200, "hello");
    let line = patiently(log.frame())
        .await
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap();
    let line: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(
        (&line["text"], &line["name"], &line["namespace"]),
        (&json!("hello"), &json!("cat"), &json!("openfaas-fn"))
    );
    assert!(line["timestamp"].is_string() && line["instance"].is_string());
    let _directory = patiently(server.stop()).await;
}

#[tokio::test]
async fn log_queries_are_checked() {
    let server = Server::start().await;
    for (query, part) in [
        ("", "name: the name is empty"),
        ("name=x&tail=many", "tail is \"many\""),
        ("name=x&since=then", "since is \"then\""),
        ("name=x&follow=maybe", "follow is \"maybe\""),
    ] {
        server
            .send(&format!("GET /system/logs?{query}"), "")
            .await
            .expect_refusal(422, part);
    }
    server
        .send("GET /system/logs?name=x", "")
        .await
        .expect_refusal(404, "no function x");
}

#[tokio::test]
async fn tail_and_since_choose_lines() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "cat", "envProcess": "cat", "envVars": {"write_debug": "true"}}))
        .await;
    server.call("cat", "a\nb").await.expect(200, "a\nb");
    let lines = async |query: &str| {
        server
            .send(&format!("GET /system/logs?name=cat&{query}"), "")
            .await
            .text()
            .lines()
            .count()
    };
    assert_eq!(lines("tail=-1").await, 3);
    assert_eq!(lines("tail=2").await, 2);
    assert_eq!(lines("since=2999-01-01T00:00:00Z").await, 0);
}

#[tokio::test]
async fn system_asks_for_credentials_and_functions_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start_with(|config| {
        config.credentials = Some(credentials(directory.path()));
        config.stack = vec![deployment(json!({"service": "echo", "image": "builtin:echo"}))];
    })
    .await;
    let refused = server.send("GET /system/functions", "").await;
    refused.expect(401, "invalid credentials");
    assert_eq!(refused.header("www-authenticate"), "Basic realm=\"Restricted\"");
    let with = async |value: &str| {
        let asked = request("GET /system/functions")
            .header("authorization", value)
            .body(Full::default());
        send(server.gateway(), asked.unwrap()).await.status.as_u16()
    };
    assert_eq!(with("Bearer ").await, 401);
    assert_eq!(with("Basic YWRtaW46d3Jvbmc=").await, 401);
    assert_eq!(with("Basic YWRtaW46c2VjcmV0").await, 200);
    server
        .send("POST /system/functions", "{}")
        .await
        .expect(401, "invalid credentials");
    server
        .send("GET /system/nothing", "")
        .await
        .expect(401, "invalid credentials");
    server
        .send("POST /function/echo", "open")
        .await
        .expect(200, "open");
    assert_eq!(server.send("GET /metrics", "").await.status, 200);
    server.send("GET /healthz", "").await.expect(200, "");
}

#[tokio::test]
async fn info_has_both_versions() {
    let info = Server::start().await.send("GET /system/info", "").await.json();
    for version in [&info["provider"]["version"], &info["version"]] {
        assert!(
            version["release"].is_string()
                && version["sha"].is_string()
                && version["commit_message"].is_string()
        );
    }
    assert!(info["provider"]["provider"].is_string() && info["provider"]["orchestration"].is_string());
}
