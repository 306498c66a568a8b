//! Warm functions that close, refuse, upgrade and listen as real servers do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Server, patiently};

#[tokio::test]
async fn a_connection_that_had_just_closed_loses_no_call() {
    const CALLS: u32 = 400;
    let server = with("idle").await;
    let mut lost = 0;
    for number in 0..CALLS {
        // Around the 20 ms after which the function closes.
        tokio::time::sleep(Duration::from_micros(18_500 + u64::from(number % 26) * 100)).await;
        lost += u32::from(server.send("GET /function/up", "").await.status != 200);
    }
    println!("{lost} of {CALLS} calls lost");
    assert_eq!(lost, 0);
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_upload_arrives() {
    let server = with("early").await;
    for _ in 0..20 {
        server.call("up", vec![b'x'; 3_000_000]).await.expect(413, "long");
    }
}

#[tokio::test]
async fn other_protocols_pass_end_to_end() {
    let server = with("upgrade").await;
    let functions = server.functions();
    let talk = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(functions).unwrap();
        stream
            .write_all(
                b"GET /function/up HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n",
            )
            .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.write_all(b"hello").unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        (String::from_utf8(head).unwrap().to_lowercase(), answer)
    });
    let (head, answer) = patiently(talk).await.unwrap();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(head.contains("upgrade: shout\r\n"), "{head}");
    assert_eq!(&answer, b"HELLO");
}

#[tokio::test]
async fn a_listener_of_ipv6_alone_is_found() {
    let server = with("six").await;
    server.call("up", "x").await.expect(200, "length");
}

#[tokio::test]
async fn the_log_says_where_a_function_listens_instead() {
    let server = with("elsewhere").await;
    let told =
        |line: &String| line.starts_with("it listens on 127.0.0.1:") && line.ends_with("set upstream_url");
    patiently(async { while !server.log("up").await.iter().any(told) {} }).await;
}

#[tokio::test]
async fn chunked_uploads_can_be_buffered() {
    for (buffer, want) in [("false", "chunked"), ("true", "length")] {
        let server = Server::start().await;
        server
            .deploy(upstream("framing", json!({"http_buffer_req_body": buffer})))
            .await;
        let functions = server.functions();
        let ask = tokio::task::spawn_blocking(move || {
            talk(
                functions,
                b"POST /function/up HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            )
        });
        let answer = patiently(ask).await.unwrap();
        assert!(answer.ends_with(want), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_closes_its_side_is_answered() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "cat", "envProcess": "cat"}))
        .await;
    let functions = server.functions();
    let ask = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(functions).unwrap();
        stream
            .write_all(b"POST /function/cat HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nhalf")
            .unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        read(stream)
    });
    let answer = patiently(ask).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("half"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_client_that_sends_first_reads_that_it_sent_too_much() {
    let server = Server::start_with(|config| config.request_bytes_max = 1000).await;
    server
        .deploy(json!({"service": "cat", "envProcess": "cat"}))
        .await;
    for _ in 0..10 {
        let functions = server.functions();
        let ask = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(functions).unwrap();
            stream
                .write_all(b"POST /function/cat HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
                .unwrap();
            stream.write_all(&vec![b'x'; 3_000_000]).unwrap();
            read(stream)
        });
        let answer = patiently(ask).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }
}

#[tokio::test]
async fn watchdogs_probes_run_no_function() {
    let server = with("framing").await;
    server.call("up", "").await.expect(200, "length");
    server
        .send("GET /function/up/_/ready", "")
        .await
        .expect(200, "OK\n");
    server
        .deploy(json!({"service": "fail", "envProcess": "false"}))
        .await;
    server
        .send("GET /function/fail/_/health", "")
        .await
        .expect(200, "OK\n");
    // The classic watchdog has no such path.
    server
        .send("GET /function/fail/_/ready", "")
        .await
        .expect(500, "exit status 1\n");
}

async fn with(kind: &str) -> Server {
    let server = Server::start().await;
    server.deploy(upstream(kind, json!({}))).await;
    server
}

fn upstream(kind: &str, mut variables: serde_json::Value) -> serde_json::Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/provider/upstreams.py");
    variables["mode"] = json!("http");
    variables["KIND"] = json!(kind);
    json!({"service": "up", "envProcess": format!("python3 {script}"), "envVars": variables})
}

fn talk(address: std::net::SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    read(stream)
}

fn read(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
