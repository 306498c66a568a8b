//! Where the agent meets users' traffic.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use clap::ValueEnum;
use dfaas_control::ServiceAddress;

use super::{
    Host,
    guard::GuardOptions,
    mistakes::{Kind, Mistakes},
    port,
};
use crate::{
    data_plane::{DataInSyn, GuardConfig, GuardMode, ProgramLevel},
    go_duration,
    netns::NetnsOptions,
    plane::PlaneChoice,
};

/// The least time after which a silent connection may be forgotten; the kernel's clock for flows ticks in seconds.
const IDLE_TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * 24 * 3600);
/// The agent gives a sign of itself each second, and a busy host may be late.
const UNATTENDED: RangeInclusive<Duration> = Duration::from_secs(3)..=Duration::from_secs(30 * 24 * 3600);
/// Below, the tables whose oldest entries go first would be too small to be kept a part for each CPU; above, they
/// would take more than a gigabyte.
const FLOWS: RangeInclusive<u32> = 1_024..=1_048_576;
/// Ports below are for servers; reserving them would keep programs from starting.
const NAT_PORT_MIN: u16 = 1024;

/// The options that `run` and `check` share.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct InterfaceOptions {
    /// Who steers requests: kernel (eBPF, with HAProxy for what it cannot frame), haproxy (HAProxy alone, without eBPF), or
    /// auto: the kernel where it can, HAProxy otherwise
    #[arg(long, env = "AGENT_DATA_PLANE", value_name = "WHICH", default_value = "auto")]
    data_plane: String,
    /// The interface on which users and peers reach this node [default: that of the default route]
    #[arg(
        long,
        env = "AGENT_INTERFACE",
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    interface: String,
    /// The local port on which the platform serves functions and nothing else
    #[arg(
        long,
        env = "AGENT_FUNCTIONS_PORT",
        value_name = "PORT",
        default_value = "8090"
    )]
    functions_port: String,
    #[command(flatten)]
    pub(crate) netns: NetnsOptions,
}

/// Where what steers is pinned.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PinOptions {
    /// The bpffs in which programs and connections outlive the agent until the next one goes on with them, or off
    #[arg(long, env = "AGENT_PINS", value_name = "PATH", default_value = "/sys/fs/bpf")]
    pins: String,
}

impl PinOptions {
    /// The path, if there is one.
    ///
    /// # Errors
    /// It is none; with what it could be.
    pub(crate) fn check(&self) -> Result<Option<PathBuf>, String> {
        match self.pins.trim() {
            "off" => Ok(None),
            path if path.starts_with('/') => Ok(Some(path.into())),
            text => Err(format!("{text:?} is neither a whole path nor off")),
        }
    }
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DataPlaneOptions {
    #[command(flatten)]
    pub(crate) interface: InterfaceOptions,
    /// The address that peers are told [default: the interface's first IPv4 address]
    #[arg(
        long,
        env = "AGENT_NODE_IP",
        value_name = "ADDR",
        default_value = "",
        hide_default_value = true
    )]
    node_ip: String,
    /// The IPv6 address that peers are told, or off [default: the interface's first that is not of the link, if any]
    #[arg(
        long,
        env = "AGENT_NODE_IPV6",
        value_name = "ADDR",
        default_value = "",
        hide_default_value = true
    )]
    node_ipv6: String,
    /// The port on which users and peers reach functions
    #[arg(long, env = "AGENT_HAPROXY_PORT", value_name = "PORT", default_value = "80")]
    service_port: String,
    /// Where requests may travel in SYNs: never, peers or always
    #[arg(
        long,
        env = "AGENT_DATA_IN_SYN",
        value_name = "WHERE",
        default_value = "peers"
    )]
    data_in_syn: String,
    /// The source ports of forwarded connections; their number is a power of two
    #[arg(
        long,
        env = "AGENT_NAT_PORTS",
        value_name = "FIRST-LAST",
        default_value = "40960-57343"
    )]
    nat_ports: String,
    /// After how long a silent connection is forgotten
    #[arg(
        long,
        env = "AGENT_IDLE_TIMEOUT",
        value_name = "DURATION",
        default_value = "300s"
    )]
    idle_timeout: String,
    #[command(flatten)]
    pins: PinOptions,
    /// How long after the death of the agent its programs go on to deal with peers; later they serve functions of this node
    #[arg(
        long,
        env = "AGENT_UNATTENDED",
        value_name = "DURATION",
        default_value = "30s"
    )]
    unattended: String,
    /// How many clients' connections can be live; a connection takes some 800 bytes of the kernel's memory
    #[arg(
        long,
        env = "AGENT_FLOWS_MAX",
        value_name = "NUMBER",
        default_value = "131072"
    )]
    flows_max: String,
    /// What the eBPF programs tell of requests, in this log: off, error, warn, info (refused ones), debug (all) or trace
    #[arg(long, env = "AGENT_LOG_PROGRAMS", value_name = "LEVEL", default_value = "off")]
    log_programs: String,
    #[command(flatten)]
    guard: GuardOptions,
}

pub(super) struct Section {
    pub(super) choice: PlaneChoice,
    pub(super) interface: String,
    pub(super) service: ServiceAddress,
    pub(super) functions_port: u16,
    pub(super) rest: Rest,
}

/// What only the data plane itself has to know.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    pub(super) data_in_syn: DataInSyn,
    pub(super) nat_ports: (u16, u16),
    pub(super) idle_timeout: Duration,
    pub(super) flows_max: u32,
    pub(super) guard: GuardConfig,
    pub(super) log: ProgramLevel,
    pub(super) pins: Option<PathBuf>,
    pub(super) unattended: Duration,
}

impl InterfaceOptions {
    /// The data plane, the interface and the functions port, checked for `dfaas-agent check`, which says itself what is
    /// missing.
    ///
    /// # Errors
    /// All mistakes at once.
    pub(crate) fn check(&self, host: &Host) -> Result<(PlaneChoice, Option<String>, u16), Mistakes> {
        let mut mistakes = Mistakes::default();
        let choice = mistakes.take("--data-plane", choice(&self.data_plane));
        let functions_port = mistakes.take("--functions-port", port(&self.functions_port));
        let named = Some(self.interface.clone()).filter(|name| !name.is_empty());
        let interface = named.or_else(|| host.default_interface().map(str::to_owned));
        mistakes.none_or_else((
            choice.unwrap_or(PlaneChoice::Auto),
            interface,
            functions_port.unwrap_or_default(),
        ))
    }

    fn existing(&self, host: &Host, mistakes: &mut Mistakes) -> Option<String> {
        const FLAG: &str = "--interface";
        let name = match self.interface.as_str() {
            "" => host.default_interface(),
            name => Some(name),
        };
        let Some(name) = name else {
            let text = format!(
                "there is no default route to choose by; choose one of {}",
                host.names()
            );
            mistakes.note(Kind::Host, FLAG, text);
            return None;
        };
        if !host.has(name) {
            mistakes.note(
                Kind::Host,
                FLAG,
                format!("there is no {name:?}; there are {}", host.names()),
            );
            return None;
        }
        Some(name.to_owned())
    }
}

impl DataPlaneOptions {
    /// The functions port, and the service's address if HAProxy is to listen there, for whoever writes a configuration. One
    /// that helps the kernel is written unless HAProxy alone is asked for.
    ///
    /// # Errors
    /// All mistakes at once.
    pub(crate) fn listeners(&self, host: &Host) -> Result<(u16, Option<ServiceAddress>), Mistakes> {
        let (choice, _, functions_port) = self.interface.check(host)?;
        if choice != PlaneChoice::Haproxy {
            return Ok((functions_port, None));
        }
        let mut mistakes = Mistakes::default();
        match self.check(host, &mut mistakes) {
            Some(section) => mistakes.none_or_else((functions_port, Some(section.service))),
            None => Err(mistakes),
        }
    }

    pub(super) fn check(&self, host: &Host, mistakes: &mut Mistakes) -> Option<Section> {
        let choice = mistakes.take("--data-plane", choice(&self.interface.data_plane));
        let interface = self.interface.existing(host, mistakes);
        let address = self.address(interface.as_deref(), host, mistakes);
        let ipv6 = mistakes.take("--node-ipv6", self.ipv6(interface.as_deref(), host));
        let service_port = mistakes.take("--service-port", port(&self.service_port));
        let functions_port = mistakes.take("--functions-port", port(&self.interface.functions_port));
        let data_in_syn = mistakes.take("--data-in-syn", data_in_syn(&self.data_in_syn));
        let nat_ports = mistakes.take("--nat-ports", nat_ports(&self.nat_ports));
        let idle_timeout = mistakes.take("--idle-timeout", idle_timeout(&self.idle_timeout));
        let pins = mistakes.take("--pins", self.pins.check());
        let unattended = mistakes.take("--unattended", unattended(&self.unattended));
        let flows_max = mistakes.take("--flows-max", flows_max(&self.flows_max));
        let log = mistakes.take("--log-programs", program_level(&self.log_programs));
        let guard = self.guard.check(mistakes);
        if choice == Some(PlaneChoice::Haproxy)
            && guard.as_ref().is_some_and(|guard| guard.mode != GuardMode::Off)
        {
            let text = "HAProxy alone has none: it comes with the kernel's data plane";
            mistakes.note(Kind::Usage, "--guard", text);
        }
        if choice == Some(PlaneChoice::Haproxy) && log.is_some_and(|level| level != ProgramLevel::Off) {
            let text = "HAProxy alone has no programs that log: they come with the kernel's data plane";
            mistakes.note(Kind::Usage, "--log-programs", text);
        }
        Some(Section {
            choice: choice?,
            interface: interface?,
            service: ServiceAddress::new(address?, service_port?).with_ipv6(ipv6?),
            functions_port: functions_port?,
            rest: Rest {
                data_in_syn: data_in_syn?,
                nat_ports: nat_ports?,
                idle_timeout: idle_timeout?,
                flows_max: flows_max?,
                guard: guard?,
                log: log?,
                pins: pins?,
                unattended: unattended?,
            },
        })
    }

    fn address(&self, interface: Option<&str>, host: &Host, mistakes: &mut Mistakes) -> Option<Ipv4Addr> {
        const FLAG: &str = "--node-ip";
        if !self.node_ip.is_empty() {
            let wrong = |_| format!("{:?} is not an IPv4 address", self.node_ip);
            return mistakes.take(FLAG, self.node_ip.parse().map_err(wrong));
        }
        let interface = interface?;
        let first = host.ipv4_addresses(interface).next();
        if first.is_none() {
            let text =
                format!("{interface} has no IPv4 address: give it one, or name the address that peers reach");
            mistakes.note(Kind::Host, FLAG, text);
        }
        first
    }

    fn ipv6(&self, interface: Option<&str>, host: &Host) -> Result<Option<Ipv6Addr>, String> {
        match self.node_ipv6.as_str() {
            "off" => Ok(None),
            "" => {
                Ok(interface.and_then(|name| host.ipv6_addresses(name).find(|address| !is_of_link(address))))
            }
            text => {
                let address = text.parse();
                address
                    .map(Some)
                    .map_err(|_| format!("{text:?} is neither an IPv6 address nor off"))
            }
        }
    }
}

fn is_of_link(address: &Ipv6Addr) -> bool {
    address.is_unicast_link_local()
}

fn choice(text: &str) -> Result<PlaneChoice, String> {
    PlaneChoice::from_str(text.trim(), true)
        .map_err(|_| format!("{text:?} is not one of auto, kernel, haproxy"))
}

fn data_in_syn(text: &str) -> Result<DataInSyn, String> {
    DataInSyn::from_str(text.trim(), true).map_err(|_| format!("{text:?} is not one of never, peers, always"))
}

fn program_level(text: &str) -> Result<ProgramLevel, String> {
    ProgramLevel::from_str(text.trim(), true)
        .map_err(|_| format!("{text:?} is not one of off, error, warn, info, debug, trace"))
}

fn nat_ports(text: &str) -> Result<(u16, u16), String> {
    let ports = text
        .split_once('-')
        .and_then(|(first, last)| Some((port(first).ok()?, port(last).ok()?)));
    let Some((first, last)) = ports.filter(|(first, last)| first <= last) else {
        return Err(format!("{text:?} is not a range of ports such as 40960-57343"));
    };
    let count = u32::from(last - first) + 1;
    if !count.is_power_of_two() {
        return Err(format!(
            "{text} are {count} ports; their number must be a power of two, as in 40960-57343"
        ));
    }
    if first < NAT_PORT_MIN {
        return Err(format!(
            "{text} starts below {NAT_PORT_MIN}, where servers listen"
        ));
    }
    Ok((first, last))
}

fn unattended(text: &str) -> Result<Duration, String> {
    let time = go_duration::parse(text).map_err(|error| error.to_string())?;
    if !UNATTENDED.contains(&time) {
        return Err(format!(
            "{text} is not between {:?} and {:?}",
            UNATTENDED.start(),
            UNATTENDED.end()
        ));
    }
    Ok(time)
}

fn flows_max(text: &str) -> Result<u32, String> {
    let number = text.trim().parse().ok();
    number.filter(|number| FLOWS.contains(number)).ok_or_else(|| {
        format!(
            "{text:?} is not a number from {} to {}",
            FLOWS.start(),
            FLOWS.end()
        )
    })
}

fn idle_timeout(text: &str) -> Result<Duration, String> {
    let timeout = go_duration::parse(text).map_err(|error| error.to_string())?;
    if !IDLE_TIMEOUTS.contains(&timeout) {
        return Err(format!(
            "{text} is not between {:?} and {:?}",
            IDLE_TIMEOUTS.start(),
            IDLE_TIMEOUTS.end()
        ));
    }
    Ok(timeout)
}
