//! Functions that are a process for each call: their failures, their limits and their end.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use http_body_util::Full;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use crate::command_line::Running;
use crate::harness::{BINARY, Server, fifo, patiently, request, send};

/// Starts a grandchild that holds the answer and a named pipe open, and waits for it.
const STAY: &str = "exec 3>\"$FIFO\"; echo started >&3; sleep 1000 & wait";

#[tokio::test]
async fn a_failing_process_is_status_500_with_its_output() {
    let server = Server::start().await;
    server
        .deploy_script("fail", "echo out; echo err >&2; exit 3", json!({}))
        .await;
    server
        .call("fail", "")
        .await
        .expect(500, "exit status 3\nout\nerr\n");
}

#[tokio::test]
async fn a_killed_process_is_status_500() {
    let server = Server::start().await;
    server.deploy_script("killed", "kill -9 $$", json!({})).await;
    server.call("killed", "").await.expect(500, "signal: killed\n");
}

#[tokio::test]
async fn a_missing_program_is_status_500_and_says_which() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "none", "envProcess": "no-such-program"}))
        .await;
    server
        .call("none", "")
        .await
        .expect_refusal(500, "start \"no-such-program\": it is not in the PATH /");
}

#[tokio::test]
async fn errors_go_to_the_log_if_outputs_are_not_combined() {
    let server = Server::start().await;
    let script = "echo out; echo err >&2";
    server
        .deploy_script(
            "apart",
            script,
            json!({"combine_output": "false", "write_debug": "true"}),
        )
        .await;
    server.call("apart", "").await.expect(200, "out\n");
    let log = server.log("apart").await;
    assert!(
        log.contains(&"stderr: err".to_owned()) && log.contains(&"out".to_owned()),
        "{log:?}"
    );
    assert!(
        log.iter()
            .any(|line| line.starts_with("Wrote 4 Bytes - Duration: ")),
        "{log:?}"
    );
}

#[tokio::test]
async fn input_that_nobody_reads_is_no_error() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "true", "envProcess": "true"}))
        .await;
    server.call("true", vec![b'x'; 1_000_000]).await.expect(200, "");
}

#[tokio::test]
async fn a_timeout_is_status_408_and_kills_the_whole_group() {
    let server = Server::start().await;
    let fifo = server.fifo("alive");
    // Opened so, the pipe has ended when nobody holds its other end, even if nobody ever did.
    let mut alive = pipe::OpenOptions::new().open_receiver(&fifo).unwrap();
    server
        .deploy_script("stay", STAY, json!({"exec_timeout": "500ms", "FIFO": fifo}))
        .await;
    server.call("stay", "").await.expect(408, "Killed process.\n");
    patiently(alive.read_to_end(&mut Vec::new())).await.unwrap();
}

#[tokio::test]
async fn what_a_process_leaves_behind_is_killed() {
    let server = Server::start().await;
    let fifo = server.fifo("alive");
    server
        .deploy_script(
            "leave",
            "exec 3>\"$FIFO\"; echo started >&3; sleep 1000 & echo done",
            json!({"FIFO": fifo}),
        )
        .await;
    let alive = tokio::spawn(Alive::start(fifo));
    server.call("leave", "").await.expect(200, "done\n");
    alive.await.unwrap().end().await;
}

#[tokio::test]
async fn the_group_dies_with_a_stopping_provider() {
    let server = Server::start().await;
    let fifo = server.fifo("alive");
    server.deploy_script("stay", STAY, json!({"FIFO": fifo})).await;
    let asked = request("GET /function/stay").body(Full::default()).unwrap();
    let call = tokio::spawn(send(server.functions(), asked));
    let alive = Alive::start(fifo).await;
    let _directory = patiently(server.stop()).await;
    alive.end().await;
    assert!(call.await.is_err());
}

#[tokio::test]
async fn processes_die_with_a_killed_provider() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = fifo(directory.path(), "alive");
    let stack = directory.path().join("stack.yaml");
    let process = format!("tee {}", fifo.display());
    let function = format!("{{fprocess: {process}, environment: {{mode: streaming}}}}");
    std::fs::write(&stack, format!("functions: {{tee: {function}}}")).unwrap();
    let mut provider = Running::start(
        Command::new(BINARY)
            .arg("--state-dir")
            .arg(directory.path().join("state"))
            .arg("--function-user=same")
            .arg("--stack")
            .arg(&stack),
    );
    // A body that never comes keeps the process reading.
    let mut stream = std::net::TcpStream::connect(provider.functions).unwrap();
    let head = "POST /function/tee HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nstarted\n";
    stream.write_all(head.as_bytes()).unwrap();
    let alive = Alive::start(fifo).await;
    provider.child.kill().unwrap();
    alive.end().await;
}

#[tokio::test]
async fn a_guard_that_died_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = fifo(directory.path(), "alive");
    let stack = directory.path().join("stack.yaml");
    let function = format!(
        "{{fprocess: tee {}, environment: {{mode: streaming}}}}",
        fifo.display()
    );
    std::fs::write(
        &stack,
        format!("functions: {{tee: {function}, true: {{fprocess: 'true'}}}}"),
    )
    .unwrap();
    let mut provider = Running::start(
        Command::new(BINARY)
            .arg("--state-dir")
            .arg(directory.path().join("state"))
            .arg("--function-user=same")
            .arg("--stack")
            .arg(&stack),
    );
    let children = format!("/proc/{0}/task/{0}/children", provider.child.id());
    let guard = std::fs::read_to_string(children).unwrap();
    let guard: i32 = guard.split_ascii_whitespace().next().unwrap().parse().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(guard).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let mut stream = std::net::TcpStream::connect(provider.functions).unwrap();
    let head = "POST /function/tee HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nstarted\n";
    stream.write_all(head.as_bytes()).unwrap();
    let alive = Alive::start(fifo).await;
    provider.child.kill().unwrap();
    alive.end().await;
}

#[tokio::test]
async fn too_much_output_is_status_502() {
    let server = Server::start().await;
    server
        .deploy(json!({"service": "yes", "envProcess": "yes", "envVars": {"max_output_bytes": "100000"}}))
        .await;
    server
        .call("yes", "")
        .await
        .expect_refusal(502, "more than 100000 bytes");
    server
        .deploy(json!({"service": "cat", "envProcess": "cat", "envVars": {"max_output_bytes": "3"}}))
        .await;
    server.call("cat", "abc").await.expect(200, "abc");
    server
        .call("cat", "abcd")
        .await
        .expect_refusal(502, "more than 3 bytes");
}

#[tokio::test]
async fn more_calls_than_max_inflight_are_status_429() {
    let server = Server::start().await;
    let fifo = server.fifo("gate");
    let process = format!("cat {}", fifo.display());
    server
        .deploy(json!({"service": "gate", "envProcess": process, "envVars": {"max_inflight": "1"}}))
        .await;
    let first = send(
        server.functions(),
        request("GET /function/gate").body(Full::default()).unwrap(),
    );
    let first = tokio::spawn(first);
    // Opening the gate waits for the process to wait at it.
    let gate = patiently(tokio::task::spawn_blocking(|| std::fs::File::create(fifo)))
        .await
        .unwrap()
        .unwrap();
    let refused = server.call("gate", "").await;
    refused.expect(
        429,
        "Concurrent request limit exceeded. Max concurrent requests: 1\n",
    );
    assert_eq!(refused.header("x-openfaas-internal"), "faas-middleware");
    drop(gate);
    first.await.unwrap().expect(200, "");
    let metrics = server.send("GET /metrics", "").await;
    assert!(
        metrics
            .text()
            .contains("invocation_total{function_name=\"gate.openfaas-fn\",code=\"429\"} 1\n")
    );
}

#[tokio::test]
async fn calls_wait_for_a_process_of_their_own() {
    let server = Server::start_with(|config| config.processes_max = 1).await;
    let fifo = server.fifo("gate");
    server
        .deploy(json!({"service": "gate", "envProcess": format!("cat {}", fifo.display())}))
        .await;
    server
        .deploy(json!({"service": "cat", "envProcess": "cat"}))
        .await;
    let ask = |name: &str| {
        request(&format!("POST /function/{name}"))
            .body(Full::from("x"))
            .unwrap()
    };
    let first = tokio::spawn(send(server.functions(), ask("gate")));
    let gate = patiently(blocking(|| File::create(fifo))).await.unwrap();
    let second = tokio::spawn(send(server.functions(), ask("cat")));
    let started = "invocation_started{function_name=\"cat.openfaas-fn\"} 1\n";
    patiently(async { while !server.send("GET /metrics", "").await.text().contains(started) {} }).await;
    assert!(!second.is_finished());
    drop(gate);
    first.await.unwrap().expect(200, "");
    second.await.unwrap().expect(200, "x");
}

#[tokio::test]
async fn home_is_the_functions_own_directory() {
    let server = Server::start().await;
    server.deploy_script("home", "pwd; echo $HOME", json!({})).await;
    let home = server.directory.path().join("state/home/openfaas-fn/home");
    let home = home.canonicalize().unwrap();
    server
        .call("home", "")
        .await
        .expect(200, &format!("{0}\n{0}\n", home.display()));
}

#[test]
fn the_ocr_command_explains_a_missing_tesseract() {
    let image = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/provider/hello.png")).unwrap();
    let output = Command::new(BINARY)
        .arg("ocr")
        .env("PATH", "")
        .stdin(Stdio::from(image))
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("apt install tesseract-ocr"));
}

/// A process that holds a named pipe open, after it wrote a line into it.
struct Alive(BufReader<File>);

impl Alive {
    async fn start(path: PathBuf) -> Self {
        patiently(blocking(|| {
            let mut pipe = BufReader::new(File::open(path).unwrap());
            assert_eq!(pipe.read_line(&mut String::new()).unwrap(), "started\n".len());
            Self(pipe)
        }))
        .await
    }

    /// Waits until no process holds the pipe.
    async fn end(mut self) {
        let rest = patiently(blocking(move || {
            self.0.read_to_string(&mut String::new()).unwrap()
        }))
        .await;
        assert_eq!(rest, 0);
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
