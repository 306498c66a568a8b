//! The binary: its flags, its signals and its exit codes.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};

use http_body_util::Full;
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{BINARY, Server, request, send};

const STACK: &str = "
provider: {name: openfaas}
functions:
  echo: {image: builtin:echo, labels: {dfaas.maxrate: 5}}
  cat: {fprocess: cat}
";

/// A provider as a process of its own, killed when dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) functions: SocketAddr,
    gateway: SocketAddr,
}

impl Running {
    /// Starts the command on free ports and waits until it says that it is ready.
    pub(crate) fn start(command: &mut Command) -> Self {
        command
            .args(["--gateway", "127.0.0.1:0", "--functions", "127.0.0.1:0"])
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let ready = lines
            .find(|line| line.contains("Ready"))
            .expect("it says that it is ready");
        std::thread::spawn(move || lines.for_each(drop));
        let address = |key: &str| {
            let value = ready.split(key).nth(1).unwrap().split(' ').next().unwrap();
            value.parse().unwrap()
        };
        Self {
            child,
            functions: address("functions="),
            gateway: address("gateway="),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn signals_stop_it_with_success() {
    for signal in [Signal::TERM, Signal::INT] {
        let directory = tempfile::tempdir().unwrap();
        let mut provider = Running::start(Command::new(BINARY).arg("--state-dir").arg(directory.path()));
        let asked = request("GET /healthz").body(Full::default()).unwrap();
        send(provider.gateway, asked).await.expect(200, "");
        kill_process(Pid::from_child(&provider.child), signal).unwrap();
        assert!(provider.child.wait().unwrap().success());
    }
}

#[test]
fn a_port_in_use_is_explained() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for flag in ["--gateway", "--functions"] {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().display().to_string();
        let other = if flag == "--gateway" {
            "--functions"
        } else {
            "--gateway"
        };
        let output = run(&[
            "--state-dir",
            &state,
            other,
            "127.0.0.1:0",
            flag,
            &address.to_string(),
        ]);
        check_failure(
            &output,
            1,
            &format!("listen on {address} for {flag}: the port is in use; `ss -ltnp"),
        );
    }
}

#[test]
fn wrong_usage_is_exit_code_64() {
    check_failure(&run(&["--nonsense"]), 64, "unexpected argument '--nonsense'");
    check_failure(&run(&["--gateway", "x"]), 64, "invalid value 'x'");
    check_failure(
        &run(&["--basic-auth-user-file", "x"]),
        64,
        "--basic-auth-password-file",
    );
    check_failure(&run(&["deploy", "--label", "x"]), 64, "write KEY=VALUE");
}

#[test]
fn help_is_success() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("--state-dir"));
}

#[test]
fn unreadable_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().display().to_string();
    let missing = format!("{state}/missing");
    let output = run(&[
        "--state-dir",
        &state,
        "--basic-auth-user-file",
        &missing,
        "--basic-auth-password-file",
        &missing,
    ]);
    check_failure(
        &output,
        1,
        &format!("read the basic auth user from {missing}: No such file"),
    );
    check_failure(
        &run(&["--state-dir", &state, "--stack", &missing]),
        1,
        &format!("read the stack {missing}"),
    );
    check_failure(
        &run(&["--state-dir", "/proc/nowhere"]),
        1,
        "choose another directory with --state-dir",
    );
}

#[tokio::test]
async fn deploy_sends_a_stack_to_a_gateway() {
    let server = Server::start().await;
    let url = format!("http://{}", server.gateway());
    let stack = server.directory.path().join("stack.yaml");
    std::fs::write(&stack, STACK).unwrap();
    let stack = stack.display().to_string();
    let deploy = async |more: &[&str]| {
        let mut args = vec!["deploy", "--stack", &stack, "--gateway", &url];
        args.extend(more);
        let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        tokio::task::spawn_blocking(move || Command::new(BINARY).args(args).output().unwrap())
            .await
            .unwrap()
    };
    let output = deploy(&[
        "--filter",
        "echo",
        "--label",
        "dfaas.maxrate=7",
        "--label",
        "a=b=c",
    ])
    .await;
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("echo created: {url}/function/echo\n")
    );
    let echo = server.send("GET /system/function/echo", "").await.json();
    assert_eq!(
        echo["labels"],
        serde_json::json!({"dfaas.maxrate": "7", "a": "b=c"})
    );
    let output = deploy(&[]).await;
    let want = format!("cat created: {url}/function/cat\necho updated: {url}/function/echo\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), want);
    check_failure(
        &deploy(&["--filter", "none"]).await,
        1,
        "there is no function \"none\"",
    );
}

#[test]
fn a_gateway_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let stack = directory.path().join("stack.yaml");
    std::fs::write(&stack, STACK).unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}");
    let output = run(&[
        "deploy",
        "--stack",
        &stack.display().to_string(),
        "--gateway",
        &url,
    ]);
    check_failure(&output, 1, &format!("deploy the function cat to {url}"));
    let output = run(&[
        "deploy",
        "--stack",
        &stack.display().to_string(),
        "--gateway",
        "ftp://x",
    ]);
    check_failure(&output, 1, "write http://HOST:PORT");
}

fn run(args: &[&str]) -> Output {
    Command::new(BINARY).args(args).output().unwrap()
}

#[track_caller]
fn check_failure(output: &Output, code: i32, part: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(part), "{stderr}");
}
