//! `dfaas-agent run`: from a configuration to a running node.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use dfaas_control::{Control, NodeId};
use rustix::{
    net::sockopt::set_ipv6_v6only,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tokio::{
    net::TcpSocket,
    signal::unix::{SignalKind, signal},
};
use tracing::{info, warn};

use crate::{
    adviser::Adviser,
    agent::{Agent, Sources},
    api::{self, Listeners},
    choice::choose,
    clock,
    config::{Config, Host, OPEN, ProxyChoice},
    data_plane::Kernel,
    haproxy::{Duty, Program, Proxy, ProxyConfig, Service},
    identity, incarnation,
    mind::Mind,
    netns::{Netns, Watch},
    overlay::{self, OverlayConfig},
    plane::{DataPlane, PlaneKind},
    platform::Platform,
    recording::Recorder,
    state_lock::StateLock,
};

/// How many connections may wait for HAProxy; the kernel takes `net.core.somaxconn` if that is less.
const BACKLOG: u32 = 4_096;

/// What a node that is served from outside has of its own.
pub(crate) struct Outside {
    /// The network that this process has entered.
    pub(crate) netns: Netns,
    /// The API's listener, which is not in there.
    pub(crate) api: Listeners,
}

/// Runs a node until a signal says to stop.
///
/// # Errors
/// What keeps the node from starting, before the data plane is attached wherever it can be known before.
pub(crate) async fn run(config: Config, host: &Host, outside: Option<Outside>) -> Result<()> {
    let interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let keep = signal(SignalKind::user_defined1()).context("listening for SIGUSR1")?;
    let hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    let _lock = StateLock::take(&config.state_dir)?;
    let plane = choose(&config)?;
    allow_many_files();
    warn_of_strange_address(&config, host);
    let prepared = Prepared::of(plane, &config, host)?;
    if config.is_open() {
        warn!("{OPEN}");
    }
    let keypair = identity::load_or_create(&config.key_file)?;
    let node = identity::node_id(&keypair);
    let (api, container) = match outside {
        Some(outside) => {
            info!(
                netns = outside.netns.told(),
                "Serving a network namespace from outside"
            );
            (outside.api, outside.netns.watch())
        }
        None => (api::bind(config.api)?, Watch::default()),
    };
    let (overlay, overlay_events) = overlay::start(OverlayConfig {
        listen: config.listen.clone(),
        keypair,
        bootstrap: config.bootstrap.clone(),
        mdns: config.mdns,
        topic: config.topic.clone(),
        discovery: config.discovery.clone(),
        behind_nat: config.behind_nat,
        relay: config.relay.clone(),
        swarm_key: config.swarm_key,
        tuning: config.tuning.clone(),
    })
    .await
    .context("meeting peers (--listen)")?;
    let settings = config.settings(
        node.clone(),
        incarnation::next(&config.state_dir, clock::unix_ms()),
    );
    let start = clock::now();
    let recorder = config.record.as_deref();
    let recorder = recorder
        .map(|path| Recorder::create(path, &settings, start))
        .transpose()?;
    let data_plane = prepared.start(&config, &node)?;
    let control = Mind::new(Control::new(settings.clone(), start), recorder);
    info!(%node, strategy = %config.strategy, service = %config.service, api = %config.api, "Running");
    let (adviser, answers) = Adviser::new(config.services.clone());
    let sources = Sources {
        answers,
        overlay: overlay_events,
        platform: Platform::new(&config.platform, settings).start(),
        questions: api::start(api)?,
        interrupt,
        terminate,
        keep,
        hangup,
        container,
    };
    Agent::new(config, node, control, data_plane, overlay, adviser)
        .run(sources)
        .await
}

/// Each peer has a connection, which is a file, and the usual limit of 1 024 is for programs that know fewer.
fn allow_many_files() {
    let allowed = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: allowed,
        maximum: allowed,
    };
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "The limit on open files stays as it is");
    }
}

/// The HAProxy that helps, or why there is none.
fn helper(choice: &ProxyChoice) -> Result<Result<Service, String>> {
    Ok(match choice {
        ProxyChoice::Off => Err("it is switched off (--haproxy)".to_owned()),
        ProxyChoice::Adopted(socket) => Ok(Service::Adopted(socket.clone())),
        ProxyChoice::At(path) => Ok(Service::Own(Program::at(path).context("--haproxy")?)),
        ProxyChoice::Auto => match Program::find() {
            Ok(Some(program)) => Ok(Service::Own(program)),
            Ok(None) => Err("there is no program haproxy on this host; install it".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        },
    })
}

/// What of the data plane can be had before the node is known to anybody.
enum Prepared {
    /// The HAProxy that helps the kernel, or why there is none.
    Kernel(Result<Service, String>),
    Haproxy(ProxyConfig),
}

impl Prepared {
    fn of(plane: PlaneKind, config: &Config, host: &Host) -> Result<Self> {
        Ok(match plane {
            PlaneKind::Kernel => Self::Kernel(helper(&config.proxy)?),
            PlaneKind::Haproxy => Self::Haproxy(only_proxy(config, host)?),
        })
    }

    fn start(self, config: &Config, node: &NodeId) -> Result<DataPlane> {
        let now = clock::now();
        match self {
            Self::Kernel(helper) => {
                let kernel = Kernel::attach(&config.data_plane(node.clone()), now)?;
                let helper = start_helper(helper, config, node, kernel.kept_as());
                Ok(DataPlane::kernel(kernel, helper))
            }
            Self::Haproxy(proxy) => {
                let ports = [proxy.bind.port(), proxy.functions_port];
                let proxy = Proxy::start(proxy, node.clone());
                Ok(DataPlane::haproxy(proxy, ports, now))
            }
        }
    }
}

fn start_helper(
    helper: Result<Service, String>,
    config: &Config,
    node: &NodeId,
    kept_as: Option<String>,
) -> Proxy {
    match helper {
        Ok(service) => {
            let config = ProxyConfig {
                bind: config.proxy_bind,
                duty: Duty::Help,
                functions_port: config.functions_port,
                service,
                kept_as,
                unattended: config.unattended(),
            };
            Proxy::start(config, node.clone())
        }
        Err(reason) => {
            info!(
                reason,
                "No HAProxy helps; uploads in chunks, upgrades and all else that the kernel cannot frame are refused"
            );
            Proxy::none(node.clone(), &reason)
        }
    }
}

/// The HAProxy that is the data plane.
fn only_proxy(config: &Config, host: &Host) -> Result<ProxyConfig> {
    let service = match &config.proxy {
        ProxyChoice::Adopted(socket) => Service::Adopted(socket.clone()),
        ProxyChoice::At(path) => Service::Own(Program::at(path).context("--haproxy")?),
        ProxyChoice::Auto => Service::Own(Program::needed()?),
        ProxyChoice::Off => bail!("--data-plane haproxy is nothing without HAProxy (--haproxy off)"),
    };
    let duty = match &service {
        Service::Own(_) => Duty::Serve(listen(config, host)?),
        Service::Adopted(_) => Duty::ServeAdopted,
    };
    Ok(ProxyConfig {
        bind: SocketAddrV4::new(*config.service.ip(), config.service.port()),
        duty,
        functions_port: config.functions_port,
        service,
        kept_as: None,
        unattended: config.unattended(),
    })
}

/// Listens where users and peers come; everywhere, if their address is not this host's own but leads to it.
fn listen(config: &Config, host: &Host) -> Result<Arc<[TcpListener]>> {
    let told = config.service.addresses();
    let own = host.addresses(&config.interface);
    let listeners = told.map(|address| {
        let ip = match address.ip() {
            ip if own.contains(&ip) => ip,
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let address = SocketAddr::new(ip, address.port());
        listen_at(address).with_context(|| {
            format!("listening on {address} for users and peers (--node-ip, --node-ipv6, --service-port)")
        })
    });
    listeners.collect()
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            // IPv4 has a listener of its own.
            set_ipv6_v6only(&socket, true)?;
            socket
        }
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

fn warn_of_strange_address(config: &Config, host: &Host) {
    for told in config.service.addresses() {
        let address = told.ip();
        if !host.addresses(&config.interface).contains(&address) {
            warn!(%address, interface = config.interface, "The interface has no such address; see --node-ip, --node-ipv6");
        }
    }
}
