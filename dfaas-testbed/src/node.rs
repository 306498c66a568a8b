//! A node: a provider and an agent in a namespace.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    Answer, Namespace, Network, Place, Process, Status, binary, clock::pace, federation::NodeSpec, http,
    kernel_maps, stack, wait_until,
};

/// Where the agent of each node tells about itself.
const API: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8070);
/// Where a provider serves calls of functions.
pub(crate) const FUNCTIONS_PORT: u16 = 8090;
/// Where the platform of each node is told what to do.
const GATEWAY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// The port where users reach functions.
const SERVICE_PORT: u16 = 80;
/// How long a program may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A node: a provider and an agent in a namespace.
#[derive(Debug)]
pub struct Node {
    number: u8,
    spec: NodeSpec,
    // Programs end before their namespace does.
    agent: Option<Process>,
    provider: Option<Process>,
    namespace: Namespace,
    /// What the container is on, if it is one.
    host: Option<Namespace>,
}

impl Node {
    pub(crate) fn new(network: &Network, number: u8, spec: NodeSpec) -> Result<Self> {
        let name = format!("node{number}");
        let (namespace, host) = match spec.place {
            Place::Host => (network.add_host(&name, number)?, None),
            Place::Container | Place::ServedContainer => {
                let host = Namespace::new(&format!("host of {name}"))?;
                let container = Namespace::container(&name, &host)?;
                network.connect(&container, number)?;
                (container, Some(host))
            }
        };
        fs::write(namespace.path("/run/stack.yaml"), stack::yaml(&spec.functions))
            .context("writing stack.yaml")?;
        Ok(Self {
            number,
            spec,
            agent: None,
            provider: None,
            namespace,
            host,
        })
    }

    /// Its name, which is also what its platform puts into `X-Served-By`.
    pub fn name(&self) -> &str {
        self.namespace.name()
    }

    /// The number of its address.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Where users reach functions.
    pub fn service(&self) -> SocketAddr {
        (Network::address(self.number), SERVICE_PORT).into()
    }

    /// Where they reach them by IPv6.
    pub fn ipv6_service(&self) -> SocketAddr {
        (Network::ipv6_address(self.number), SERVICE_PORT).into()
    }

    /// Where it runs.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Where its agent runs.
    pub fn agent_namespace(&self) -> &Namespace {
        let host = self
            .host
            .as_ref()
            .filter(|_| self.spec.place == Place::ServedContainer);
        host.unwrap_or(&self.namespace)
    }

    /// The functions it offers.
    pub fn spec(&self) -> &NodeSpec {
        &self.spec
    }

    /// Changes how its agent is started next. What it offers stays.
    pub fn set_spec(&mut self, spec: NodeSpec) {
        self.spec = spec;
    }

    /// Starts the provider.
    ///
    /// # Errors
    ///
    /// When it was not built or cannot be started.
    pub fn start_provider(&mut self) -> Result<()> {
        let functions = format!("127.0.0.1:{FUNCTIONS_PORT}");
        let arguments = ["--gateway", &GATEWAY.to_string(), "--functions", &functions];
        let files = [
            "--state-dir",
            "/run/provider",
            "--stack",
            "/run/stack.yaml",
            "--node-name",
            self.name(),
        ];
        let extra: Vec<&str> = self.spec.provider_arguments.iter().map(String::as_str).collect();
        let arguments = [&arguments[..], &files[..], &extra].concat();
        self.provider = Some(Process::start(
            &self.namespace,
            "provider",
            binary("dfaas-provider")?,
            &arguments,
        )?);
        Ok(())
    }

    /// Starts the agent.
    ///
    /// # Errors
    ///
    /// When it was not built or cannot be started.
    pub fn start_agent(&mut self) -> Result<()> {
        let address = Network::address(self.number).to_string();
        let (api, service_port) = (API.to_string(), SERVICE_PORT.to_string());
        let functions_port = self.spec.functions_port.to_string();
        let platform = [
            "--functions-port",
            &functions_port,
            "--openfaas-host",
            "127.0.0.1",
            "--openfaas-port",
            "8080",
        ];
        let own = [
            "--interface",
            "eth0",
            "--node-ip",
            &address,
            "--service-port",
            &service_port,
            "--data-plane",
            &self.spec.data_plane,
        ];
        let overlay = [
            "--listen",
            "/ip4/0.0.0.0/tcp/31600",
            "--api",
            &api,
            "--state-dir",
            "/run/agent",
        ];
        // What is older than some periods counts for nothing, so a slow machine needs longer ones.
        let period = format!("{}ms", pace(self.spec.period).as_millis());
        let loops = ["--recalc-period", &period, "--strategy", &self.spec.strategy];
        let extra: Vec<&str> = self.spec.agent_arguments.iter().map(String::as_str).collect();
        let container = self.namespace.pid_outside()?.to_string();
        let netns = match self.spec.place {
            Place::Host | Place::Container => &[][..],
            Place::ServedContainer => &["--netns", &container],
        };
        let arguments = [&["run"][..], &own, &platform, &overlay, &loops, netns, &extra].concat();
        self.agent = Some(Process::start(
            self.agent_namespace(),
            "agent",
            binary("dfaas-agent")?,
            &arguments,
        )?);
        Ok(())
    }

    /// Waits until the provider answers.
    ///
    /// # Errors
    ///
    /// When it does not; the error has the end of its log.
    pub fn wait_for_provider(&mut self) -> Result<()> {
        let up = || http::get(&self.namespace, GATEWAY, "/healthz").is_ok_and(|answer| answer.is_ok());
        wait_until(&format!("provider of {} up", self.name()), START_TIMEOUT, up)
            .with_context(|| self.logs())?;
        Ok(())
    }

    /// Ends the provider as an operator would.
    ///
    /// # Errors
    ///
    /// When it does not end by itself.
    pub fn stop_provider(&mut self) -> Result<()> {
        self.provider
            .take()
            .map_or(Ok(()), |process| process.terminate().map(drop))
    }

    /// Ends the agent as an operator would.
    ///
    /// # Errors
    ///
    /// When it does not end by itself.
    pub fn stop_agent(&mut self) -> Result<()> {
        let Some(process) = self.agent.take() else {
            return Ok(());
        };
        let status = process.terminate()?;
        ensure!(
            status.success(),
            "agent of {} ended with {status}: {}",
            self.name(),
            self.logs()
        );
        Ok(())
    }

    /// Kills the agent.
    pub fn kill_agent(&mut self) {
        self.agent = None;
    }

    /// Kills the provider.
    pub fn kill_provider(&mut self) {
        self.provider = None;
    }

    /// Whether both programs run.
    pub fn is_running(&mut self) -> bool {
        let runs = |process: &mut Option<Process>| process.as_mut().is_some_and(Process::is_running);
        runs(&mut self.agent) && runs(&mut self.provider)
    }

    /// What the agent says about itself.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn status(&self) -> Result<Status> {
        let answer = self.ask_agent("/status")?;
        ensure!(
            answer.is_ok(),
            "agent of {}: status {}: {}",
            self.name(),
            answer.status,
            answer.text()
        );
        Ok(Status(serde_json::from_slice(&answer.body)?))
    }

    /// Asks the agent for a path.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn ask_agent(&self, path: &str) -> Result<Answer> {
        http::get(self.agent_namespace(), API, path)
    }

    /// The process of the agent, while it runs.
    pub fn agent_pid(&self) -> Option<u32> {
        self.agent.as_ref().map(Process::pid)
    }

    /// The process of the provider, while it runs.
    pub fn provider_pid(&self) -> Option<u32> {
        self.provider.as_ref().map(Process::pid)
    }

    /// How many entries the agent's maps of these names have, where it has them.
    ///
    /// # Errors
    ///
    /// When the agent does not run, or a map cannot be read.
    pub fn map_entries(&self, names: &[&str]) -> Result<BTreeMap<String, usize>> {
        let agent = self.agent.as_ref();
        let agent = agent.with_context(|| format!("no agent runs on {}", self.name()))?;
        kernel_maps::entries(agent.pid(), names)
    }

    /// How many calls of a function the platform has begun.
    ///
    /// # Errors
    ///
    /// When it does not answer, or does not count the function.
    pub fn calls(&self, function: &str) -> Result<u64> {
        let answer = http::get(&self.namespace, GATEWAY, "/metrics")?;
        let metrics = answer.text();
        let name =
            format!("gateway_function_invocation_started{{function_name=\"{function}.openfaas-fn\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&name));
        count
            .with_context(|| format!("{} does not count {function}", self.name()))?
            .parse()
            .context("reading a count")
    }

    /// The last lines that the programs wrote.
    pub fn logs(&self) -> String {
        let tail = |namespace: &Namespace, name: &str| {
            let text = fs::read_to_string(namespace.path(&format!("/run/{name}.log"))).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!(
                "\n--- {name} of {}\n{}",
                self.name(),
                lines[lines.len().saturating_sub(15)..].join("\n")
            )
        };
        tail(&self.namespace, "provider") + &tail(self.agent_namespace(), "agent")
    }
}
