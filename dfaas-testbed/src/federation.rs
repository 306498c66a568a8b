//! Nodes that share their load, and a client.

use std::{
    collections::BTreeSet,
    env,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{Function, Namespace, Network, Node, node::FUNCTIONS_PORT, now, wait_until};

/// How long peers may take to find each other.
const FORM_TIMEOUT: Duration = Duration::from_secs(120);
const PERIOD: Duration = Duration::from_secs(1);
/// The client's number.
pub const CLIENT: u8 = 100;
/// Names the data plane of nodes that do not choose one.
pub const DATA_PLANE: &str = "DFAAS_TEST_DATA_PLANE";

/// Where a node runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// On a host.
    #[default]
    Host,
    /// In a container with a user namespace.
    Container,
    /// In such a container, but for its agent, which is on the container's host.
    ServedContainer,
}

/// What a node is.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// What it offers.
    pub functions: Vec<Function>,
    /// How it shares out what is too much.
    pub strategy: String,
    /// Who steers its requests, as `dfaas-agent run --data-plane` has it.
    pub data_plane: String,
    /// More arguments for its agent.
    pub agent_arguments: Vec<String>,
    /// How often its agent tells others and decides.
    pub period: Duration,
    /// More arguments for its provider.
    pub provider_arguments: Vec<String>,
    /// Where its agent looks for the platform's listener: the provider's, unless the test puts another there.
    pub functions_port: u16,
    /// Where it runs.
    pub place: Place,
}

impl NodeSpec {
    /// A node with these functions, the default strategy, and the data plane that [`DATA_PLANE`] names, or the kernel.
    pub fn new(functions: Vec<Function>) -> Self {
        Self {
            functions,
            strategy: "water-filling".to_owned(),
            data_plane: env::var(DATA_PLANE).unwrap_or_else(|_| "kernel".to_owned()),
            agent_arguments: Vec::new(),
            period: PERIOD,
            provider_arguments: Vec::new(),
            functions_port: FUNCTIONS_PORT,
            place: Place::Host,
        }
    }
}

/// Nodes that share their load, and a client.
#[derive(Debug)]
pub struct Federation {
    /// The nodes, from node 1.
    pub nodes: Vec<Node>,
    /// A host that only asks, of the number [`CLIENT`].
    pub client: Namespace,
    /// What connects them.
    pub network: Network,
    /// How long it took from the agents' start until each had routes to all others.
    pub formed_in: Duration,
}

impl Federation {
    /// Starts the nodes and waits until they know each other.
    ///
    /// # Errors
    ///
    /// When that does not happen; the error has the end of the logs.
    pub fn start(specs: &[NodeSpec]) -> Result<Self> {
        let mut federation = Self::unformed(specs)?;
        let start = federation.start_agents()?;
        federation.wait_until_formed(start)?;
        Ok(federation)
    }

    /// Starts the providers, and no agents yet.
    ///
    /// # Errors
    ///
    /// When a provider does not come up.
    pub fn unformed(specs: &[NodeSpec]) -> Result<Self> {
        Self::unformed_on(Network::new()?, specs)
    }

    /// Likewise, on a network.
    ///
    /// # Errors
    ///
    /// As [`Self::unformed`].
    pub fn unformed_on(network: Network, specs: &[NodeSpec]) -> Result<Self> {
        let client = network.add_host("client", CLIENT)?;
        let mut nodes = Vec::new();
        for (number, spec) in (1..).zip(specs) {
            let mut node = Node::new(&network, number, spec.clone())?;
            node.start_provider()?;
            nodes.push(node);
        }
        nodes.iter_mut().try_for_each(Node::wait_for_provider)?;
        Ok(Self {
            nodes,
            client,
            network,
            formed_in: Duration::ZERO,
        })
    }

    /// Starts all agents, and returns when.
    ///
    /// # Errors
    ///
    /// When one cannot be started.
    pub fn start_agents(&mut self) -> Result<Instant> {
        let start = now();
        self.nodes.iter_mut().try_for_each(Node::start_agent)?;
        Ok(start)
    }

    /// Waits until each node has routes to all others for what they host.
    ///
    /// # Errors
    ///
    /// When that does not happen; the error has the end of the logs.
    pub fn wait_until_formed(&mut self, start: Instant) -> Result<()> {
        let formed = wait_until("federation formed", FORM_TIMEOUT, || {
            self.nodes.iter().all(|node| self.knows_all(node))
        });
        formed.with_context(|| self.logs())?;
        self.formed_in = start.elapsed();
        Ok(())
    }

    fn knows_all(&self, node: &Node) -> bool {
        let Ok(status) = node.status() else { return false };
        let others = || self.nodes.iter().filter(|other| other.number() != node.number());
        let functions = others().flat_map(|other| &other.spec().functions);
        let names: BTreeSet<&str> = functions.map(|function| function.name.as_str()).collect();
        let hosts = |other: &&Node, name: &str| {
            let mut functions = other.spec().functions.iter();
            functions.any(|function| function.name == name)
        };
        // A peer is known before its token is, without which nothing can be sent to it.
        let has_routes = |name: &&str| {
            let hosting = others().filter(|other| hosts(other, name)).count();
            status.weights(name).len() >= hosting
        };
        status.peers_with_functions() >= others().count() && names.iter().all(has_routes)
    }

    /// The last lines that the programs wrote.
    pub fn logs(&self) -> String {
        self.nodes.iter().map(Node::logs).collect()
    }

    /// Ends all nodes as an operator would.
    ///
    /// # Errors
    ///
    /// When one does not end by itself.
    pub fn stop(mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.stop_agent()?;
            node.stop_provider()?;
        }
        Ok(())
    }
}
