//! Where results of asynchronous calls go, what is tried again, and what a stop leaves.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::command_line::Running;
use crate::harness::{BINARY, Reply, Server, now, patiently, request, send};

const CALLS: usize = 10;

#[tokio::test]
async fn calls_survive_a_stop() {
    let server = Server::start().await;
    server.deploy_script("slow", "cat; sleep 0.5", json!({})).await;
    let (callback, mut results) = receive(StatusCode::OK, 0).await;
    let mut taken = BTreeSet::new();
    for number in 0..CALLS {
        let reply = call(server.functions(), "slow", &callback, number.to_string()).await;
        reply.expect(202, "");
        taken.insert(reply.header("x-call-id").to_owned());
    }
    let metrics = server.send("GET /metrics", "").await;
    assert!(
        metrics.text().contains("dfaas_async_calls_waiting 10\n"),
        "{}",
        metrics.text()
    );
    // Four are running, and get no time to end.
    let server = server.restart().await;
    let mut told = BTreeSet::new();
    let mut bodies = BTreeSet::new();
    while told.len() < CALLS {
        let (id, status, body) = patiently(results.recv()).await.unwrap();
        assert_eq!(status, "200");
        told.insert(id);
        bodies.insert(body);
    }
    assert_eq!((told, bodies.len()), (taken, CALLS));
    let idle = "dfaas_async_calls_waiting 0\n";
    patiently(async { while !server.send("GET /metrics", "").await.text().contains(idle) {} }).await;
    let left = std::fs::read_dir(server.directory.path().join("state/queue")).unwrap();
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn running_calls_get_the_grace() {
    let server = Server::start_with(|config| config.grace = Duration::from_secs(30)).await;
    server.deploy_script("slow", "cat; sleep 0.5", json!({})).await;
    let (callback, mut results) = receive(StatusCode::OK, 0).await;
    call(server.functions(), "slow", &callback, "x".to_owned())
        .await
        .expect(202, "");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let directory = patiently(server.stop()).await;
    let (_, status, body) = results.try_recv().unwrap();
    assert_eq!((status.as_str(), body.as_str()), ("200", "x"));
    let left = std::fs::read_dir(directory.path().join("state/queue")).unwrap();
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn a_call_whose_function_is_gone_is_told_of() {
    let server = Server::start().await;
    server.deploy_script("slow", "sleep 0.3", json!({})).await;
    server.deploy_script("gone", "cat", json!({})).await;
    let (callback, mut results) = receive(StatusCode::OK, 0).await;
    for _ in 0..4 {
        call(server.functions(), "slow", &callback, String::new())
            .await
            .expect(202, "");
    }
    call(server.functions(), "gone", &callback, String::new())
        .await
        .expect(202, "");
    server
        .json("DELETE /system/functions", json!({"functionName": "gone"}))
        .await
        .expect(202, "");
    let mut statuses = BTreeSet::new();
    for _ in 0..5 {
        statuses.insert(patiently(results.recv()).await.unwrap().1);
    }
    assert!(statuses.contains("503"), "{statuses:?}");
}

#[tokio::test]
async fn callbacks_go_nowhere_into_this_host() {
    let server = Server::start_with(|config| config.callback_allow.clear()).await;
    server
        .deploy(json!({"service": "echo", "image": "builtin:echo"}))
        .await;
    let gateway = server.gateway();
    for url in [
        format!("http://{gateway}/system/functions"),
        format!("http://localhost:{}/system/functions", gateway.port()),
        "http://[::1]/".to_owned(),
        "http://169.254.169.254/latest".to_owned(),
        "http://0.0.0.0/".to_owned(),
    ] {
        let refused = call(server.functions(), "echo", &url, String::new()).await;
        refused.expect_refusal(400, "--callback-allow");
    }
    // A name is looked up later, and then what it says is checked.
    let taken = call(server.functions(), "echo", "http://localhost.:9/", String::new()).await;
    taken.expect(202, "");
    let failed = "dfaas_async_callbacks_failed_total 1\n";
    patiently(async { while !server.send("GET /metrics", "").await.text().contains(failed) {} }).await;
}

#[tokio::test]
async fn silent_servers_stop_no_other_calls() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "echo", "image": "builtin:echo"}))
        .await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    for _ in 0..8 {
        call(server.functions(), "echo", &url, String::new())
            .await
            .expect(202, "");
    }
    let (callback, mut results) = receive(StatusCode::OK, 0).await;
    let begun = now();
    call(server.functions(), "echo", &callback, "x".to_owned())
        .await
        .expect(202, "");
    patiently(results.recv()).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn callbacks_are_tried_again() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "echo", "image": "builtin:echo"}))
        .await;
    let (callback, mut results) = receive(StatusCode::SERVICE_UNAVAILABLE, 1).await;
    call(server.functions(), "echo", &callback, "again".to_owned())
        .await
        .expect(202, "");
    for _ in 0..2 {
        assert_eq!(patiently(results.recv()).await.unwrap().2, "again");
    }
    let metrics = server.send("GET /metrics", "").await;
    assert!(metrics.text().contains("dfaas_async_callbacks_failed_total 0\n"));
}

#[tokio::test]
async fn callbacks_may_be_https() {
    let directory = tempfile::tempdir().unwrap();
    let authority = directory.path().join("authority.pem");
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&authority, certified.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(certified.key_pair.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (port, mut results) = receive_by_tls(acceptor).await;
    let stack = directory.path().join("stack.yaml");
    std::fs::write(&stack, "functions: {echo: {image: 'builtin:echo'}}").unwrap();
    let provider = Running::start(
        Command::new(BINARY)
            .env("SSL_CERT_FILE", &authority)
            .arg("--state-dir")
            .arg(directory.path().join("state"))
            .arg("--stack")
            .arg(&stack)
            .args(["--callback-allow", "127.0.0.0/8", "--callback-allow", "::1/128"]),
    );
    let url = format!("https://localhost:{port}/done");
    call(provider.functions, "echo", &url, "secret".to_owned())
        .await
        .expect(202, "");
    assert_eq!(patiently(results.recv()).await.unwrap().2, "secret");
}

async fn call(functions: SocketAddr, name: &str, url: &str, body: String) -> Reply {
    let asked = request(&format!("POST /async-function/{name}"))
        .header("x-callback-url", url)
        .body(Full::from(body))
        .unwrap();
    send(functions, asked).await
}

/// The call's id, the function's status and the body.
type Result = (String, String, String);

/// Answers the first `times` callbacks with `status`, and takes all others.
async fn receive(status: StatusCode, times: usize) -> (String, mpsc::Receiver<Result>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/done", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::channel(64);
    let left = Arc::new(AtomicUsize::new(times));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (sender, left) = (sender.clone(), Arc::clone(&left));
            let service = service_fn(move |request| note(sender.clone(), Arc::clone(&left), status, request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (url, receiver)
}

async fn receive_by_tls(acceptor: TlsAcceptor) -> (u16, mpsc::Receiver<Result>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (sender, acceptor) = (sender.clone(), acceptor.clone());
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let service =
                    service_fn(move |request| note(sender.clone(), Arc::default(), StatusCode::OK, request));
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await
            });
        }
    });
    (port, receiver)
}

async fn note(
    sender: mpsc::Sender<Result>,
    left: Arc<AtomicUsize>,
    status: StatusCode,
    request: Request<Incoming>,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let header = |name| {
        let value = head.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap()).to_owned()
    };
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let result = (header("x-call-id"), header("x-function-status"), body);
    // The test may have ended.
    let _ = sender.send(result).await;
    let mut response = Response::default();
    if left
        .try_update(SeqCst, SeqCst, |left| left.checked_sub(1))
        .is_ok()
    {
        *response.status_mut() = status;
    }
    Ok(response)
}
