//! Lays a topology: namespaces, links, providers and agents.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use dfaas_testbed::{Federation, LateLink, Network, NodeSpec, binary};

use super::{shape, topology::Topology};

/// A federation that runs as a topology says.
pub(crate) struct Stage {
    pub(crate) federation: Federation,
    /// Links without netem on which everything is late; each ends when it is dropped.
    _late: Vec<LateLink>,
    /// What makes links late and lossy.
    pub(crate) means: String,
}

impl Stage {
    /// Starts everything and waits until the nodes know each other.
    ///
    /// # Errors
    ///
    /// When something cannot be made or does not come up; the error has the end of the logs.
    pub(crate) fn start(topology: &Topology) -> Result<Self> {
        let specs: Vec<NodeSpec> = (0..topology.nodes)
            .map(|node| NodeSpec {
                strategy: topology.strategy.clone(),
                data_plane: topology.data_plane.clone(),
                ..NodeSpec::new(topology.functions_of(node))
            })
            .collect();
        let mut federation = Federation::unformed_on(Network::new()?, &specs)?;
        let (late, means) = lay_links(topology, &federation)?;
        let identities = identities(&federation)?;
        for (node, spec) in specs.iter().enumerate() {
            let mut spec = spec.clone();
            let beside = shape::neighbours(&topology.edges, node);
            if beside.len() + 1 < topology.nodes {
                let names: Vec<&str> = beside.iter().map(|&other| identities[other].as_str()).collect();
                spec.agent_arguments
                    .extend(["--neighbours".to_owned(), names.join(",")]);
            }
            federation.nodes[node].set_spec(spec);
        }
        federation.start_agents()?;
        let mut stage = Self {
            federation,
            _late: late,
            means,
        };
        stage.wait_until_known()?;
        Ok(stage)
    }

    /// Waits until each node knows the functions of all others. Not all of them are its neighbours.
    fn wait_until_known(&mut self) -> Result<()> {
        let federation = &self.federation;
        let others = federation.nodes.len() - 1;
        let knows = |node: &dfaas_testbed::Node| {
            node.status()
                .is_ok_and(|status| status.peers_with_functions() >= others)
        };
        let all = || federation.nodes.iter().all(knows);
        dfaas_testbed::wait_until("nodes know each other", Duration::from_secs(180), all)
            .with_context(|| federation.logs())?;
        Ok(())
    }
}

/// The identities of the nodes' agents, made where they will look for them.
fn identities(federation: &Federation) -> Result<Vec<String>> {
    let program = binary("dfaas-agent")?;
    let program = program.to_str().context("a path of text")?;
    let of = |node: &dfaas_testbed::Node| -> Result<String> {
        let arguments = ["id", "--create", "--state-dir", "/run/agent"];
        let output = node.namespace().output(program, &arguments)?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "identity of {}: {}",
            node.name(),
            complaint.trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    federation.nodes.iter().map(of).collect()
}

/// Makes links as they are to be, and says how.
fn lay_links(topology: &Topology, federation: &Federation) -> Result<(Vec<LateLink>, String)> {
    let link = topology.link;
    let mut wanted = Vec::new();
    if link.delay_ms > 0.0 {
        wanted.push(format!("delay {}ms", link.delay_ms));
    }
    if link.loss_percent > 0.0 {
        wanted.push(format!("loss {}%", link.loss_percent));
    }
    if let Some(rate) = link.rate_mbit {
        wanted.push(format!("rate {rate}mbit"));
    }
    if wanted.is_empty() {
        return Ok((Vec::new(), "nothing is done to packets".to_owned()));
    }
    let (first, rest) = federation.nodes.split_first().context("a federation has nodes")?;
    let network = &federation.network;
    let by_netem = network.impair_by_netem(first.namespace(), first.number(), &wanted.join(" "));
    let Err(lacking) = by_netem else {
        for node in rest {
            network.impair_by_netem(node.namespace(), node.number(), &wanted.join(" "))?;
        }
        return Ok((
            Vec::new(),
            format!("{} towards each node, by netem", wanted.join(", ")),
        ));
    };
    ensure!(
        link.rate_mbit.is_none(),
        "link: rate_mbit needs netem, which this kernel lacks ({lacking:#}): take it out"
    );
    let mut late = Vec::new();
    for node in &federation.nodes {
        if link.delay_ms > 0.0 {
            let tunnel = network.stretch(node.number())?;
            tunnel.set_delay(Duration::from_secs_f64(link.delay_ms / 1e3));
            late.push(tunnel);
        }
        if link.loss_percent > 0.0 {
            network.impair(
                node.namespace(),
                node.number(),
                &format!("loss {}%", link.loss_percent),
            )?;
        }
    }
    let means = format!(
        "{}, without netem: late by a tunnel each way, loss by nftables towards each node",
        wanted.join(", ")
    );
    Ok((late, means))
}
