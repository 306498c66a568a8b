//! A provider with a directory of its own, and a client that says exactly what it is told.

use std::future::Future;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dfaas_provider::{Config, Credentials, Deployment, FunctionUser, Provider, StartError};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_dfaas-provider");

/// Long enough for a loaded machine; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    provider: Provider,
    pub(crate) directory: TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path());
        change(&mut config);
        Self {
            provider: Provider::start(config).await.unwrap(),
            directory,
        }
    }

    /// Stops the provider and starts another on its state.
    pub(crate) async fn restart(self) -> Self {
        self.provider.stop().await;
        let provider = Provider::start(config(self.directory.path())).await.unwrap();
        Self {
            provider,
            directory: self.directory,
        }
    }

    pub(crate) async fn stop(self) -> TempDir {
        self.provider.stop().await;
        self.directory
    }

    pub(crate) fn gateway(&self) -> SocketAddr {
        self.provider.gateway()
    }

    pub(crate) fn functions(&self) -> SocketAddr {
        self.provider.functions()
    }

    /// Sends `METHOD /path` to the gateway.
    pub(crate) async fn send(&self, line: &str, body: impl Into<Bytes>) -> Reply {
        send(
            self.gateway(),
            request(line).body(Full::new(body.into())).unwrap(),
        )
        .await
    }

    pub(crate) async fn json(&self, line: &str, body: Value) -> Reply {
        self.send(line, body.to_string()).await
    }

    pub(crate) async fn call(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        let line = format!("POST /function/{path}");
        send(
            self.functions(),
            request(&line).body(Full::new(body.into())).unwrap(),
        )
        .await
    }

    /// Deploys as `faas-cli deploy` does: updates first, and creates what is not there.
    pub(crate) async fn deploy(&self, deployment: Value) {
        let reply = self.json("PUT /system/functions", deployment.clone()).await;
        if reply.status == StatusCode::NOT_FOUND {
            let reply = self.json("POST /system/functions", deployment).await;
            assert_eq!(reply.status, StatusCode::ACCEPTED, "{}", reply.text());
        } else {
            assert_eq!(reply.status, StatusCode::ACCEPTED, "{}", reply.text());
        }
    }

    /// Deploys a function that runs a shell script, with variables.
    pub(crate) async fn deploy_script(&self, name: &str, script: &str, variables: Value) {
        let path = self.directory.path().join(format!("{name}.sh"));
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        let process = format!("/bin/sh {}", path.display());
        self.deploy(serde_json::json!({"service": name, "envProcess": process, "envVars": variables}))
            .await;
    }

    pub(crate) fn fifo(&self, name: &str) -> PathBuf {
        fifo(self.directory.path(), name)
    }

    /// What `/system/logs` says now, a line each.
    pub(crate) async fn log(&self, name: &str) -> Vec<String> {
        let reply = self
            .send(&format!("GET /system/logs?name={name}&follow=false&tail=-1"), "")
            .await;
        let lines = reply
            .text()
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .map(|line| line["text"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    }
}

pub(crate) fn config(directory: &Path) -> Config {
    Config {
        gateway: ([127, 0, 0, 1], 0).into(),
        functions: ([127, 0, 0, 1], 0).into(),
        node_name: "node-1".to_owned(),
        state_dir: directory.join("state"),
        stack: Vec::new(),
        credentials: None,
        insecure: false,
        grace: Duration::ZERO,
        request_bytes_max: 256 << 20,
        processes_max: 16,
        client_timeout: Duration::from_secs(60),
        function_user: FunctionUser::Same,
        callback_allow: vec!["127.0.0.0/8".parse().unwrap()],
        this: BINARY.into(),
    }
}

pub(crate) async fn start_error(config: Config) -> StartError {
    match Provider::start(config).await {
        Ok(_) => panic!("the provider started"),
        Err(error) => error,
    }
}

pub(crate) fn credentials(directory: &Path) -> Credentials {
    let (user, password) = (directory.join("user"), directory.join("password"));
    std::fs::write(&user, "admin\n").unwrap();
    std::fs::write(&password, " secret\n").unwrap();
    Credentials::read(&user, &password).unwrap()
}

pub(crate) fn deployment(value: Value) -> Deployment {
    serde_json::from_value(value).unwrap()
}

/// A pipe with a name: reading it ends when every process that holds it open for writing is gone.
pub(crate) fn fifo(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

pub(crate) async fn patiently<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("nothing happened for a minute")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test is a shell: it measures what it drives"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn expect(&self, status: u16, text: &str) {
        assert_eq!((self.status.as_u16(), self.text()), (status, text));
    }

    /// Checks a refusal, whose text must say this much.
    #[track_caller]
    pub(crate) fn expect_refusal(&self, status: u16, part: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert!(self.text().contains(part), "{}", self.text());
    }
}

pub(crate) fn request(line: &str) -> hyper::http::request::Builder {
    let (method, path) = line.split_once(' ').unwrap();
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "provider")
}

pub(crate) async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Reply {
    let (head, body) = patiently(open(address, request)).await.into_parts();
    let body = patiently(body.collect()).await.unwrap().to_bytes();
    Reply {
        status: head.status,
        headers: head.headers,
        body,
    }
}

/// Sends a request and gives the answer as soon as it begins. Dropping it closes the connection.
pub(crate) async fn open<B>(address: SocketAddr, request: Request<B>) -> Response<Incoming>
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}
