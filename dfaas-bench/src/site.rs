//! Two nodes and a client, with every contender between them.

use std::{fs, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use dfaas_testbed::{Namespace, Network, Process, Status, binary, get, wait_until};

use crate::{
    case::{Answer, Case},
    contender::Contender,
    ports::{self, BACKEND, CLIENT, FIRST, Hop, Route, SECOND, SERVICE},
    proxies::{self, Place},
};

const API: &str = "127.0.0.1:8070";
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// What no case comes near, in requests a second.
const UNLIMITED: u32 = 10_000_000;
/// Of the function that is refused.
const LIMITED: u32 = 1;
const SIZES: [u32; 3] = [64, 16 << 10, 1 << 20];
/// Congestion control without pacing: these links have no bottleneck, and the timers by which BBR, the default of some
/// machines, paces its senders would be what is measured.
const HOST_SYSCTLS: [&str; 1] = ["net.ipv4.tcp_congestion_control=reno"];
/// Ports for as many connections as a round can close.
const CLIENT_SYSCTLS: [&str; 1] = ["net.ipv4.ip_local_port_range=1100 65000"];
const ROUTER_SYSCTLS: [&str; 3] = [
    "net.ipv4.ip_forward=1",
    "net.ipv4.conf.all.send_redirects=0",
    "net.ipv4.conf.eth1.send_redirects=0",
];

/// Two nodes and a client. Everything ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Site {
    agents: Vec<Process>,
    /// Held so that they run.
    _servers: Vec<Process>,
    pub(crate) client: Namespace,
    nodes: [Namespace; 2],
    second_id: String,
    _network: Network,
}

impl Site {
    /// Starts everything and waits until every contender answers.
    ///
    /// # Errors
    ///
    /// When a program is missing or does not do its work.
    pub(crate) fn start() -> Result<Self> {
        let network = Network::new()?;
        let [first, second, client] = [("node1", FIRST), ("node2", SECOND), ("client", CLIENT)]
            .map(|(name, number)| host(&network, name, number));
        let (first, second, client) = (first?, second?, client?);
        route(&first, &second, &client)?;
        let near = SIZES.map(|size| format!("near-{size}={UNLIMITED}"));
        let tight = [format!("tight-64={LIMITED}")];
        let far = SIZES.map(|size| format!("far-{size}={UNLIMITED}"));
        let mut servers = vec![
            backend(&first, &[&near[..], &tight].concat())?,
            // Also by the names of the first node, for those who come by way of a proxy or router.
            backend(&second, &far)?,
        ];
        let agents = vec![agent(&first, FIRST)?, agent(&second, SECOND)?];
        let second_id = node_id(&second)?;
        for workers in [1, 2] {
            let entry = Place::Entry { node: &second_id };
            servers.push(proxies::haproxy(&first, entry, workers)?);
            servers.push(proxies::haproxy(&second, Place::Second, workers)?);
            servers.push(proxies::nginx(&first, entry, workers)?);
            servers.push(proxies::nginx(&second, Place::Second, workers)?);
        }
        let site = Self {
            agents,
            _servers: servers,
            client,
            nodes: [first, second],
            second_id,
            _network: network,
        };
        site.wait_until_all_answer().with_context(|| site.logs())?;
        Ok(site)
    }

    fn wait_until_all_answer(&self) -> Result<()> {
        for (contender, route) in Contender::ALL
            .into_iter()
            .flat_map(|contender| [Route::Local, Route::Forwarded].map(|route| (contender, route)))
        {
            let address = Self::address(contender, route, Answer::Body);
            let path = path(route, 64);
            let answers = || get(&self.client, address, &path).is_ok_and(|answer| answer.is_ok());
            wait_until(
                &format!("{} {route:?} at {address}", contender.name()),
                START_TIMEOUT,
                answers,
            )?;
        }
        Ok(())
    }

    /// Where the client meets a contender.
    fn address(contender: Contender, route: Route, answer: Answer) -> SocketAddr {
        let hop = match (route, answer) {
            (_, Answer::Forbidden | Answer::OverLimit) => Hop::Refusing,
            (Route::Local, Answer::Body) => Hop::Here,
            (Route::Forwarded, Answer::Body) => Hop::Next,
        };
        let entry = Network::plain_address(FIRST);
        match contender {
            Contender::Direct => ports::direct(route),
            Contender::Dfaas => (Network::address(FIRST), SERVICE).into(),
            Contender::Haproxy { workers } => (entry, ports::haproxy(workers, hop)).into(),
            Contender::Nginx { workers } => (entry, ports::nginx(workers, hop)).into(),
        }
    }

    /// What the client asks for in a case.
    pub(crate) fn url(&self, contender: Contender, case: &Case) -> Url {
        let path = match case.answer {
            Answer::Body => path(case.route, case.response_bytes()),
            Answer::OverLimit | Answer::Forbidden => "/function/tight-64".to_owned(),
        };
        Url {
            address: Self::address(contender, case.route, case.answer),
            path,
        }
    }

    /// The identity of the second node, which may send the first one next to nothing.
    pub(crate) fn second_id(&self) -> &str {
        &self.second_id
    }

    /// The agents' processes, that of the first node first.
    pub(crate) fn agent_pids(&self) -> Vec<u32> {
        self.agents.iter().map(Process::pid).collect()
    }

    /// How to look at it from another shell.
    pub(crate) fn hints(&self) -> String {
        let mut text = String::new();
        for host in self.nodes.iter().chain([&self.client]) {
            let (name, pid) = (host.name(), host.pid());
            text += &format!("{name}: nsenter --target {pid} --net --mount\n");
        }
        for route in [Route::Local, Route::Forwarded] {
            for contender in Contender::ALL {
                let address = Self::address(contender, route, Answer::Body);
                text += &format!("{}: http://{address}{}\n", contender.name(), path(route, 64));
            }
        }
        text
    }

    /// The ends of what the programs wrote.
    pub(crate) fn logs(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            for name in ["agent", "backend", "haproxy1", "haproxy2", "nginx1", "nginx2"] {
                let log = fs::read_to_string(node.path(&format!("/run/{name}.log"))).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                if !lines.is_empty() {
                    let tail = lines[lines.len().saturating_sub(8)..].join("\n");
                    text += &format!("\n--- {name} of {}\n{tail}", node.name());
                }
            }
        }
        text
    }
}

/// What the client asks for.
#[derive(Clone, Debug)]
pub(crate) struct Url {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
}

fn path(route: Route, bytes: u32) -> String {
    match route {
        Route::Local => format!("/function/near-{bytes}"),
        Route::Forwarded => format!("/function/far-{bytes}"),
    }
}

fn host(network: &Network, name: &str, number: u8) -> Result<Namespace> {
    let host = network.add_host(name, number)?;
    network.add_plain_interface(&host, number)?;
    set(&host, &HOST_SYSCTLS)?;
    Ok(host)
}

/// A way from the client to the second node that leads through the first one, both there and back, as forwarded
/// requests and their responses go.
fn route(first: &Namespace, second: &Namespace, client: &Namespace) -> Result<()> {
    let router = Network::plain_address(FIRST);
    let (of_second, of_client) = (ports::routed(SECOND), ports::routed(CLIENT));
    set(first, &ROUTER_SYSCTLS)?;
    set(client, &CLIENT_SYSCTLS)?;
    second.ip(&format!(
        "address add {of_second}/32 dev lo\nroute add {of_client} via {router} src {of_second}\n"
    ))?;
    client.ip(&format!(
        "address add {of_client}/32 dev lo\nroute add {of_second} via {router} src {of_client}\n"
    ))?;
    let [to_second, to_client] = [SECOND, CLIENT].map(Network::plain_address);
    first.ip(&format!(
        "route add {of_second} via {to_second}\nroute add {of_client} via {to_client}\n"
    ))
}

fn set(host: &Namespace, settings: &[&str]) -> Result<()> {
    let write = || -> Result<()> {
        for setting in settings {
            let (name, value) = setting.split_once('=').context("a setting has a value")?;
            let file = format!("/proc/sys/{}", name.replace('.', "/"));
            fs::write(&file, value).with_context(|| format!("writing {file}"))?;
        }
        Ok(())
    };
    host.on_thread(write)?
}

pub(crate) fn backend(node: &Namespace, functions: &[String]) -> Result<Process> {
    shared_backend(node, functions, 1)
}

/// A backend of several processes with one listening socket.
pub(crate) fn shared_backend(node: &Namespace, functions: &[String], processes: usize) -> Result<Process> {
    let this = std::env::current_exe().context("finding this program")?;
    let mut arguments = vec!["backend".to_owned(), format!("--listen=0.0.0.0:{BACKEND}")];
    arguments.push(format!("--processes={processes}"));
    arguments.extend(functions.iter().map(|function| format!("--function={function}")));
    Process::start(node, "backend", this, &arguments)
}

pub(crate) fn agent(node: &Namespace, number: u8) -> Result<Process> {
    let address = Network::address(number).to_string();
    let (service, backend) = (SERVICE.to_string(), BACKEND.to_string());
    let arguments = [
        ["--interface", "eth0"],
        ["--node-ip", &address],
        ["--service-port", &service],
        ["--functions-port", &backend],
        ["--openfaas-host", "127.0.0.1"],
        ["--openfaas-port", &backend],
        ["--listen", "/ip4/0.0.0.0/tcp/31600"],
        ["--api", API],
        ["--state-dir", "/run/agent"],
        ["--recalc-period", "1s"],
        // The load claims to be a peer, as it does of the other contenders, which know no tokens.
        ["--tokenless-peers", "all"],
    ];
    let arguments = [&["run"][..], arguments.as_flattened()].concat();
    Process::start(node, "agent", binary("dfaas-agent")?, &arguments)
}

fn node_id(node: &Namespace) -> Result<String> {
    let api: SocketAddr = API.parse()?;
    let status = || -> Result<Status> {
        let answer = get(node, api, "/status")?;
        ensure!(answer.is_ok(), "the agent answers {}", answer.status);
        Ok(Status(serde_json::from_slice(&answer.body)?))
    };
    wait_until("an agent answers", START_TIMEOUT, || status().is_ok())?;
    Ok(status()?.node().to_owned())
}
