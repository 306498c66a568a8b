//! What goes wrong on users' machines: each message says what, where, and what to do.

use std::net::TcpListener;

use anyhow::{Context as _, Result, ensure};

use super::engine::Engine;

const DEPLOY: &str = "utils/deploy-functions-to-nodes.sh 3 dfaas-node- -1";
const DOWN: &str = "docker compose down -v";

/// Nobody listens on the engine's socket.
///
/// # Errors
///
/// When that is not told.
pub(crate) fn no_engine(engine: &Engine) -> Result<()> {
    let without = "export DOCKER_HOST=unix:///run/nosuch.sock";
    for script in [DEPLOY, "./setup-environment.sh --check"] {
        let said = engine.shell_that_fails(&format!("{without}\n{script}"))?;
        tells(
            &said,
            &["no engine answers", "nosuch.sock", "systemctl start docker"],
        )?;
    }
    Ok(())
}

/// The engine does not know CAP_BPF.
///
/// # Errors
///
/// When the other Compose file is not named. Newer engines have nothing to tell.
pub(crate) fn old_engine(engine: &Engine) -> Result<()> {
    if engine.knows_bpf() {
        println!("docker: this engine knows CAP_BPF");
        return Ok(());
    }
    let newer = "export COMPOSE_FILE=docker-compose.yml";
    let said = engine.shell_that_fails(&format!("{newer}\ndocker compose up -d"))?;
    tells(&said, &["unknown capability", "CAP_BPF"])?;
    let said = engine.shell_that_fails(&format!("unset COMPOSE_FILE\n{DEPLOY}"))?;
    tells(&said, &["dfaas-node-1-1", "CAP_BPF", "docker/engine-20.yml"])?;
    engine.shell(&format!("{newer}\n{DOWN}"))?;
    Ok(())
}

/// Somebody has port 8081.
///
/// # Errors
///
/// When the port, the container and the way out are not named.
pub(crate) fn taken_port(engine: &Engine) -> Result<()> {
    let listen = || TcpListener::bind("0.0.0.0:8081");
    let _holder = engine.namespace.on_thread(listen)?.context("taking port 8081")?;
    let said = engine.shell_that_fails("docker compose up -d")?;
    tells(&said, &["8081"])?;
    let said = engine.shell_that_fails(DEPLOY)?;
    tells(&said, &["dfaas-node-1-1", "8081", "NODE_PORT_1="])?;
    engine.shell(DOWN)?;
    Ok(())
}

fn tells(said: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(said.contains(word), "does not tell {word:?}:\n{said}");
    }
    Ok(())
}
