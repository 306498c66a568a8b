//! Functions that are a process for each call, as the real watchdogs treat them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Server, now, patiently};

#[tokio::test]
async fn output_of_children_is_read_to_its_end() {
    let server = Server::start().await;
    let script = "seq 3 | tee >(sed 's/^/copy /' >&2) >/dev/null";
    let path = server.directory.path().join("tee.bash");
    std::fs::write(&path, script).unwrap();
    let process = format!("bash {}", path.display());
    server
        .deploy(json!({"service": "tee", "envProcess": process}))
        .await;
    let mut whole = 0;
    for _ in 0..100 {
        whole += usize::from(server.call("tee", "").await.text().lines().count() == 3);
    }
    assert_eq!(whole, 100);
}

#[tokio::test]
async fn late_output_comes_with_the_answer() {
    let server = Server::start().await;
    server
        .deploy_script("late", "(sleep 0.3; echo late) & echo now", json!({}))
        .await;
    server.call("late", "").await.expect(200, "now\nlate\n");
}

#[tokio::test]
async fn a_child_in_a_session_of_its_own_delays_the_answer_for_a_while_only() {
    let server = Server::start().await;
    server
        .deploy_script("away", "setsid sleep 20 & echo done", json!({}))
        .await;
    let begun = now();
    server.call("away", "").await.expect(200, "done\n");
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn errors_stay_out_of_answers_in_the_modes_of_the_of_watchdog() {
    let server = Server::start().await;
    for mode in ["serializing", "streaming"] {
        server
            .deploy_script(
                mode,
                "echo log >&2; echo data; exit $EXIT",
                json!({"mode": mode, "EXIT": "0"}),
            )
            .await;
        let reply = server.call(mode, "").await;
        reply.expect(200, "data\n");
        assert_eq!(reply.header("content-type"), "application/octet-stream");
        let log = server.log(mode).await;
        assert!(log.contains(&"stderr: log".to_owned()), "{log:?}");
    }
}

#[tokio::test]
async fn a_failure_is_status_500_when_serializing_and_a_line_of_the_log_when_streaming() {
    let server = Server::start().await;
    for mode in ["serializing", "streaming"] {
        server
            .deploy_script(mode, "echo data; exit 3", json!({"mode": mode}))
            .await;
    }
    server
        .call("serializing", "")
        .await
        .expect(500, "exit status 3\n");
    server.call("streaming", "").await.expect(200, "data\n");
    let told = "exit status 3".to_owned();
    patiently(async { while !server.log("streaming").await.contains(&told) {} }).await;
}

#[tokio::test]
async fn a_stream_is_passed_on_while_the_process_runs() {
    let server = Server::start().await;
    let fifo = server.fifo("go");
    server
        .deploy_script(
            "stream",
            "echo first; cat <$GO",
            json!({"mode": "streaming", "GO": fifo}),
        )
        .await;
    let functions = server.functions();
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(functions).unwrap();
        stream
            .write_all(b"POST /function/stream HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"first\n\r\n") {
            let mut bytes = [0; 1];
            stream.read_exact(&mut bytes).unwrap();
            answer.push(bytes[0]);
        }
        std::fs::write(fifo, "second\n").unwrap();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    });
    let answer = patiently(answer).await.unwrap();
    assert!(answer.contains("second\n"), "{answer}");
}

#[tokio::test]
async fn an_upload_does_not_count_for_the_timeout() {
    let server = Server::start().await;
    let variables = json!({"exec_timeout": "1s"});
    server
        .deploy(json!({"service": "cat", "envProcess": "cat", "envVars": variables}))
        .await;
    let functions = server.functions();
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(functions).unwrap();
        stream
            .write_all(b"POST /function/cat HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nConnection: close\r\n\r\nabc")
            .unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        stream.write_all(b"def").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = patiently(answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("abcdef"),
        "{answer}"
    );
}

#[tokio::test]
async fn slow_uploads_keep_no_process_from_others() {
    const CALLERS: usize = 256;
    let server = Server::start().await;
    server
        .deploy(json!({"service": "cat", "envProcess": "cat"}))
        .await;
    server
        .deploy(json!({"service": "other", "envProcess": "cat"}))
        .await;
    let before = longest(&server).await;
    let head = b"POST /function/cat HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n0123456789";
    let callers: Vec<TcpStream> = (0..CALLERS)
        .map(|_| {
            let mut stream = TcpStream::connect(server.functions()).unwrap();
            stream.write_all(head).unwrap();
            stream
        })
        .collect();
    let started = format!("invocation_started{{function_name=\"cat.openfaas-fn\"}} {CALLERS}\n");
    patiently(async { while !server.send("GET /metrics", "").await.text().contains(&started) {} }).await;
    let during = longest(&server).await;
    println!("longest of ten calls: {before:?} before, {during:?} with {CALLERS} slow uploads");
    assert!(during < before + Duration::from_secs(1), "{before:?}, {during:?}");
    drop(callers);
}

/// The longest of ten calls of another function.
async fn longest(server: &Server) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        let begun = now();
        server.call("other", "x").await.expect(200, "x");
        longest = longest.max(begun.elapsed());
    }
    longest
}

#[tokio::test]
async fn one_function_leaves_processes_to_the_others() {
    let server = Server::start_with(|config| config.processes_max = 4).await;
    let fifo = server.fifo("gate");
    server
        .deploy(json!({"service": "gate", "envProcess": format!("cat {}", fifo.display())}))
        .await;
    server
        .deploy(json!({"service": "cat", "envProcess": "cat"}))
        .await;
    let _waiting: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(server.functions()).unwrap();
            stream
                .write_all(b"POST /function/gate HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
            stream
        })
        .collect();
    let started = "invocation_started{function_name=\"gate.openfaas-fn\"} 8\n";
    patiently(async { while !server.send("GET /metrics", "").await.text().contains(started) {} }).await;
    server.call("cat", "served").await.expect(200, "served");
}

#[tokio::test]
async fn content_is_told_by_its_first_bytes() {
    let server = Server::start().await;
    for (name, script, want) in [
        ("html", "echo '<html><body>x'", "text/html; charset=utf-8"),
        ("png", r"printf '\211PNG\r\n\032\n....'", "image/png"),
        ("umlaut", "echo Grüße", "text/plain; charset=utf-8"),
        ("bytes", r"printf '\001\002\003'", "application/octet-stream"),
    ] {
        server.deploy_script(name, script, json!({})).await;
        let reply = server.call(name, "").await;
        assert_eq!(reply.header("content-type"), want, "{name}");
    }
    server
        .deploy_script(
            "fail",
            "echo '{}'; exit 3",
            json!({"content_type": "application/json"}),
        )
        .await;
    let reply = server.call("fail", "").await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("content-type")),
        (500, "text/plain; charset=utf-8")
    );
}

#[tokio::test]
async fn a_call_is_finished_when_its_caller_leaves() {
    let server = Server::start().await;
    let (begun, done) = (server.fifo("begun"), server.directory.path().join("done"));
    server
        .deploy_script(
            "long",
            "echo >$BEGUN; sleep 0.3; echo done >$DONE",
            json!({"BEGUN": begun, "DONE": done}),
        )
        .await;
    let mut stream = TcpStream::connect(server.functions()).unwrap();
    stream
        .write_all(b"POST /function/long HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    patiently(tokio::task::spawn_blocking(|| std::fs::read(begun).unwrap()))
        .await
        .unwrap();
    drop(stream);
    patiently(async {
        while !done.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_can_be_marshalled_and_headers_left_out() {
    let server = Server::start().await;
    let variables = json!({"marshal_request": "true", "cgi_headers": "false"});
    server
        .deploy_script("json", "cat; env | grep -c ^Http_; true", variables)
        .await;
    let reply = server.call("json", "hello").await;
    let (text, rest) = reply.text().rsplit_once('}').unwrap();
    let asked: serde_json::Value = serde_json::from_str(&format!("{text}}}")).unwrap();
    assert_eq!(
        (&asked["body"]["raw"], &asked["header"]["Host"][0]),
        (&json!("aGVsbG8="), &json!("provider"))
    );
    assert_eq!(rest, "0\n");
}

#[tokio::test]
async fn large_requests_reach_the_process_whole() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "cat", "envProcess": "cat"}))
        .await;
    let body: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    assert!(server.call("cat", body.clone()).await.body == body);
}
