//! The command line, and what it starts.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{CommandFactory, Parser, Subcommand};
use dfaas_provider::{Config, Credentials, Deployment, FunctionUser, Gateway, Outcome, Provider};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::{manual, supervisor::Supervisor};

/// An OpenFaaS-compatible function platform whose functions are local processes.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Deploy the functions of a stack file to a running gateway
    Deploy(Deploy),
    /// Write man pages and completions of shells into a folder, for packages
    #[command(hide = true)]
    Manual {
        /// The folder, which is made
        folder: PathBuf,
    },
    /// Recognise the text of the image on the standard input
    #[command(hide = true)]
    Ocr,
    /// Kill the process groups that a killed provider leaves behind
    #[command(hide = true)]
    Guard,
    /// Serve as a warm function
    #[command(hide = true)]
    WarmEcho {
        #[arg(long, env = "PORT")]
        port: u16,
    },
}

#[derive(clap::Args)]
struct Serve {
    /// Where to serve the whole OpenFaaS API
    #[arg(
        long,
        value_name = "ADDR",
        env = "DFAAS_GATEWAY",
        default_value = "127.0.0.1:8080"
    )]
    gateway: SocketAddr,
    /// Where to serve calls of functions and nothing else; at 127.0.0.1, also at [::1]
    #[arg(
        long,
        value_name = "ADDR",
        env = "DFAAS_FUNCTIONS",
        default_value = "127.0.0.1:8090"
    )]
    functions: SocketAddr,
    /// The name of this node in X-Served-By [default: the host's name]
    #[arg(long, value_name = "NAME", env = "DFAAS_NODE_NAME")]
    node_name: Option<String>,
    /// Where functions, secrets and namespaces are kept
    #[arg(
        long,
        value_name = "DIR",
        env = "DFAAS_PROVIDER_STATE_DIR",
        default_value = "/var/lib/dfaas/provider"
    )]
    state_dir: PathBuf,
    /// A stack.yaml whose functions to deploy before the first request
    #[arg(long, value_name = "FILE", env = "DFAAS_STACK")]
    stack: Option<PathBuf>,
    #[command(flatten)]
    credentials: CredentialFiles,
    /// Let a gateway without credentials be reached from other hosts
    #[arg(long, env = "DFAAS_INSECURE")]
    insecure: bool,
    /// How many seconds calls in flight may go on after SIGTERM
    #[arg(long, value_name = "SECONDS", env = "DFAAS_GRACE", default_value_t = 10)]
    grace: u64,
    /// How long a request may be, if its function does not set max_request_bytes
    #[arg(long, value_name = "BYTES", env = "DFAAS_MAX_REQUEST_BYTES", default_value_t = 1 << 30)]
    max_request_bytes: u64,
    /// How many calls may have a process at the same time; more wait up to 10 seconds
    #[arg(long, value_name = "N", env = "DFAAS_MAX_PROCESSES", default_value_t = 256)]
    max_processes: u16,
    /// How many seconds a client may keep silent, send next to nothing, or leave its answer unread
    // Longer than the 90 seconds after which common clients drop idle connections, so that they do not send into one
    // that is just being closed.
    #[arg(long, value_name = "SECONDS", env = "DFAAS_CLIENT_TIMEOUT", default_value_t = 120,
        value_parser = clap::value_parser!(u32).range(1..))]
    client_timeout: u32,
    /// As whom functions run: own (each as a user of its own), same (as the provider), or a user [default: own if root]
    #[arg(long, value_name = "USER", env = "DFAAS_FUNCTION_USER")]
    function_user: Option<FunctionUser>,
    /// Let callbacks of asynchronous calls go to this network, though it is this host's own; may be given several times
    #[arg(
        long,
        value_name = "CIDR",
        env = "DFAAS_CALLBACK_ALLOW",
        value_delimiter = ','
    )]
    callback_allow: Vec<ipnet::IpNet>,
}

#[derive(clap::Args)]
struct CredentialFiles {
    /// A file with the user name that /system asks for
    #[arg(
        long,
        value_name = "FILE",
        env = "DFAAS_BASIC_AUTH_USER_FILE",
        requires = "basic_auth_password_file"
    )]
    basic_auth_user_file: Option<PathBuf>,
    /// A file with the password that /system asks for
    #[arg(
        long,
        value_name = "FILE",
        env = "DFAAS_BASIC_AUTH_PASSWORD_FILE",
        requires = "basic_auth_user_file"
    )]
    basic_auth_password_file: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Deploy {
    /// The stack.yaml whose functions to deploy
    #[arg(long, value_name = "FILE", default_value = "stack.yaml")]
    stack: PathBuf,
    /// The gateway's URL [default: the stack's provider.gateway, else OPENFAAS_URL, else http://127.0.0.1:8080]
    #[arg(long, value_name = "URL")]
    gateway: Option<String>,
    /// Deploy this function only; may be given several times
    #[arg(long, value_name = "NAME")]
    filter: Vec<String>,
    /// Set a label on each function; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    #[command(flatten)]
    credentials: CredentialFiles,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // https://no-color.org: any value but the empty one.
    let are_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colours = std::io::stderr().is_terminal() && !are_refused;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .init();
    match args.command {
        None => start_runtime()?.block_on(serve(args.serve)),
        Some(Command::Deploy(deploy)) => start_runtime()?.block_on(deploy_stack(deploy)),
        Some(Command::Manual { folder }) => manual::write(&Args::command(), &folder),
        Some(Command::Ocr) => Ok(dfaas_provider::ocr(
            std::io::stdin().lock(),
            std::io::stdout().lock(),
        )?),
        Some(Command::Guard) => Ok(dfaas_provider::guard(std::io::stdin().lock())?),
        Some(Command::WarmEcho { port }) => Ok(start_runtime()?.block_on(dfaas_provider::warm_echo(port))?),
    }
}

fn start_runtime() -> anyhow::Result<Runtime> {
    Runtime::new().context("start the Tokio runtime")
}

async fn serve(args: Serve) -> anyhow::Result<()> {
    dfaas_provider::raise_file_limit();
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let provider = Provider::start(config(args)?).await?;
    let supervisor = Supervisor::ready();
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = supervisor.follow() => {}
    }
    tracing::info!("Stopping");
    Supervisor::stopping();
    provider.stop().await;
    Ok(())
}

fn config(args: Serve) -> anyhow::Result<Config> {
    Ok(Config {
        gateway: args.gateway,
        functions: args.functions,
        node_name: args.node_name.unwrap_or_else(dfaas_provider::host_name),
        state_dir: std::path::absolute(&args.state_dir).context("find the state directory")?,
        stack: args
            .stack
            .as_deref()
            .map(dfaas_provider::read_stack)
            .transpose()?
            .unwrap_or_default(),
        credentials: args.credentials.read()?,
        insecure: args.insecure,
        grace: Duration::from_secs(args.grace),
        request_bytes_max: args.max_request_bytes,
        processes_max: args.max_processes.into(),
        client_timeout: Duration::from_secs(args.client_timeout.into()),
        function_user: args
            .function_user
            .unwrap_or_else(FunctionUser::default_of_process),
        callback_allow: args.callback_allow,
        this: std::env::current_exe().context("find the path of this program")?,
    })
}

async fn deploy_stack(args: Deploy) -> anyhow::Result<()> {
    let stack = dfaas_provider::read_stack(&args.stack)?;
    let stack = chosen(stack, &args)?;
    let credentials = args.credentials.read()?;
    let url = gateway_url(&args)?;
    let gateway = Gateway::new(&url, credentials.as_ref())?;
    for mut deployment in stack {
        deployment.labels.extend(args.label.iter().cloned());
        let outcome = gateway.deploy(&deployment).await?;
        print_outcome(&url, &deployment, outcome);
    }
    Ok(())
}

/// In the order of `faas-cli`, for which the stack's own gateway wins over the environment.
fn gateway_url(args: &Deploy) -> anyhow::Result<String> {
    if let Some(url) = &args.gateway {
        return Ok(url.clone());
    }
    let named = dfaas_provider::read_stack_gateway(&args.stack)?;
    let url = named.or_else(|| std::env::var("OPENFAAS_URL").ok().filter(|url| !url.is_empty()));
    Ok(url.unwrap_or_else(|| "http://127.0.0.1:8080".to_owned()))
}

fn chosen(mut stack: Vec<Deployment>, args: &Deploy) -> anyhow::Result<Vec<Deployment>> {
    let known: Vec<String> = stack
        .iter()
        .map(|deployment| deployment.service.clone())
        .collect();
    if let Some(name) = args.filter.iter().find(|name| !known.contains(name)) {
        bail!(
            "there is no function {name:?} in {}; it has: {}",
            args.stack.display(),
            known.join(", ")
        );
    }
    stack.retain(|deployment| args.filter.is_empty() || args.filter.contains(&deployment.service));
    Ok(stack)
}

#[expect(clippy::print_stdout, reason = "this is what the command is asked to tell")]
fn print_outcome(gateway: &str, deployment: &Deployment, outcome: Outcome) {
    let verb = match outcome {
        Outcome::Updated => "updated",
        Outcome::Created => "created",
    };
    let name = match deployment.namespace.as_str() {
        "" => deployment.service.clone(),
        namespace => format!("{}.{namespace}", deployment.service),
    };
    println!("{name} {verb}: {}/function/{name}", gateway.trim_end_matches('/'));
}

impl CredentialFiles {
    fn read(&self) -> anyhow::Result<Option<Credentials>> {
        match (&self.basic_auth_user_file, &self.basic_auth_password_file) {
            (Some(user), Some(password)) => Ok(Some(Credentials::read(user, password)?)),
            (_, _) => Ok(None),
        }
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("write KEY=VALUE".to_owned()),
    }
}
