//! What functions may see, be and take.

use dfaas_provider::FunctionUser;
use serde_json::{Value, json};

use crate::harness::{BINARY, Server};

const GREEDY: &str = "import time; x = bytearray(300 * 1024 * 1024); time.sleep(60)";

#[tokio::test]
async fn functions_are_users_of_their_own_and_see_no_more_than_they_need() {
    let Some(server) = own().await else { return };
    for name in ["mine", "other"] {
        server
            .json(
                "POST /system/secrets",
                json!({"name": name, "value": format!("{name}'s value")}),
            )
            .await
            .expect(201, "");
    }
    let state = server.directory.path().join("state");
    let script = "id -u\n\
         cat /var/openfaas/secrets/mine $secret_mount_path/mine; echo\n\
         ls /var/openfaas/secrets\n\
         cat $STATE/secrets/openfaas-fn/other 2>/dev/null || echo hidden\n\
         ls $STATE\n\
         touch /tmp/x && ls /tmp/x\n\
         grep NoNewPrivs /proc/self/status\n\
         pwd; echo kept >file; cat file";
    server.deploy_script("spy", script, json!({"STATE": state})).await;
    let mut spy = server.send("GET /system/function/spy", "").await.json();
    spy["service"] = json!("spy");
    spy["secrets"] = json!(["mine"]);
    server.deploy(spy).await;
    let reply = server.call("spy", "").await;
    let home = state.join("home/openfaas-fn/spy");
    let user = reply.text().lines().next().unwrap().to_owned();
    assert!(
        (61_184..=65_519).contains(&user.parse::<u32>().unwrap()),
        "{user}"
    );
    let want = format!(
        "{user}\nmine's valuemine's value\nmine\nhidden\nhome\n/tmp/x\nNoNewPrivs:\t1\n{}\nkept\n",
        home.display()
    );
    assert_eq!(reply.text(), want);
    assert!(!std::path::Path::new("/tmp/x").exists());
    server.deploy_script("second", "id -u", json!({})).await;
    let second = server.call("second", "").await;
    assert_ne!(second.text().trim(), user);
}

#[tokio::test]
async fn a_secret_that_changes_reaches_a_function() {
    let Some(server) = own().await else { return };
    let secret = |value: &str| json!({"name": "s", "value": value});
    server
        .json("POST /system/secrets", secret("one"))
        .await
        .expect(201, "");
    let process = "cat /var/openfaas/secrets/s";
    server
        .deploy(json!({"service": "reader", "envProcess": process, "secrets": ["s"]}))
        .await;
    server.call("reader", "").await.expect(200, "one");
    server
        .json("PUT /system/secrets", secret("two"))
        .await
        .expect(200, "");
    server.call("reader", "").await.expect(200, "two");
}

#[tokio::test]
async fn a_root_is_read_only_where_that_is_asked() {
    let Some(server) = own().await else { return };
    let script = "touch /var/tmp/dfaas-test-$$ 2>/dev/null || echo refused; touch /tmp/x ~/y && echo written";
    server.deploy_script("plain", script, json!({})).await;
    let mut function = server.send("GET /system/function/plain", "").await.json();
    function["service"] = json!("kept");
    function["name"] = json!("kept");
    function["readOnlyRootFilesystem"] = json!(true);
    server.deploy(function).await;
    server.call("kept", "").await.expect(200, "refused\nwritten\n");
}

#[tokio::test]
async fn warm_functions_are_kept_apart_too() {
    let Some(server) = own().await else { return };
    server
        .deploy(json!({"service": "warm", "envProcess": format!("{BINARY} warm-echo"), "envVars": {"mode": "http"}}))
        .await;
    let reply = server.call("warm", "x").await;
    reply.expect(200, "x");
    let status = format!("/proc/{}/status", reply.header("x-function-pid"));
    let status = std::fs::read_to_string(status).unwrap();
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:\t"));
    assert!(user.unwrap().starts_with("6"), "{user:?}");
}

#[tokio::test]
async fn a_function_that_takes_too_much_memory_is_killed_and_its_caller_told() {
    for server in [Some(Server::start().await), own().await].into_iter().flatten() {
        for mode in ["", "serializing"] {
            let variables = json!({"mode": mode});
            let path = server.directory.path().join("greedy.py");
            std::fs::write(&path, GREEDY).unwrap();
            let process = format!("/usr/bin/env python3 {}", path.display());
            server
                .deploy(limited("greedy", &process, variables, json!({"memory": "20Mi"})))
                .await;
            server
                .call("greedy", "")
                .await
                .expect_refusal(500, "limits.memory");
        }
        let frugal = limited("frugal", "cat", json!({}), json!({"memory": "20Mi"}));
        server.deploy(frugal).await;
        server.call("frugal", "x").await.expect(200, "x");
    }
}

#[tokio::test]
async fn a_warm_function_that_takes_too_much_memory_is_started_again() {
    let server = Server::start().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/provider/upstreams.py");
    let variables = json!({"mode": "http", "KIND": "greedy"});
    let process = format!("python3 {script}");
    server
        .deploy(limited("greedy", &process, variables, json!({"memory": "64Mi"})))
        .await;
    server
        .call("greedy", "")
        .await
        .expect_refusal(500, "limits.memory");
    let log = server.log("greedy").await;
    assert!(log.iter().any(|line| line.contains("limits.memory")), "{log:?}");
}

#[tokio::test]
async fn what_cannot_be_had_is_said() {
    let server = Server::start().await;
    let function = json!({
        "service": "kept", "envProcess": "cat", "readOnlyRootFilesystem": true,
        "limits": {"memory": "20Mi"},
    });
    let reply = server.json("POST /system/functions", function).await;
    let told = "readOnlyRootFilesystem is not applied";
    assert!(reply.status == 202 && reply.text().contains(told), "{reply:?}");
    let function = server.send("GET /system/function/kept", "").await.json();
    let noted = function["annotations"]["dfaas.not-applied"].as_str();
    assert!(noted.unwrap().contains(told), "{function}");
}

#[tokio::test]
async fn limits_that_make_no_sense_are_refused() {
    let server = Server::start().await;
    let function = limited("x", "cat", json!({}), json!({"memory": "much"}));
    server
        .json("POST /system/functions", function)
        .await
        .expect_refusal(400, "limits.memory");
}

/// A server whose functions have users of their own; only root can have them.
async fn own() -> Option<Server> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("passed over: only root can change users");
        return None;
    }
    Some(Server::start_with(|config| config.function_user = FunctionUser::Own).await)
}

fn limited(name: &str, process: &str, variables: Value, limits: Value) -> Value {
    json!({"service": name, "envProcess": process, "envVars": variables, "limits": limits})
}
