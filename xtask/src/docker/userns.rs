//! Nodes whose containers have user namespaces, where nobody may load eBPF programs: Sysbox and its like.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use dfaas_testbed::{Process, wait_until};

use super::{
    checks::{self, status},
    engine::{Engine, Users},
    images,
};

/// The engine's own runtime, with an engine that gives each container a user namespace.
const COMPOSE: &str = "export NODE_RUNTIME=runc\ndocker compose -f docker/sysbox.yml -p dfaas";
/// As docs/install.md has it: the platform alone, without any capability.
const PLATFORM: &str = "docker run -d --name dfaas-node-3-1 --hostname dfaas-node-3 --network dfaas_default \
    --user 1000:1000 --cap-drop ALL --security-opt no-new-privileges -p 8083:80 dfaas-node dfaas-provider";
const API: &str = "127.0.0.1:8071";
const INSIDE: &str = "docker exec dfaas-node-1-1 dfaas-agent";
/// The nodes' capacities; the last one, from outside, is asked.
const CAPACITIES: [u32; 3] = [20, 30, 10];
const END: Duration = Duration::from_secs(10);

/// Two nodes that fall back to HAProxy and one that is served from outside share a load.
///
/// # Errors
///
/// When they do not, or say something else.
pub(crate) fn test() -> Result<()> {
    let engine = Engine::start(Users::Remapped)?;
    images::build_node(&engine)?;
    let done = nodes(&engine).inspect_err(|_| println!("{}", engine.logs()));
    done.and(engine.end())
}

fn nodes(engine: &Engine) -> Result<()> {
    engine.shell(&format!("{COMPOSE} up -d node-1 node-2\n{PLATFORM}"))?;
    let pid = engine.shell("docker inspect --format '{{.State.Pid}}' dfaas-node-3-1")?;
    let pid = pid.trim();
    let map = engine.shell(&format!("cat /proc/{pid}/uid_map"))?;
    ensure!(
        map.split_whitespace().nth(1) != Some("0"),
        "this is no user namespace: {map}"
    );
    let program = dfaas_testbed::binary("dfaas-agent")?;
    let arguments = [
        "run",
        "--netns",
        pid,
        "--interface",
        "eth0",
        "--state-dir",
        "/run/node-3",
        "--api",
        API,
    ];
    let mut outside = Process::start(&engine.namespace, "outside", &program, &arguments)?;
    let ask_outside = format!("AGENT_API_LISTEN={API} {}", program.display());
    let agents = [
        INSIDE,
        "docker exec dfaas-node-2-1 dfaas-agent",
        ask_outside.as_str(),
    ];
    engine.shell("utils/deploy-functions-to-nodes.sh 3 dfaas-node- -1")?;
    let formed = checks::wait_until_formed(engine, &agents);
    formed.with_context(|| outside.log_tail(20))?;
    for (agent, plane) in agents.iter().zip(["haproxy", "haproxy", "kernel"]) {
        let status = status(engine, agent)?;
        ensure!(
            status.0["data_plane"] == plane,
            "{agent}: not {plane}: {}",
            status.0
        );
    }
    fallback_is_told(engine)?;
    checks::all_answer(engine)?;
    checks::share(engine, &agents, CAPACITIES, 8083)?;
    engine.shell("docker stop dfaas-node-3-1")?;
    wait_until("end of the agent outside", END, || !outside.is_running())?;
    let said = outside.log_tail(3);
    ensure!(said.contains("the process of --netns has ended"), "{said}");
    let again = engine.shell_that_fails(&format!("{} run --netns {pid}", program.display()))?;
    ensure!(
        again.contains("there is no such process") && again.contains("docker inspect"),
        "{again}"
    );
    engine.shell(&format!("docker rm dfaas-node-3-1\n{COMPOSE} down -v"))?;
    checks::nothing_left(engine)
}

/// One line says who steers, why, and what to do.
fn fallback_is_told(engine: &Engine) -> Result<()> {
    let log = engine.shell("docker logs dfaas-node-1-1")?;
    let told: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("HAProxy alone"))
        .collect();
    ensure!(
        told.len() == 1 && told[0].contains("user namespace") && told[0].contains("--netns"),
        "{log}"
    );
    Ok(())
}
