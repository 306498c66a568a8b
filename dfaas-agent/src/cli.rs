//! The command line.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{self, IsTerminal, Write},
    net::IpAddr,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result, anyhow, bail};
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use dfaas_control::{FunctionName, StrategyKind};
use hyper::StatusCode;
use libp2p::Multiaddr;
use rustix::process::Signal;
use serde_json::Value;
use tokio::runtime::Builder;
use tracing::warn;
use tracing_subscriber::EnvFilter;

use crate::{
    agent,
    api::{self, changes},
    config::{
        ApiOptions, Config, DataPlaneOptions, FileOptions, Host, InterfaceOptions, KeyOptions, Layers,
        MeetingOptions, Mistakes, Options, PinOptions, ProxyOptions,
    },
    data_plane::{self, Finding},
    federation::{self, Files, Invitation},
    haproxy::{self, Entrance, Program},
    http_client::{HttpClient, TIMEOUT},
    identity, manual,
    netns::InsideOptions,
    plane::PlaneChoice,
    recording,
    run::{self, Outside},
    state_lock, status_table,
};

/// `EX_USAGE` of sysexits.h.
const WRONG_USAGE: u8 = 64;
/// The loop has the main thread; these are for the overlay and the API.
const WORKER_THREADS: usize = 2;

/// Joins this host's functions with those of its peers.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Attach the data plane and work until SIGTERM
    Run(Box<Options>),
    /// Look at the configuration
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Tell whether this host can run the agent
    Check {
        #[command(flatten)]
        interface: InterfaceOptions,
        #[command(flatten)]
        file: FileOptions,
    },
    /// Print the configuration for a HAProxy that is not the agent's to start (--haproxy-socket)
    HaproxyConfig {
        #[command(flatten)]
        data_plane: Box<DataPlaneOptions>,
        #[command(flatten)]
        proxy: ProxyOptions,
        #[command(flatten)]
        file: FileOptions,
    },
    /// Tell what the running agent does
    Status {
        #[command(flatten)]
        ask: AskOptions,
        /// Print the API's answer as it is
        #[arg(long)]
        json: bool,
        /// Only tell whether the node is ready, by the exit code too: for probes of containers
        #[arg(long, conflicts_with = "json")]
        ready: bool,
    },
    /// Tell why requests for a function go where they go
    Explain {
        /// The function's name
        function: String,
        #[command(flatten)]
        ask: AskOptions,
    },
    /// Tell which strategy decides, or let another one take over
    Strategy {
        /// The strategy that is to take over
        name: Option<String>,
        #[command(flatten)]
        ask: AskOptions,
    },
    /// Tell what was decided from a recording (run --record), or what another strategy would have
    Replay {
        /// The recording
        file: PathBuf,
        /// The strategy to try
        #[arg(long, value_name = "NAME")]
        strategy: Option<StrategyKind>,
        /// Write the decisions into maps of their own too, and tell how long each took (needs root)
        #[arg(long)]
        maps: bool,
    },
    /// Found a private federation, invite others to it, or join one
    Federation {
        #[command(subcommand)]
        action: FederationAction,
    },
    /// End the running agent as SIGTERM does
    Stop {
        #[command(flatten)]
        key: KeyOptions,
        #[command(flatten)]
        file: FileOptions,
        /// Leave what steers at work for the next agent (SIGUSR1)
        #[arg(long)]
        keep: bool,
    },
    /// Take away what agents have left that are gone: pins, programs, HAProxy, changed settings (needs root)
    Clean {
        #[command(flatten)]
        pins: PinOptions,
        #[command(flatten)]
        inside: InsideOptions,
        #[command(flatten)]
        file: FileOptions,
    },
    /// Write man pages and completions of shells into a folder, for packages
    #[command(hide = true)]
    Manual {
        /// The folder, which is made
        folder: PathBuf,
    },
    /// Print the identity of this node
    Id {
        #[command(flatten)]
        key: KeyOptions,
        #[command(flatten)]
        file: FileOptions,
        /// Make the key if there is none
        #[arg(long)]
        create: bool,
    },
}

/// Which agent is asked.
#[derive(Debug, clap::Args)]
struct AskOptions {
    #[command(flatten)]
    api: ApiOptions,
    #[command(flatten)]
    inside: InsideOptions,
    #[command(flatten)]
    file: FileOptions,
}

#[derive(Debug, Subcommand)]
enum FederationAction {
    /// Make the key that keeps strangers out, and print an invitation: one line that holds the key
    New {
        #[command(flatten)]
        meeting: MeetingOptions,
        #[command(flatten)]
        file: FileOptions,
    },
    /// Print an invitation to the federation of this node
    Invite {
        #[command(flatten)]
        meeting: MeetingOptions,
        #[command(flatten)]
        file: FileOptions,
    },
    /// Take an invitation: from now on this node meets who has the same key, and nobody else
    Join {
        /// The line that `federation new` or `federation invite` has printed
        invitation: String,
        #[command(flatten)]
        key: KeyOptions,
        #[command(flatten)]
        file: FileOptions,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigAction {
    /// Print all options of `run` as a file, each with where it comes from
    Show(Box<Options>),
}

/// Does what a command line and the environment say.
pub(crate) fn main(arguments: Vec<OsString>, environment: &BTreeMap<String, String>) -> ExitCode {
    let command = Args::command();
    let layers = Layers::merge(&command, arguments, environment);
    let matches = match command.clone().try_get_matches_from(&layers.arguments) {
        Ok(matches) => matches,
        Err(answer) => return answer_usage(&answer),
    };
    match Args::from_arg_matches(&matches) {
        Ok(args) => run(args, layers, &matches),
        Err(answer) => answer_usage(&answer),
    }
}

fn run(args: Args, layers: Layers, matches: &ArgMatches) -> ExitCode {
    let result = match args.command {
        Command::Run(options) => run_node(&options, layers),
        Command::Config {
            action: ConfigAction::Show(options),
        } => show_config(&options, layers, matches),
        _ if !layers.mistakes.is_empty() => Err(layers.mistakes.into()),
        Command::Check { interface, .. } => check(&interface),
        Command::HaproxyConfig {
            data_plane, proxy, ..
        } => haproxy_config(&data_plane, &proxy),
        Command::Status { ask, ready: true, .. } => ready(&ask),
        Command::Status { ask, json, .. } => status(&ask, json),
        Command::Explain { function, ask } => explain(&ask, &function),
        Command::Strategy { name, ask } => strategy(&ask, name),
        Command::Replay { file, strategy, maps } => recording::replay(&file, strategy, maps, &mut print),
        Command::Federation { action } => federate(&action),
        Command::Stop { key, keep: false, .. } => state_lock::end_holder(&key.state_dir, Signal::TERM),
        Command::Stop { key, keep: true, .. } => state_lock::end_holder(&key.state_dir, Signal::USR1),
        Command::Clean { pins, inside, .. } => clean(&pins, &inside),
        Command::Manual { folder } => manual::write(&Args::command(), &folder),
        Command::Id { key, create, .. } => id(&key, create),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in format!("{error:#}").lines() {
                eprintln!("dfaas-agent: {line}");
            }
            let is_usage = error.downcast_ref().is_some_and(Mistakes::has_wrong_usage);
            if is_usage {
                ExitCode::from(WRONG_USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Prints help and version, or what was wrong with the command line.
fn answer_usage(answer: &clap::Error) -> ExitCode {
    // Nobody is left to be told that the terminal is gone.
    let _ = answer.print();
    if answer.use_stderr() {
        ExitCode::from(WRONG_USAGE)
    } else {
        ExitCode::SUCCESS
    }
}

fn run_node(options: &Options, layers: Layers) -> Result<()> {
    let outside = leave(options)?;
    let host = Host::read()?;
    let config = checked(options, &host, layers.mistakes)?;
    start_log(&config);
    for warning in layers.warnings {
        warn!("{warning}");
    }
    block_on(run::run(config, &host, outside))?
}

/// Enters the network namespace of a node that is served from outside, once the API has its listener: what runs in a
/// container must not reach that. Threads are in the namespace of whoever starts them, so there must be no other yet.
fn leave(options: &Options) -> Result<Option<Outside>> {
    let Some(netns) = options.data_plane.interface.netns.open()? else {
        return Ok(None);
    };
    let api = api::bind(options.api.check()?)?;
    netns.enter()?;
    Ok(Some(Outside { netns, api }))
}

/// The configuration, or what is wrong with it in all layers.
fn checked(options: &Options, host: &Host, mistakes: Mistakes) -> Result<Config, Mistakes> {
    match Config::check(options, host) {
        Ok(config) if mistakes.is_empty() => Ok(config),
        Ok(_) => Err(mistakes),
        Err(more) => Err(mistakes.and(more)),
    }
}

fn show_config(options: &Options, mut layers: Layers, matches: &ArgMatches) -> Result<()> {
    print(&layers.show(&Args::command(), matches))?;
    for warning in &layers.warnings {
        eprintln!("dfaas-agent: {warning}");
    }
    options.data_plane.interface.netns.enter()?;
    checked(options, &Host::read()?, std::mem::take(&mut layers.mistakes))?;
    Ok(())
}

/// The DHT warns of what is no trouble, such as that nobody is known at the start.
fn start_log(config: &Config) {
    let default = if config.debug {
        "info,libp2p_kad=error,dfaas_agent=debug"
    } else {
        "warn,libp2p_kad=error,dfaas_agent=info"
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let of_programs = config.program_level().directive();
    let filter = of_programs
        .and_then(|directive| directive.parse().ok())
        .into_iter()
        .fold(filter, EnvFilter::add_directive);
    let has_colors = config.log.has_colors;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(has_colors.unwrap_or_else(|| io::stderr().is_terminal() && !refuses_colors()))
        .with_writer(io::stderr);
    if config.log.has_time {
        log.init();
    } else {
        log.without_time().init();
    }
}

/// https://no-color.org: any value but the empty one.
fn refuses_colors() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

fn check(options: &InterfaceOptions) -> Result<()> {
    options.netns.enter()?;
    let (choice, interface, functions_port) = options.check(&Host::read()?)?;
    let kernel = || data_plane::check(interface.as_deref(), functions_port);
    match choice {
        PlaneChoice::Kernel => judge(kernel(), helping_haproxy()),
        PlaneChoice::Haproxy => judge(data_plane::check_without_kernel(functions_port), haproxy_alone()),
        PlaneChoice::Auto => {
            let kernel = kernel();
            if kernel.iter().all(|finding| finding.result.is_ok()) {
                return judge(kernel, helping_haproxy());
            }
            print(
                &kernel
                    .iter()
                    .map(|finding| line(finding, "no"))
                    .collect::<String>(),
            )?;
            print("What is missing is for the kernel's data plane. HAProxy alone:\n")?;
            judge(data_plane::check_without_kernel(functions_port), haproxy_alone())
        }
    }
}

/// Prints what was found, and tells whether anything is missing.
fn judge(mut findings: Vec<Finding>, haproxy: Result<String, String>) -> Result<()> {
    findings.push(Finding {
        subject: "haproxy",
        result: haproxy,
    });
    let failures = findings.iter().filter(|finding| finding.result.is_err()).count();
    print(
        &findings
            .iter()
            .map(|finding| line(finding, "FAIL"))
            .collect::<String>(),
    )?;
    match failures {
        0 => Ok(()),
        1 => bail!("one thing is missing"),
        failures => bail!("{failures} things are missing"),
    }
}

fn haproxy_alone() -> Result<String, String> {
    let needed = Program::needed();
    needed
        .map(|program| program.to_string())
        .map_err(|error| format!("{error:#}"))
}

/// The kernel does without HAProxy, so nothing here is a failure.
fn helping_haproxy() -> Result<String, String> {
    Ok(match Program::find() {
        Ok(Some(program)) => program.to_string(),
        Ok(None) => "not found; uploads in chunks and upgrades will be refused (install haproxy)".to_owned(),
        Err(error) => format!("of no use: {error:#}"),
    })
}

fn haproxy_config(data_plane: &DataPlaneOptions, proxy: &ProxyOptions) -> Result<()> {
    data_plane.interface.netns.enter()?;
    let (functions_port, service) = data_plane.listeners(&Host::read()?)?;
    let (control, helper_bind) = proxy.adopted(functions_port)?;
    let entrances = match service {
        Some(service) => service.addresses().map(Entrance::Address).collect(),
        None => haproxy::helping_entrances(helper_bind),
    };
    let map = control.with_file_name(haproxy::MAP_NAME);
    let shown = map.display();
    let note = format!("# The map has to exist before HAProxy starts, and may be empty: touch {shown}\n");
    let settings = haproxy::Settings {
        entrances,
        functions_port,
        control,
        map,
    };
    print(&(note + &haproxy::configuration(&settings)))
}

fn line(finding: &Finding, bad: &str) -> String {
    let (verdict, text) = match &finding.result {
        Ok(text) => ("ok", text),
        Err(text) => (bad, text),
    };
    format!("{verdict:<4}  {:<11}  {text}\n", finding.subject)
}

fn status(agent: &AskOptions, json: bool) -> Result<()> {
    let text = ask_agent(agent, "/status")?;
    if json {
        return print(&text);
    }
    let status: Value = serde_json::from_str(&text).context("reading the agent's answer")?;
    print(&status_table::render(&status))
}

/// Prints what readiness depends on; a failure if the node is not ready.
fn ready(agent: &AskOptions) -> Result<()> {
    print(&ask_agent(agent, "/healthz")?)
}

fn explain(agent: &AskOptions, function: &str) -> Result<()> {
    let function =
        FunctionName::new(function).with_context(|| format!("{function:?} is no function's name"))?;
    print(&ask_agent(agent, &format!("/explain/{function}"))?)
}

fn strategy(agent: &AskOptions, name: Option<String>) -> Result<()> {
    let text = match name {
        Some(name) => change_agent(agent, "/strategy", name)?,
        None => ask_agent(agent, "/strategy")?,
    };
    print(&text)
}

/// Asks the running agent, and returns what it answers.
fn ask_agent(agent: &AskOptions, path: &str) -> Result<String> {
    let address = agent.api.check()?;
    agent.inside.enter()?;
    let url = format!("http://{address}{path}");
    let exchange = async { HttpClient::new().get(&url, None).await };
    let (status, body) = block_on(exchange)?.context(where_to_look(agent))?;
    said(status, &body)
}

/// Has the running agent change something, and returns what it answers.
fn change_agent(agent: &AskOptions, path: &str, body: String) -> Result<String> {
    let address = agent.api.check()?;
    agent.inside.enter()?;
    let exchange = async { changes::ask(address, path, body, TIMEOUT).await };
    let (status, body) = block_on(exchange)?.context(where_to_look(agent))?;
    said(status, &body)
}

fn where_to_look(agent: &AskOptions) -> &'static str {
    if agent.inside.is_given() {
        "is the agent running in there? one that serves it from outside is asked without --netns"
    } else {
        "is the agent running? see --api"
    }
}

fn said(status: StatusCode, body: &[u8]) -> Result<String> {
    let text = String::from_utf8_lossy(body).into_owned();
    if !status.is_success() {
        bail!("the agent answers {status}: {}", text.trim_end());
    }
    Ok(text)
}

fn clean(pins: &PinOptions, inside: &InsideOptions) -> Result<()> {
    inside.enter()?;
    let root = pins.check().map_err(|error| anyhow!("--pins: {error}"))?;
    let cleaned = data_plane::clean(root.as_deref())?;
    let of_haproxy = haproxy::clean(&cleaned.busy);
    for line in cleaned.removed.iter().chain(&of_haproxy) {
        print(&format!("took away  {line}\n"))?;
    }
    for name in &cleaned.busy {
        print(&format!("left       {name}: its agent runs\n"))?;
    }
    Ok(())
}

fn federate(action: &FederationAction) -> Result<()> {
    match action {
        FederationAction::New { meeting, .. } => {
            let key = agent::random()?;
            invite(federation::found(
                &Files::of(&meeting.key.state_dir),
                key,
                dialled_at(meeting)?,
            )?)
        }
        FederationAction::Invite { meeting, .. } => {
            let files = Files::of(&meeting.key.state_dir);
            invite(federation::invite(&files.swarm_key, dialled_at(meeting)?)?)
        }
        FederationAction::Join { invitation, key, .. } => {
            federation::join(&Files::of(&key.state_dir), &Invitation::parse(invitation)?)?;
            print("This node belongs to the federation. Start its agent, or start it again.\n")
        }
    }
}

fn dialled_at(meeting: &MeetingOptions) -> Result<Vec<Multiaddr>> {
    let keypair = identity::load_or_create(&meeting.key.file())?;
    let interfaces = if_addrs::get_if_addrs().context("reading the addresses of this host")?;
    let host: Vec<IpAddr> = interfaces.iter().map(if_addrs::Interface::ip).collect();
    Ok(meeting.addresses(&host, keypair.public().to_peer_id())?)
}

fn invite(invitation: Invitation) -> Result<()> {
    eprintln!(
        "Whoever has this line can join. Start this node's agent again if it runs; others: dfaas-agent federation join LINE"
    );
    print(&format!("{}\n", invitation.text()))
}

fn id(key: &KeyOptions, create: bool) -> Result<()> {
    let file = key.file();
    let keypair = if create {
        identity::load_or_create(&file)?
    } else {
        identity::load(&file)?
    };
    print(&format!("{}\n", identity::node_id(&keypair)))
}

fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .context("starting the Tokio runtime")?;
    let result = runtime.block_on(future);
    // A thread that waits for a name server must not keep the process from ending.
    runtime.shutdown_background();
    Ok(result)
}

/// Prints, and takes a closed pipe for an answer.
fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("writing the answer"),
        Ok(()) | Err(_) => Ok(()),
    }
}
