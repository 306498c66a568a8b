//! Calls that are answered at once and made later.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::harness::{Server, patiently, request, send};

#[tokio::test]
async fn the_result_goes_to_the_callback() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "cat", "envProcess": "cat"}))
        .await;
    let (callback, mut results) = receive_callbacks().await;
    let taken = call_async(&server, "cat.openfaas-fn/x?y", callback).await;
    taken.expect(202, "");
    let (head, body) = patiently(results.recv()).await.unwrap();
    assert_eq!(
        (head.method.as_str(), head.uri.path(), &body[..]),
        ("POST", "/done", &b"payload"[..])
    );
    let header = |name| head.headers[name].to_str().unwrap();
    assert_eq!(header("x-call-id"), taken.header("x-call-id"));
    assert_eq!(
        (header("x-function-status"), header("x-function-name")),
        ("200", "cat.openfaas-fn")
    );
    assert!(header("x-duration-seconds").parse::<f64>().is_ok());
}

#[tokio::test]
async fn the_function_sees_its_own_path_and_a_post() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "env", "envProcess": "env"}))
        .await;
    let (callback, mut results) = receive_callbacks().await;
    call_async(&server, "env/x?y", callback).await.expect(202, "");
    let (_, body) = patiently(results.recv()).await.unwrap();
    let text = String::from_utf8_lossy(&body);
    for line in [
        "Http_Path=/x\n",
        "Http_Query=y\n",
        "Http_Method=POST\n",
        "Http_Content_Length=7\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

#[tokio::test]
async fn failures_go_to_the_callback() {
    let server = Server::start().await;
    server.deploy_script("fail", "exit 1", json!({})).await;
    let (callback, mut results) = receive_callbacks().await;
    call_async(&server, "fail", callback).await.expect(202, "");
    let (head, body) = patiently(results.recv()).await.unwrap();
    assert_eq!(
        (&head.headers["x-function-status"], &body[..]),
        (&"500".parse().unwrap(), &b"exit status 1\n"[..])
    );
}

#[tokio::test]
async fn calls_are_counted_without_a_callback() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "echo", "image": "builtin:echo"}))
        .await;
    server
        .send("POST /async-function/echo", "x")
        .await
        .expect(202, "");
    let count = "invocation_total{function_name=\"echo.openfaas-fn\",code=\"200\"} 1\n";
    patiently(async { while !server.send("GET /metrics", "").await.text().contains(count) {} }).await;
}

#[tokio::test]
async fn calls_that_cannot_be_made_are_refused() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "echo", "image": "builtin:echo"}))
        .await;
    server
        .send("POST /async-function/none", "")
        .await
        .expect_refusal(404, "there is no function");
    server
        .send("GET /async-function/echo", "")
        .await
        .expect_refusal(405, "by POST");
    server
        .send("POST /async-function/echo", vec![0; (1 << 20) + 1])
        .await
        .expect_refusal(413, "1048576 bytes");
    let asked = request("POST /async-function/echo")
        .header("x-callback-url", "nowhere")
        .body(Full::default());
    send(server.functions(), asked.unwrap())
        .await
        .expect_refusal(400, "X-Callback-Url is \"nowhere\"");
}

async fn call_async(server: &Server, path: &str, callback: SocketAddr) -> crate::harness::Reply {
    let asked = request(&format!("POST /async-function/{path}"))
        .header("x-callback-url", format!("http://{callback}/done"))
        .body(Full::from("payload"))
        .unwrap();
    send(server.functions(), asked).await
}

type Callback = (Parts, Bytes);

async fn receive_callbacks() -> (SocketAddr, mpsc::Receiver<Callback>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            let service = service_fn(move |request| note(sender.clone(), request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, receiver)
}

async fn note(
    sender: mpsc::Sender<Callback>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    sender
        .send((head, body.collect().await.unwrap().to_bytes()))
        .await
        .unwrap();
    Ok(Response::default())
}
