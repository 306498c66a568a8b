//! The real programs: none is in the project, all are given.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use dfaas_testbed::{now, wait_until};
use serde_json::Value;

use super::{provider::free_address, want::Got};

const PATIENCE: Duration = Duration::from_secs(10);
/// What a program may take to do what it is told and end.
const RUN_SECONDS: &str = "60";

/// A watchdog that runs one function. It is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Watchdog {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Watchdog {
    /// Starts a watchdog for a deployment, as its container would.
    ///
    /// # Errors
    ///
    /// When it does not listen; the error holds what it wrote.
    pub(crate) fn start(path: &Path, directory: &Path, deployment: &Value) -> Result<Self> {
        let address = free_address()?;
        let log = directory.join("watchdog.log");
        let mut command = Command::new(path);
        command
            .env("fprocess", deployment["envProcess"].as_str().unwrap_or_default())
            .env("port", address.port().to_string())
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?);
        for (name, value) in deployment["envVars"].as_object().into_iter().flatten() {
            command.env(name, value.as_str().unwrap_or_default());
        }
        if deployment["envVars"]["mode"] == "http" {
            let upstream = free_address()?;
            command.env("upstream_url", format!("http://{upstream}"));
            command.env("PORT", upstream.port().to_string());
        }
        let child = command
            .spawn()
            .with_context(|| format!("starting {}", path.display()))?;
        let mut watchdog = Self { child, address };
        let mut ended = None;
        let waited = wait_until("the watchdog's start", PATIENCE, || {
            ended = watchdog.child.try_wait().ok().flatten();
            ended.is_some() || TcpStream::connect(address).is_ok()
        });
        if ended.is_some() || waited.is_err() {
            let text = fs::read_to_string(&log).unwrap_or_default();
            return Err(anyhow!(
                "{} does not listen at {address} ({ended:?}): {}",
                path.display(),
                text.trim()
            ));
        }
        Ok(watchdog)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left of it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program in the row's folder to its end.
///
/// # Errors
///
/// When it cannot be started.
pub(crate) fn run(
    program: &Path,
    directory: &Path,
    arguments: &[String],
    variables: &BTreeMap<String, String>,
) -> Result<Got> {
    let start = now();
    // Coreutils' timeout ends what hangs, with the exit code 124.
    let output = Command::new("timeout")
        .arg(RUN_SECONDS)
        .arg(program)
        .args(arguments)
        .env("HOME", directory)
        .env_remove("OPENFAAS_URL")
        .envs(variables)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {}", program.display()))?;
    Ok(Got {
        code: output.status.code().unwrap_or(-1),
        took_ms: start.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
        body: written(output),
        ..Got::default()
    })
}

fn written(output: Output) -> Vec<u8> {
    [output.stdout, output.stderr].concat()
}
