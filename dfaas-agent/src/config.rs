//! What the operator decides: taken as text from flags and environment, then checked as a whole.

mod data_plane;
mod discovery;
mod guard;
mod host;
mod layers;
mod mistakes;
mod neighbours;
mod overlay;
mod overlay_tuning;
mod pairing;
mod platform;
mod proxy;
mod relay;
mod strategy;

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::PathBuf,
    time::Duration,
};

use dfaas_control::{
    MarginSettings, Neighbourhood, NodeId, ServiceAddress, Settings, SettingsError, StrategyKind, Tokenless,
};
use libp2p::{Multiaddr, pnet::PreSharedKey};

pub(crate) use self::{
    data_plane::{DataPlaneOptions, InterfaceOptions, PinOptions},
    host::Host,
    layers::Layers,
    mistakes::{Kind, Mistakes},
    overlay::{KeyOptions, MeetingOptions},
    proxy::{ProxyChoice, ProxyOptions},
    strategy::Services,
};
use self::{
    overlay::OverlayOptions, pairing::PairingOptions, platform::PlatformOptions, strategy::StrategyOptions,
};
use crate::{
    data_plane::{DataPlaneConfig, GuardMode, ProgramLevel},
    go_duration,
    overlay::{BehindNat, Discovery, RelayLimits, Tuning},
    plane::PlaneChoice,
    platform::PlatformConfig,
};

/// Everything that `dfaas-agent run` is told, as text.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// A TOML file of options by their names without dashes in front [default: /etc/dfaas/agent.toml, if it is there].
    /// Flags go before DFAAS_* variables, these before AGENT_* variables, these before the file
    #[arg(long, env = "AGENT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Log more
    #[arg(long, env = "AGENT_DEBUG", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true")]
    debug: String,
    /// Whether lines of the log begin with the time
    #[arg(long, env = "AGENT_LOG_DATETIME", value_name = "BOOL", default_value = "true")]
    log_datetime: String,
    /// Whether the log has colours: true, false, or auto for on a terminal
    #[arg(long, env = "AGENT_LOG_COLORS", value_name = "BOOL", default_value = "auto")]
    log_colors: String,
    #[command(flatten)]
    overlay: OverlayOptions,
    /// How often peers are told about this node, as in 1m30s, 500ms or 30 (seconds)
    #[arg(
        long,
        env = "AGENT_RECALC_PERIOD",
        value_name = "DURATION",
        default_value = "1s"
    )]
    recalc_period: String,
    #[command(flatten)]
    strategy: StrategyOptions,
    /// The capacity in requests per second of functions without a usable label dfaas.maxrate
    #[arg(
        long,
        env = "AGENT_DEFAULT_MAXRATE",
        value_name = "RATE",
        default_value = "100"
    )]
    default_maxrate: String,
    /// Write all that the agent decides from into a new file, as JSON lines; `dfaas-agent replay` reads it
    #[arg(long, env = "AGENT_RECORD", value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    pairing: PairingOptions,
    #[command(flatten)]
    platform: PlatformOptions,
    #[command(flatten)]
    pub(crate) data_plane: DataPlaneOptions,
    #[command(flatten)]
    proxy: ProxyOptions,
    #[command(flatten)]
    pub(crate) api: ApiOptions,
}

/// The file of options, for commands that need a few of those of `run`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FileOptions {
    /// A TOML file of the options of `run`, of which this command takes those that it shares [default: /etc/dfaas/agent.toml,
    /// if it is there]
    #[arg(long, env = "AGENT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Where the agent tells about itself.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ApiOptions {
    /// Where the agent tells how it is: /healthz, /livez, /metrics, /status, /strategy, /explain
    #[arg(
        long,
        env = "AGENT_API_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:8070"
    )]
    api: String,
}

/// Everything that `dfaas-agent run` is told, checked.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) debug: bool,
    pub(crate) log: LogStyle,
    pub(crate) listen: Vec<Multiaddr>,
    pub(crate) key_file: PathBuf,
    pub(crate) state_dir: PathBuf,
    pub(crate) swarm_key: Option<PreSharedKey>,
    pub(crate) bootstrap: Vec<Multiaddr>,
    pub(crate) mdns: bool,
    pub(crate) discovery: Option<Discovery>,
    pub(crate) behind_nat: BehindNat,
    pub(crate) relay: Option<RelayLimits>,
    pub(crate) tuning: Tuning,
    pub(crate) topic: String,
    pub(crate) platform: PlatformConfig,
    pub(crate) api: SocketAddr,
    pub(crate) strategy: StrategyKind,
    pub(crate) services: Services,
    pub(crate) period: Duration,
    pub(crate) record: Option<PathBuf>,
    pub(crate) plane: PlaneChoice,
    pub(crate) interface: String,
    pub(crate) service: ServiceAddress,
    pub(crate) functions_port: u16,
    pub(crate) proxy: ProxyChoice,
    /// Where HAProxy takes connections.
    pub(crate) proxy_bind: SocketAddrV4,
    pub(crate) admitted_file: Option<PathBuf>,
    data_plane: data_plane::Rest,
    token_rotation: Duration,
    tokenless: Tokenless,
    shadow: Option<StrategyKind>,
    neighbourhood: Neighbourhood,
    node_margin: MarginSettings,
    default_capacity_rps: f64,
}

/// What is said of a federation that everybody may join.
pub(crate) const OPEN: &str = "THE FEDERATION IS OPEN: whoever finds this node may join, is sent the bodies of your users' \
    requests, and takes part of your capacity; `dfaas-agent federation new` makes a key that keeps strangers out \
    (--swarm-key-file), and --admitted-peers-file names who may take part";

/// How lines of the log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogStyle {
    pub(crate) has_time: bool,
    /// Absent for on a terminal.
    pub(crate) has_colors: Option<bool>,
}

/// What the core is told, as far as it could be read.
struct CoreOptions {
    period: Option<Duration>,
    pairing: pairing::Section,
    default_capacity_rps: Option<f64>,
}

impl Config {
    /// Checks everything that can be known before anything is opened.
    ///
    /// # Errors
    /// All mistakes at once.
    pub(crate) fn check(options: &Options, host: &Host) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let debug = mistakes.take("--debug", boolean(&options.debug));
        let log = options.check_log(&mut mistakes);
        let data_plane = options.data_plane.check(host, &mut mistakes);
        let core = options.check_core(data_plane.as_ref().map(|section| section.service), &mut mistakes);
        let period = core.period.unwrap_or_default();
        let overlay = options.overlay.check(period, &mut mistakes);
        let platform = options.platform.check(period, &mut mistakes);
        let functions_port = data_plane.as_ref().map(|section| section.functions_port);
        let proxy = options.proxy.check(functions_port, &mut mistakes);
        if let (Some(PlaneChoice::Haproxy), Some(ProxyChoice::Off)) = (
            data_plane.as_ref().map(|section| section.choice),
            proxy.as_ref().map(|section| &section.choice),
        ) {
            let text = "the data plane is HAProxy (--data-plane); one of both has to change";
            mistakes.note(Kind::Usage, "--haproxy", text);
        }
        let api = options.api.take(&mut mistakes);
        let strategy = options.strategy.check(core.period, &mut mistakes);
        let sections = (debug.zip(log), overlay, data_plane, platform, proxy, api);
        let admitted_file = core.pairing.admitted_file;
        let pairing = (core.pairing.rotation, core.pairing.tokenless);
        let core = (core.period, strategy, core.default_capacity_rps);
        let (
            (Some((debug, log)), Some(overlay), Some(data_plane), Some(platform), Some(proxy), Some(api)),
            (Some(period), Some(strategy), Some(rate)),
            (Some(token_rotation), Some(tokenless)),
        ) = (sections, core, pairing)
        else {
            return Err(mistakes);
        };
        mistakes.none_or_else(Self {
            debug,
            log,
            listen: overlay.listen,
            key_file: overlay.key_file,
            state_dir: overlay.state_dir,
            swarm_key: overlay.swarm_key,
            bootstrap: overlay.bootstrap,
            mdns: overlay.mdns,
            discovery: overlay.discovery,
            behind_nat: overlay.behind_nat,
            relay: overlay.relay,
            tuning: overlay.tuning,
            topic: overlay.topic,
            platform,
            api,
            strategy: strategy.strategy,
            services: strategy.services,
            period,
            record: options.record.clone().filter(|path| !path.as_os_str().is_empty()),
            plane: data_plane.choice,
            interface: data_plane.interface,
            service: data_plane.service,
            functions_port: data_plane.functions_port,
            proxy: proxy.choice,
            proxy_bind: proxy.bind,
            admitted_file,
            data_plane: data_plane.rest,
            token_rotation,
            tokenless,
            shadow: strategy.shadow,
            neighbourhood: strategy.neighbourhood,
            node_margin: strategy.node_margin,
            default_capacity_rps: rate,
        })
    }

    /// What the core has to know.
    pub(crate) fn settings(&self, node: NodeId, incarnation: u64) -> Settings {
        Settings {
            node,
            incarnation,
            service: self.service,
            period: self.period,
            strategy: self.strategy,
            token_rotation: self.token_rotation,
            tokenless: self.tokenless.clone(),
            shadow: self.shadow,
            neighbourhood: self.neighbourhood.clone(),
            default_capacity_rps: self.default_capacity_rps,
            node_margin: self.node_margin.clone(),
        }
    }

    /// Whether everybody may take part who finds this node.
    pub(crate) const fn is_open(&self) -> bool {
        self.swarm_key.is_none() && self.admitted_file.is_none()
    }

    /// Whether the guard is wanted.
    pub(crate) fn guard_mode(&self) -> GuardMode {
        self.data_plane.guard.mode
    }

    /// Up to which level the programs log.
    pub(crate) fn program_level(&self) -> ProgramLevel {
        self.data_plane.log
    }

    /// How long programs and HAProxy deal with peers without an agent.
    pub(crate) fn unattended(&self) -> Duration {
        self.data_plane.unattended
    }

    /// What the data plane has to know.
    pub(crate) fn data_plane(&self, node: NodeId) -> DataPlaneConfig {
        DataPlaneConfig {
            interface: self.interface.clone(),
            address: *self.service.ip(),
            address_ipv6: self.service.ipv6(),
            port: self.service.port(),
            functions_port: self.functions_port,
            node,
            data_in_syn: self.data_plane.data_in_syn,
            nat_ports: self.data_plane.nat_ports,
            idle_timeout: self.data_plane.idle_timeout,
            flows_max: self.data_plane.flows_max,
            guard: self.data_plane.guard.clone(),
            log: self.data_plane.log,
            pins: self.data_plane.pins.clone(),
            unattended: self.data_plane.unattended,
        }
    }
}

impl Options {
    fn check_log(&self, mistakes: &mut Mistakes) -> Option<LogStyle> {
        let has_time = mistakes.take("--log-datetime", boolean(&self.log_datetime));
        let has_colors = match self.log_colors.trim() {
            "auto" => Some(None),
            text => mistakes.take("--log-colors", boolean(text).map(Some)),
        };
        Some(LogStyle {
            has_time: has_time?,
            has_colors: has_colors?,
        })
    }

    fn check_core(&self, service: Option<ServiceAddress>, mistakes: &mut Mistakes) -> CoreOptions {
        let core = CoreOptions {
            period: mistakes.take("--recalc-period", go_duration::parse(&self.recalc_period)),
            pairing: self.pairing.check(mistakes),
            default_capacity_rps: mistakes.take("--default-maxrate", rate(&self.default_maxrate)),
        };
        // What could not be read is told already, and must not hide what the core says about the rest.
        let settings = Settings {
            node: NodeId::new("self").expect("this is visible ASCII"),
            incarnation: 0,
            service: service.unwrap_or(ServiceAddress::new(Ipv4Addr::new(192, 0, 2, 1), 80)),
            period: core.period.unwrap_or(Duration::from_secs(1)),
            strategy: StrategyKind::WaterFilling,
            shadow: None,
            neighbourhood: Neighbourhood::default(),
            token_rotation: core.pairing.rotation.unwrap_or(Duration::from_secs(600)),
            tokenless: Tokenless::default(),
            default_capacity_rps: core.default_capacity_rps.unwrap_or_default(),
            node_margin: MarginSettings::default(),
        };
        for error in settings.errors() {
            let flag = match error {
                SettingsError::Period(_) => "--recalc-period",
                SettingsError::TokenRotation(_) => "--token-rotation",
                SettingsError::DefaultCapacity(_) => "--default-maxrate",
                SettingsError::Limits(_) => "--nms-cpu-threshold, --nms-ram-threshold, --nms-power-threshold",
                SettingsError::Service(_) => "--node-ip, --node-ipv6, --service-port",
            };
            mistakes.note(Kind::Usage, flag, error);
        }
        core
    }
}

impl ApiOptions {
    /// The address, for whoever needs nothing else.
    ///
    /// # Errors
    /// A text that is no address.
    pub(crate) fn check(&self) -> Result<SocketAddr, Mistakes> {
        let mut mistakes = Mistakes::default();
        let address = self.take(&mut mistakes);
        address.ok_or(mistakes)
    }

    fn take(&self, mistakes: &mut Mistakes) -> Option<SocketAddr> {
        let wrong = |_| format!("{:?} is not an address such as 127.0.0.1:8070", self.api);
        mistakes.take("--api", self.api.parse().map_err(wrong))
    }
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" | "" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("{text:?} is not a number of requests per second"))
}

fn number(text: &str) -> Result<u32, String> {
    let wrong = |_| format!("{text:?} is not a whole number");
    text.trim().parse().map_err(wrong)
}

fn port(text: &str) -> Result<u16, String> {
    match text.trim().parse() {
        Ok(0) | Err(_) => Err(format!("{text:?} is not a port (1 to 65535)")),
        Ok(port) => Ok(port),
    }
}

#[cfg(test)]
mod tests;
