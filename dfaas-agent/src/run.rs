//! `dfaas-agent run`: from a configuration to a running node.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use dfaas_control::{Control, NodeId};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::{
    adviser::Adviser,
    agent::{Agent, Sources},
    api, clock,
    config::{Config, Host, ProxyChoice},
    data_plane::{self, DataPlane},
    haproxy::{Program, Proxy, ProxyConfig, Service},
    identity,
    mind::Mind,
    overlay::{self, OverlayConfig},
    platform::Platform,
    recording::Recorder,
};

/// Runs a node until a signal says to stop.
///
/// # Errors
/// What keeps the node from starting, before the data plane is attached wherever it can be known before.
pub(crate) async fn run(config: Config, host: &Host) -> Result<()> {
    let interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    refuse_unfit_host(&config)?;
    warn_of_strange_address(&config, host);
    let helper = helper(&config.proxy)?;
    let keypair = identity::load_or_create(&config.key_file)?;
    let node = identity::node_id(&keypair);
    let api = api::bind(config.api).await?;
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
    let settings = config.settings(node.clone(), clock::unix_ms());
    let start = clock::now();
    let recorder = config.record.as_deref();
    let recorder = recorder
        .map(|path| Recorder::create(path, &settings, start))
        .transpose()?;
    let data_plane = DataPlane::attach(&config.data_plane(node.clone()), clock::now())?;
    let control = Mind::new(Control::new(settings.clone(), start), recorder);
    let proxy = start_proxy(helper, &config, &node);
    info!(%node, strategy = %config.strategy, service = %config.service, api = %config.api, "Running");
    let (adviser, answers) = Adviser::new(config.services.clone(), config.period);
    let sources = Sources {
        answers,
        overlay: overlay_events,
        platform: Platform::new(&config.platform, settings).start(),
        questions: api::start(api),
        interrupt,
        terminate,
    };
    Agent::new(config, node, control, data_plane, proxy, overlay, adviser)
        .run(sources)
        .await
}

/// Refuses what `dfaas-agent check` would refuse.
fn refuse_unfit_host(config: &Config) -> Result<()> {
    let findings = data_plane::check(Some(&config.interface), config.functions_port);
    let failures = findings
        .into_iter()
        .filter_map(|finding| Some((finding.subject, finding.result.err()?)));
    let lines: Vec<String> = failures
        .map(|(subject, text)| format!("{subject}: {text}"))
        .collect();
    if !lines.is_empty() {
        bail!("{}", lines.join("\n"));
    }
    Ok(())
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

fn start_proxy(helper: Result<Service, String>, config: &Config, node: &NodeId) -> Proxy {
    match helper {
        Ok(service) => {
            let config = ProxyConfig {
                bind: config.proxy_bind,
                functions_port: config.functions_port,
                service,
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

fn warn_of_strange_address(config: &Config, host: &Host) {
    let told = [
        Some(IpAddr::V4(*config.service.ip())),
        config.service.ipv6().map(IpAddr::V6),
    ];
    for address in told.into_iter().flatten() {
        if !host.addresses(&config.interface).contains(&address) {
            warn!(%address, interface = config.interface, "The interface has no such address; see --node-ip, --node-ipv6");
        }
    }
}
