//! Calls of functions: what goes in, what comes out, and which headers go with it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame};
use serde_json::json;

use crate::harness::{Server, open, request, send};

#[tokio::test]
async fn figlet_draws_its_input() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "figlet", "image": "ghcr.io/openfaas/figlet:latest"}))
        .await;
    let reply = server.call("figlet", "Hi").await;
    assert_eq!(reply.status, 200);
    assert!(reply.text().contains("| | | (_)"), "{}", reply.text());
}

#[tokio::test]
async fn shasum_sums_its_input() {
    let server = Server::start().await;
    let image = "ghcr.io/openfaas/alpine:latest";
    server
        .deploy(json!({"service": "shasum", "image": image, "envProcess": "sha512sum"}))
        .await;
    let reply = server.call("shasum", "Hello").await;
    let sum = "3615f80c9d293ed7402687f94b22d58e529b8cc7916f8fac7fddf7fbd5af4cf777d3d795a7a00a16bf7e7f3fb9561ee9baae480\
               da9fe7a18769e71886b03f315";
    reply.expect(200, &format!("{sum}  -\n"));
}

#[tokio::test]
async fn ocr_answers_what_is_no_image_with_a_sentence() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "ocr", "image": "viveksyngh/openfaas-ocr:0.3.0"}))
        .await;
    server
        .call("ocr", "")
        .await
        .expect(200, "Request body is missing.\n");
    server
        .call("ocr", "SGVsbG8=")
        .await
        .expect(200, "Only JPEG or PNG images are allowed.\n");
}

#[tokio::test]
async fn ocr_reads_an_image_raw_and_in_base64() {
    let image = include_bytes!("hello.png");
    let server = Server::start().await;
    server
        .deploy(json!({"service": "ocr", "image": "viveksyngh/openfaas-ocr:0.3.0"}))
        .await;
    server.call("ocr", &image[..]).await.expect(200, "Hello DFaaS\n");
    let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, image);
    server.call("ocr", encoded).await.expect(200, "Hello DFaaS\n");
}

#[tokio::test]
async fn the_request_is_in_the_environment_and_the_platform_is_not() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "env", "envProcess": "env", "envVars": {"MINE": "a=b"}}))
        .await;
    let asked = request("PUT /function/env.openfaas-fn/a/b?x=1&y=2")
        .header("content-type", "text/x-test")
        .header("x-multi", "first")
        .header("x-multi", "second")
        .header("proxy", "http://evil")
        .header("x-call-id", "my-call")
        .body(Full::new(Bytes::from("12345")));
    let reply = send(server.functions(), asked.unwrap()).await;
    assert_eq!(reply.header("content-type"), "text/x-test");
    let variables: Vec<&str> = reply.text().lines().collect();
    for line in [
        "Http_Method=PUT",
        "Http_Path=/a/b",
        "Http_Query=x=1&y=2",
        "Http_Content_Type=text/x-test",
        "Http_Content_Length=5",
        "Http_ContentLength=5",
        "Http_X_Multi=first",
        "Http_X_Call_Id=my-call",
        "Http_Host=provider",
        "MINE=a=b",
        "fprocess=env",
    ] {
        assert!(variables.contains(&line), "{line} is not in {variables:#?}");
    }
    let names: Vec<&str> = variables
        .iter()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();
    assert!(names.contains(&"PATH") && names.contains(&"HOME") && names.contains(&"Http_X_Forwarded_For"));
    assert!(
        !names
            .iter()
            .any(|name| name.starts_with("CARGO") || name.eq_ignore_ascii_case("http_proxy"))
    );
}

#[tokio::test]
async fn a_body_of_unknown_length_has_length_minus_one() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "env", "envProcess": "env"}))
        .await;
    let frames = Chunks(vec!["ab", "cd"]);
    let asked = request("POST /function/env").body(frames).unwrap();
    let reply = open(server.functions(), asked)
        .await
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    assert!(String::from_utf8_lossy(&reply).contains("Http_Content_Length=-1\n"));
}

#[tokio::test]
async fn answers_tell_who_served_which_call_and_when() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "echo", "image": "builtin:echo"}))
        .await;
    let asked = request("GET /function/echo")
        .header("x-call-id", "my-call")
        .body(Full::default());
    let kept = send(server.functions(), asked.unwrap()).await;
    kept.expect(200, "echo\n");
    assert_eq!(
        (kept.header("x-call-id"), kept.header("x-served-by")),
        ("my-call", "node-1")
    );
    assert!(kept.header("x-start-time").parse::<u64>().unwrap() > 1_700_000_000_000_000_000);
    assert!(kept.header("x-duration-seconds").parse::<f64>().unwrap() < 10.0);
    let made = server.call("echo", "").await;
    assert_eq!(made.header("x-call-id").len(), 36);
}

#[tokio::test]
async fn content_type_is_the_functions_or_the_requests_or_plain() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "plain", "envProcess": "true"}))
        .await;
    server
        .deploy(json!({"service": "typed", "envProcess": "true", "envVars": {"content_type": "image/png"}}))
        .await;
    assert_eq!(
        server.call("plain", "").await.header("content-type"),
        "text/plain; charset=utf-8"
    );
    assert_eq!(server.call("typed", "").await.header("content-type"), "image/png");
}

#[tokio::test]
async fn a_name_and_its_dotted_form_are_one_function() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "echo", "image": "builtin:echo"}))
        .await;
    for path in ["echo", "echo/", "echo.openfaas-fn", "echo.openfaas-fn/x?y"] {
        server.call(path, "same").await.expect(200, "same");
    }
    for path in [
        "ech",
        "echox",
        "echo.other",
        "echo.openfaas-fn.openfaas-fn",
        "",
        "%2e%2e",
        "..",
    ] {
        server
            .call(path, "")
            .await
            .expect_refusal(404, "there is no function");
    }
    let metrics = server.send("GET /metrics", "").await;
    let line = "gateway_function_invocation_total{function_name=\"echo.openfaas-fn\",code=\"200\"} 4\n";
    assert!(metrics.text().contains(line), "{}", metrics.text());
    assert!(!metrics.text().contains("echox"));
}

#[tokio::test]
async fn uploads_are_echoed_whole() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "echo", "image": "builtin:echo"}))
        .await;
    server
        .deploy(json!({"service": "cat", "envProcess": "cat"}))
        .await;
    let body = Bytes::from_iter((0..3_000_000_u32).map(|at| (at % 253) as u8));
    assert!(server.call("echo", body.clone()).await.body == body);
    assert!(server.call("cat", body.clone()).await.body == body);
}

#[tokio::test]
async fn downloads_have_the_size_asked_for() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "echo", "image": "builtin:echo"}))
        .await;
    let asked = request("GET /function/echo?size=50000000")
        .body(Full::<Bytes>::default())
        .unwrap();
    let answer = open(server.functions(), asked).await;
    assert_eq!(answer.headers()["content-length"], "50000000");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let pattern = (0..50_000_000_usize).map(|at| (at % 65536 % 251) as u8);
    assert!(body.len() == 50_000_000 && body.iter().copied().eq(pattern));
    server
        .call("echo?size=x", "")
        .await
        .expect_refusal(400, "size is \"x\"");
}

#[tokio::test]
async fn downloads_come_in_chunks_where_asked() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "echo", "image": "builtin:echo"}))
        .await;
    for length in [0, 1, 1000, 1001, 100_000] {
        let asked = request(&format!("GET /function/echo?chunked={length}"));
        let answer = open(server.functions(), asked.body(Full::<Bytes>::default()).unwrap()).await;
        assert_eq!(answer.headers()["transfer-encoding"], "chunked");
        assert!(!answer.headers().contains_key("content-length"));
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), length);
    }
}

#[tokio::test]
async fn answers_have_the_status_asked_for_and_no_body() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "echo", "image": "builtin:echo"}))
        .await;
    for status in [200, 204, 304, 404] {
        let line = format!("GET /function/echo?status={status}");
        let answer = send(
            server.functions(),
            request(&line).body(Full::<Bytes>::default()).unwrap(),
        )
        .await;
        answer.expect(status, "");
    }
    server
        .call("echo?status=100", "")
        .await
        .expect_refusal(400, "status is \"100\"");
}

#[tokio::test]
async fn every_method_is_passed_but_those_the_watchdog_refuses() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "echo", "image": "builtin:echo"}))
        .await;
    server
        .deploy(json!({"service": "cat", "envProcess": "cat"}))
        .await;
    for (method, echo, cat) in [
        ("GET", 200, 200),
        ("POST", 200, 200),
        ("PUT", 200, 200),
        ("PATCH", 200, 200),
        ("DELETE", 200, 200),
        ("OPTIONS", 200, 405),
        ("HEAD", 200, 405),
        ("TRACE", 405, 405),
    ] {
        let to_echo = server
            .send(&format!("{method} /function/echo"), "")
            .await
            .status
            .as_u16();
        let to_cat = server
            .send(&format!("{method} /function/cat"), "")
            .await
            .status
            .as_u16();
        assert_eq!((to_echo, to_cat), (echo, cat), "{method}");
    }
}

#[tokio::test]
async fn long_requests_are_refused() {
    let server = Server::start_with(|config| config.request_bytes_max = 1000).await;
    server
        .deploy(json!({"service": "cat", "envProcess": "cat"}))
        .await;
    server
        .deploy(json!({"service": "less", "envProcess": "cat", "envVars": {"max_request_bytes": "10"}}))
        .await;
    let at_most = |length| vec![b'x'; length];
    assert_eq!(server.call("cat", at_most(1000)).await.body.len(), 1000);
    server
        .call("cat", at_most(1001))
        .await
        .expect_refusal(413, "longer than 1000 bytes");
    server
        .call("less", at_most(11))
        .await
        .expect_refusal(413, "longer than 10 bytes");
    let frames = Chunks(vec!["123456", "789012"]);
    let answer = open(
        server.functions(),
        request("POST /function/less").body(frames).unwrap(),
    )
    .await;
    assert_eq!(answer.status(), 413);
}

#[tokio::test]
async fn the_functions_listener_only_calls() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "echo", "image": "builtin:echo"}))
        .await;
    for path in [
        "/system/functions",
        "/system/info",
        "/metrics",
        "/",
        "/functions/echo",
    ] {
        let asked = request(&format!("GET {path}")).body(Full::default()).unwrap();
        send(server.functions(), asked)
            .await
            .expect_refusal(404, "functions are called at /function/NAME");
    }
    let asked = request("GET /healthz").body(Full::default()).unwrap();
    send(server.functions(), asked).await.expect(200, "");
    server.call("echo", "x").await.expect(200, "x");
}

#[tokio::test]
async fn zero_replicas_do_not_answer() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "cat", "envProcess": "cat"}))
        .await;
    let scale = |replicas| json!({"serviceName": "cat", "replicas": replicas});
    assert_eq!(
        server
            .json("POST /system/scale-function/cat", scale(0))
            .await
            .status,
        202
    );
    server
        .call("cat", "x")
        .await
        .expect_refusal(503, "No endpoints available for: cat.openfaas-fn");
    assert_eq!(
        server
            .json("POST /system/scale-function/cat", scale(2))
            .await
            .status,
        202
    );
    server.call("cat", "x").await.expect(200, "x");
}

#[tokio::test]
async fn a_call_starts_a_function_that_scales_to_zero() {
    let server = Server::start().await;
    let labels = json!({"com.openfaas.scale.zero": "true", "com.openfaas.scale.min": "2"});
    server
        .deploy(json!({"service": "cat", "envProcess": "cat", "labels": labels}))
        .await;
    server
        .json(
            "POST /system/scale-function/cat",
            json!({"serviceName": "cat", "replicas": 0}),
        )
        .await;
    server.call("cat", "x").await.expect(200, "x");
    assert_eq!(
        server.send("GET /system/function/cat", "").await.json()["replicas"],
        2
    );
}

/// A body whose length is not told.
struct Chunks(Vec<&'static str>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = (!self.0.is_empty()).then(|| self.0.remove(0));
        Poll::Ready(next.map(|text| Ok(Frame::data(Bytes::from(text)))))
    }
}
