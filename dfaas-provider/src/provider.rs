//! The platform with its listeners: started, running, stopped.

use std::fs::{File, TryLockError};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::calls::callback::Callbacks;
use crate::calls::queue;
use crate::gateway::{self, Gateway};
use crate::platform::error::FunctionError;
use crate::platform::{Applied, Node, Platform};
use crate::run::guard::Guard;
use crate::run::isolation::user::FunctionUser;
use crate::run::launch::Host;
use crate::state::files::{self, FileError};
use crate::web::auth::Credentials;
use crate::web::server::{self, BindError, CONNECTIONS_MAX, Connections, GATEWAY_CONNECTIONS_MAX, Stage};
use crate::web::spool::Spool;
use crate::wire::Deployment;

const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// How often functions are looked at that want to be stopped when nobody calls them.
const IDLE_INTERVAL: Duration = Duration::from_millis(500);

/// How long the processes of functions may take to end when they are asked to.
const TERM_PATIENCE: Duration = Duration::from_secs(10);

/// How a provider is set up.
#[derive(Clone)]
pub struct Config {
    /// Where the whole OpenFaaS surface is served.
    pub gateway: SocketAddr,
    /// Where functions are called and nothing else.
    pub functions: SocketAddr,
    /// What answers say they were served by.
    pub node_name: String,
    pub state_dir: PathBuf,
    /// Deployed before the first request.
    pub stack: Vec<Deployment>,
    /// Without them everyone who reaches the gateway may use `/system`.
    pub credentials: Option<Credentials>,
    /// Whether the gateway may be reached from elsewhere without credentials.
    pub insecure: bool,
    /// How long calls in flight may go on after the stop.
    pub grace: Duration,
    pub request_bytes_max: u64,
    /// How many calls may have a process at the same time; more wait.
    pub processes_max: usize,
    /// How long a client may keep silent, between requests and within one, or leave its answer unread.
    pub client_timeout: Duration,
    /// As whom functions run.
    pub function_user: FunctionUser,
    /// Into which networks of this host itself callbacks may go.
    pub callback_allow: Vec<IpNet>,
    /// The path of the `dfaas-provider` binary, which is the ocr function too.
    pub this: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the node name {0:?} is no header value; choose another with --node-name")]
    NodeName(String),
    #[error("{0}; choose another directory with --state-dir")]
    State(#[from] FileError),
    #[error("the state directory {path} is in use by another dfaas-provider; stop it, or choose another with --state-dir", path = path.display())]
    StateInUse { path: PathBuf },
    #[error("start {this} again as the guard of functions: {source}", this = this.display())]
    Guard { this: PathBuf, source: io::Error },
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(
        "whoever reaches the gateway at {0} could run commands on this host; set --basic-auth-user-file and \
         --basic-auth-password-file, listen at 127.0.0.1, or say --insecure"
    )]
    Open(SocketAddr),
    #[error("deploy the stack: {0}")]
    Stack(Box<FunctionError>),
}

/// A running provider.
pub struct Provider {
    gateway: SocketAddr,
    functions: SocketAddr,
    grace: Duration,
    platform: Arc<Platform>,
    stage: watch::Sender<Stage>,
    connections: Connections,
    operators: Connections,
    tasks: JoinSet<()>,
    worker: JoinHandle<()>,
    worker_stop: CancellationToken,
    /// Holds the state directory for as long as the provider runs.
    _lock: File,
}

impl Provider {
    /// Starts the platform and its listeners. Needs a Tokio runtime.
    ///
    /// # Errors
    /// If the state directory or an address is in use or cannot be used, or the stack cannot be deployed.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        check_exposure(&config)?;
        let lock = lock_state(&config.state_dir).await?;
        let (gateway_listener, gateway) = listen(config.gateway, "--gateway")?;
        let (functions_listener, functions) = listen(config.functions, "--functions")?;
        let twin_listener = listen_at_twin(functions)?;
        let platform = Arc::new(Platform::open(node(
            &config,
            vec![gateway.port(), functions.port()],
        )?)?);
        for deployment in config.stack {
            apply(&platform, deployment).map_err(|error| StartError::Stack(Box::new(error)))?;
        }
        let (stage, stages) = watch::channel(Stage::Serving);
        let connections = Connections::new(stages.clone(), config.client_timeout, CONNECTIONS_MAX);
        let operators = Connections::new(stages.clone(), config.client_timeout, GATEWAY_CONNECTIONS_MAX);
        let callbacks = Callbacks::new(config.callback_allow);
        let (queue, worker) = queue::open(&config.state_dir, callbacks, config.client_timeout)?;
        let surface = Arc::new(Gateway::new(
            Arc::clone(&platform),
            queue,
            config.credentials,
            stages,
        ));
        let mut tasks = JoinSet::new();
        let worker_stop = CancellationToken::new();
        let worker = tokio::spawn(worker.run(Arc::clone(&platform), worker_stop.clone()));
        tasks.spawn(rest_idle(Arc::clone(&platform)));
        tasks.spawn(
            operators
                .clone()
                .serve(gateway_listener, gateway::Whole(Arc::clone(&surface))),
        );
        tasks.spawn(
            connections
                .clone()
                .serve(functions_listener, gateway::FunctionsOnly(Arc::clone(&surface))),
        );
        if let Some(listener) = twin_listener {
            tasks.spawn(
                connections
                    .clone()
                    .serve(listener, gateway::FunctionsOnly(surface)),
            );
        }
        info!(%gateway, %functions, functions_deployed = platform.all().len(), "Ready");
        Ok(Self {
            gateway,
            functions,
            grace: config.grace,
            platform,
            stage,
            connections,
            operators,
            tasks,
            worker,
            worker_stop,
            _lock: lock,
        })
    }

    /// Where the gateway listens.
    #[must_use]
    pub fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// Where functions are called.
    #[must_use]
    pub fn functions(&self) -> SocketAddr {
        self.functions
    }

    /// Stops taking requests, waits for those in flight up to the grace time, and ends every function.
    pub async fn stop(mut self) {
        self.stage.send_replace(Stage::Draining);
        let detached = &self.platform.node().host.detached;
        self.worker_stop.cancel();
        let ended = async {
            self.connections.ended().await;
            self.operators.ended().await;
            // What goes wrong with it is its calls'.
            let _ = (&mut self.worker).await;
            detached.finished().await;
        };
        if timeout(self.grace, ended).await.is_err() {
            info!(grace = ?self.grace, "Ended the calls still in flight");
            self.stage.send_replace(Stage::Ending);
            // The calls it has begun stay on disk.
            self.worker.abort();
            detached.end().await;
            self.connections.ended().await;
            self.operators.ended().await;
        }
        self.tasks.shutdown().await;
        self.platform.stop();
        let supervisors = &self.platform.node().host.supervisors;
        if timeout(TERM_PATIENCE, supervisors.finished()).await.is_err() {
            info!(patience = ?TERM_PATIENCE, "Killed the processes of functions that did not end");
        }
        supervisors.end().await;
    }
}

/// Deploying is running commands, so the gateway must not be open by an oversight.
fn check_exposure(config: &Config) -> Result<(), StartError> {
    let exposed = !config.gateway.ip().is_loopback();
    match (&config.credentials, exposed, config.insecure) {
        (Some(_), _, _) => {}
        (None, true, false) => return Err(StartError::Open(config.gateway)),
        (None, _, _) => warn!(
            gateway = %config.gateway,
            "Whoever reaches the gateway may run commands on this host: it asks for no credentials"
        ),
    }
    Ok(())
}

async fn rest_idle(platform: Arc<Platform>) {
    loop {
        sleep(IDLE_INTERVAL).await;
        let resting = Arc::clone(&platform);
        // It writes files.
        if let Err(error) = tokio::task::spawn_blocking(move || resting.rest_idle()).await {
            warn!(%error, "Could not look for idle functions");
        }
    }
}

/// Waits a little for a provider that is just ending, or whose last child still has to let go.
async fn lock_state(directory: &Path) -> Result<File, StartError> {
    files::create_directory(directory)?;
    let path = directory.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.map_err(FileError::new("open the file", &path))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => sleep(LOCK_PAUSE).await,
            Err(TryLockError::Error(error)) => {
                return Err(FileError::new("lock the file", &path)(error).into());
            }
        }
    }
    Err(StartError::StateInUse {
        path: directory.to_owned(),
    })
}

fn listen(address: SocketAddr, flag: &'static str) -> Result<(TcpListener, SocketAddr), BindError> {
    let listener = server::bind(address, flag)?;
    let bound = listener.local_addr().map_err(|source| BindError::Other {
        address,
        flag,
        source,
    })?;
    Ok((listener, bound))
}

/// Listens at the IPv6 loopback too where the functions are at that of IPv4: connections that come by IPv6 can be given to
/// no other listener.
fn listen_at_twin(functions: SocketAddr) -> Result<Option<TcpListener>, BindError> {
    if functions.ip() != Ipv4Addr::LOCALHOST {
        return Ok(None);
    }
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, functions.port()));
    match server::bind(address, "--functions") {
        Ok(listener) => Ok(Some(listener)),
        Err(error @ BindError::InUse { .. }) => Err(error),
        Err(error @ BindError::Other { .. }) => {
            info!(%error, "This host has no IPv6; functions are called by IPv4 alone");
            Ok(None)
        }
    }
}

fn node(config: &Config, ports: Vec<u16>) -> Result<Node, StartError> {
    let guard = Guard::start(&config.this).map_err(|source| StartError::Guard {
        this: config.this.clone(),
        source,
    })?;
    let name = HeaderValue::from_str(&config.node_name);
    Ok(Node {
        name: name.map_err(|_| StartError::NodeName(config.node_name.clone()))?,
        state: config.state_dir.clone(),
        this: config.this.clone(),
        request_bytes_max: config.request_bytes_max,
        client_timeout: config.client_timeout,
        function_user: config.function_user,
        ports,
        host: Arc::new(Host::new(
            config.processes_max,
            guard,
            Spool::open(&config.state_dir)?,
        )),
    })
}

fn apply(platform: &Platform, deployment: Deployment) -> Result<(), FunctionError> {
    let name = deployment.service.clone();
    let applied = platform.apply(deployment)?;
    if applied == Applied::Unchanged {
        info!(function = name, "Deployed already as the stack says");
    }
    Ok(())
}
