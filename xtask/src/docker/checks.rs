//! What nodes in containers have to do.

use std::{
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use dfaas_testbed::{Load, Outcome, Status, Tally, now, patience, wait_until};

use super::engine::Engine;
use crate::readme;

const NODES: [&str; 3] = ["dfaas-node-1-1", "dfaas-node-2-1", "dfaas-node-3-1"];
/// How their agents are asked.
const AGENTS: [&str; 3] = [
    "docker exec dfaas-node-1-1 dfaas-agent",
    "docker exec dfaas-node-2-1 dfaas-agent",
    "docker exec dfaas-node-3-1 dfaas-agent",
];
const FUNCTION: &str = "figlet";
/// What the nodes can serve, in requests a second, and what node 1 is asked for.
const CAPACITIES: [u32; 3] = [10, 20, 30];
const RATE: u32 = 50;
/// How long the load lasts, and when all of it has to be answered with 200.
const LOAD: Duration = Duration::from_secs(20);
const SETTLED: Duration = Duration::from_secs(2);
/// How long nodes may take to know each other's functions.
const FORMED: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(2);
const DEPLOY: &str = "utils/deploy-functions-to-nodes.sh 3 dfaas-node- -1";

/// Runs the README's commands, which start the nodes and deploy to them.
///
/// # Errors
///
/// When one fails, or figlet did not answer.
pub(crate) fn readme(engine: &Engine) -> Result<()> {
    let said = engine.shell(&readme::of_containers()?)?;
    // The name of an agent's table, and a line of its log.
    for word in ["figlet created", "|_|", "FUNCTION", "dfaas_provider"] {
        ensure!(said.contains(word), "{word:?} is missing:\n{said}");
    }
    wait_until_formed(engine, &AGENTS)?;
    wait_until("healthy nodes", FORMED, || {
        let states = engine.shell("docker inspect --format '{{.State.Health.Status}}' $(docker ps -q)");
        states.is_ok_and(|states| states.lines().all(|state| state == "healthy"))
    })?;
    Ok(())
}

/// Every function answers at every node's port.
///
/// # Errors
///
/// When one does not.
pub(crate) fn all_answer(engine: &Engine) -> Result<()> {
    engine.shell(
        "for port in 8081 8082 8083; do
            curl -sSf http://localhost:$port/function/figlet -d 'Hello DFaaS world!' | grep -q _
            curl -sSf http://localhost:$port/function/shasum -d Hello | grep -q '  -'
            base64 dfaas-provider/tests/provider/hello.png |
                curl -sSf http://localhost:$port/function/ocr --data-binary @- | grep -qi hello
            code=$(curl -sS -o /dev/null -w '%{http_code}' http://localhost:$port/system/functions)
            [[ $code == 403 ]] || { echo \"/system is answered $code\"; exit 1; }
        done",
    )?;
    Ok(())
}

/// The platform and its functions are an ordinary user's, and have no capability.
///
/// # Errors
///
/// When they have one, or HAProxy has.
pub(crate) fn functions_have_no_rights(engine: &Engine) -> Result<()> {
    let look = "docker exec dfaas-node-1-1 bash -c 'for pid in $(pidof dfaas-provider haproxy); do \
        grep -E \"^(Name|Uid|CapEff)\" /proc/$pid/status; done'";
    let said = engine.shell(look)?;
    ensure!(
        said.contains("dfaas-provider") && said.contains("haproxy"),
        "{said}"
    );
    for line in said.lines().filter(|line| line.starts_with("CapEff:")) {
        ensure!(line.ends_with("0000000000000000"), "{said}");
    }
    ensure!(!said.lines().any(|line| line.starts_with("Uid:\t0")), "{said}");
    Ok(())
}

/// All of a load that is too much for one node is answered, by three.
///
/// # Errors
///
/// When a request was not answered once the nodes had settled, or a node did nothing.
pub(crate) fn load(engine: &Engine) -> Result<()> {
    share(engine, &AGENTS, CAPACITIES, 8081)
}

/// Gives the nodes these capacities, and offers more than the one at a port has.
///
/// # Errors
///
/// When a request was not answered once the nodes had settled, or a node did nothing.
pub(crate) fn share(engine: &Engine, agents: &[&str; 3], capacities: [u32; 3], port: u16) -> Result<()> {
    for (node, rate) in NODES.iter().zip(capacities) {
        engine.shell(&format!(
            "docker exec {node} dfaas-provider deploy --stack stack.yaml --filter {FUNCTION} --label dfaas.maxrate={rate}"
        ))?;
    }
    for (agent, rate) in agents.iter().zip(capacities) {
        let capacity = || status(engine, agent).map(|status| capacity(&status));
        wait_until(&format!("new rate of {agent}"), FORMED, || {
            capacity().is_ok_and(|found| found == Some(f64::from(rate)))
        })?;
    }
    // What peers tell once a second.
    thread::sleep(patience(SETTLED));
    let load = Load {
        at_most: LOAD,
        ..asks(port, RATE)
    };
    let tally = offer(engine, load)?;
    let of = |node: &str| tally.served_by.get(node).copied().unwrap_or(0);
    let served = ["dfaas-node-1", "dfaas-node-2", "dfaas-node-3"].map(of);
    println!(
        "docker: {} sent, {} answered with 200, by the nodes {served:?}, median {:?}",
        tally.sent,
        tally.ok(),
        tally.percentile(50).unwrap_or_default()
    );
    ensure!(tally.failed_after(SETTLED) == 0 && tally.lost() == 0, "{tally:?}");
    ensure!(
        served.iter().all(|&count| count > 0),
        "not by three nodes: {tally:?}"
    );
    Ok(())
}

/// A node that is none gets 403 for all that it asks, while users are served.
///
/// # Errors
///
/// When it is not so.
pub(crate) fn malicious(engine: &Engine) -> Result<()> {
    let forged = Load {
        headers: vec![("DFaaS-Node-ID".to_owned(), "malicious-id".to_owned())],
        at_most: Duration::from_secs(4),
        ..asks(8081, RATE)
    };
    let users = Load {
        at_most: Duration::from_secs(4),
        ..asks(8081, 5)
    };
    let forged = forged.start(&engine.namespace)?;
    let served = offer(engine, users)?;
    let samples = forged.finish()?;
    let refused = samples
        .iter()
        .filter(|sample| matches!(sample.outcome, Outcome::Answered { status: 403, .. }));
    let refused = refused.count();
    println!("docker: {refused} of {} refused with 403", samples.len());
    ensure!(!samples.is_empty() && refused == samples.len(), "{samples:?}");
    ensure!(served.ok() == served.sent, "{served:?}");
    Ok(())
}

/// A node ends in order, and quickly.
///
/// # Errors
///
/// When it takes too long.
pub(crate) fn stop(engine: &Engine) -> Result<()> {
    stop_one(engine, NODES[2], "Leaving the federation")?;
    engine.shell(&format!("docker start {}", NODES[2]))?;
    wait_until_formed(engine, &AGENTS)
}

fn stop_one(engine: &Engine, container: &str, farewell: &str) -> Result<()> {
    let start = now();
    engine.shell(&format!("docker stop {container}"))?;
    let took = start.elapsed();
    println!("docker: {container} stopped within {took:.2?}");
    ensure!(took < patience(STOP_MAX), "docker stop took {took:?}");
    let said = engine.shell(&format!(
        "docker logs {container} 2>&1; docker inspect --format 'ended with {{{{.State.ExitCode}}}}' {container}"
    ))?;
    ensure!(said.contains(farewell), "{said}");
    ensure!(said.contains("ended with 0"), "{said}");
    Ok(())
}

/// A new container is the same node, with its functions.
///
/// # Errors
///
/// When its identity has changed, or functions are gone.
pub(crate) fn identity_lasts(engine: &Engine) -> Result<()> {
    let look = "for i in 1 2 3; do docker exec dfaas-node-$i-1 dfaas-agent id; done";
    let before = engine.shell(look)?;
    let container = "docker inspect --format '{{.Id}}' dfaas-node-1-1";
    let old = engine.shell(container)?;
    engine.shell("docker compose up -d --force-recreate")?;
    ensure!(engine.shell(container)? != old, "the container is the old one");
    let after = engine.shell(look)?;
    ensure!(
        before == after && before.lines().count() == NODES.len(),
        "{before} has become {after}"
    );
    wait_until_formed(engine, &AGENTS)?;
    all_answer(engine)
}

/// Nothing is left of the nodes but their image.
///
/// # Errors
///
/// When something is.
pub(crate) fn down(engine: &Engine) -> Result<()> {
    engine.shell("docker compose down -v")?;
    nothing_left(engine)
}

/// Nothing is left but images.
///
/// # Errors
///
/// When something is; the error has its names.
pub(crate) fn nothing_left(engine: &Engine) -> Result<()> {
    let left = engine.shell(
        "docker ps -aq
        docker volume ls -q
        docker network ls --format '{{.Name}}' | grep -vx -e bridge -e host -e none || true",
    )?;
    ensure!(left.is_empty(), "left: {left}");
    Ok(())
}

/// The platform in a container of its own without capabilities, the agent beside it.
///
/// # Errors
///
/// When they do not serve, or something is left of them.
pub(crate) fn sidecar(engine: &Engine) -> Result<()> {
    let agents = [1, 2, 3].map(|number| format!("docker exec dfaas-agent-{number}-1 dfaas-agent"));
    let agents = agents.each_ref().map(String::as_str);
    let file = if engine.knows_bpf() {
        "docker/sidecar.yml"
    } else {
        // As docs/install.md says.
        engine
            .shell("sed 's/- BPF/- SYS_ADMIN/; /- PERFMON/d' docker/sidecar.yml > docker/sidecar-20.yml")?;
        "docker/sidecar-20.yml"
    };
    let compose = format!("docker compose -f {file} -p dfaas");
    engine.shell(&format!("{compose} up -d\n{DEPLOY}"))?;
    wait_until_formed(engine, &agents)?;
    all_answer(engine)?;
    let rights = engine.shell("docker exec dfaas-node-1-1 grep -E '^Cap(Eff|Bnd)' /proc/1/status")?;
    ensure!(
        rights.lines().all(|line| line.ends_with("0000000000000000")),
        "{rights}"
    );
    stop_one(engine, "dfaas-agent-1-1", "Leaving the federation")?;
    engine.shell(&format!("{compose} down -v\nrm -f docker/sidecar-20.yml"))?;
    nothing_left(engine)
}

fn asks(port: u16, rate: u32) -> Load {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Load::new(server, FUNCTION, rate)
}

fn offer(engine: &Engine, load: Load) -> Result<Tally> {
    let samples = load.start(&engine.namespace)?.finish()?;
    Ok(Tally::of("dfaas-node-1", &samples))
}

/// Waits until each of these agents is ready and knows the functions of all others.
///
/// # Errors
///
/// When they do not within a minute.
pub(crate) fn wait_until_formed(engine: &Engine, agents: &[&str]) -> Result<()> {
    for agent in agents {
        wait_until(&format!("peers of {agent}"), FORMED, || {
            status(engine, agent).is_ok_and(|status| {
                status.0["ready"] == true && status.peers_with_functions() == agents.len() - 1
            })
        })?;
    }
    Ok(())
}

/// What an agent says of itself.
///
/// # Errors
///
/// When it says nothing.
pub(crate) fn status(engine: &Engine, agent: &str) -> Result<Status> {
    let text = engine.shell(&format!("{agent} status --json"))?;
    Ok(Status(serde_json::from_str(&text)?))
}

fn capacity(status: &Status) -> Option<f64> {
    status.0["control"]["functions"][FUNCTION]["capacity_rps"].as_f64()
}
