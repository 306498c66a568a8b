//! Starts a warm process, waits until it listens, and starts it again when it dies.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::time::sleep;

use super::State;
use crate::classic::describe;
use crate::clock;
use crate::function_log::FunctionLog;
use crate::launch::Launch;
use crate::process::Process;

const PROBE_INTERVAL: Duration = Duration::from_millis(20);

const DELAY_MIN: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(30);

/// Callers wait for a restart that comes sooner than this, and are told of one that does not.
const DELAY_WORTH_WAITING: Duration = Duration::from_secs(1);

/// A process that lived so long is started again at once.
const LIFE_LONG: Duration = Duration::from_secs(10);

/// Never ends by itself; dropping the future kills the process.
pub(super) async fn keep_running(
    launch: Arc<Launch>,
    fixed: Option<SocketAddr>,
    log: Arc<FunctionLog>,
    state: Arc<watch::Sender<State>>,
) {
    let mut delay = DELAY_MIN;
    loop {
        let started = clock::now();
        let reason = match run_once(&launch, fixed, &log, &state).await {
            Ok(reason) => reason,
            Err(error) => format!("start {:?}: {error}", launch.program()),
        };
        if clock::now().saturating_duration_since(started) >= LIFE_LONG {
            delay = DELAY_MIN;
        }
        log.push(
            std::process::id(),
            format!("{reason}; starting again in {delay:?}"),
        );
        state.send_replace(match delay < DELAY_WORTH_WAITING {
            true => State::Starting,
            false => State::Down { reason },
        });
        sleep(delay).await;
        delay = (delay * 2).min(DELAY_MAX);
    }
}

/// Runs the process until it ends and tells how it ended.
async fn run_once(
    launch: &Launch,
    fixed: Option<SocketAddr>,
    log: &Arc<FunctionLog>,
    state: &watch::Sender<State>,
) -> io::Result<String> {
    let address = fixed.map_or_else(free_address, Ok)?;
    let (mut process, output) = start(launch, address)?;
    log.push(process.id(), format!("started, to listen on {address}"));
    let (pid, lines) = (process.id(), Arc::clone(log));
    tokio::spawn(async move { lines.copy(pid, "", output).await });
    tokio::select! {
        status = process.wait() => Ok(describe(status?)),
        never = announce(address, state) => match never {},
    }
}

fn start(launch: &Launch, address: SocketAddr) -> io::Result<(Process, pipe::Receiver)> {
    let (output, writer) = io::pipe()?;
    let port = address.port().to_string();
    let mut command = launch.command()?;
    command.env("PORT", &port).env("port", &port);
    command
        .stdin(Stdio::null())
        .stderr(writer.try_clone()?)
        .stdout(writer);
    let process = launch.start(&mut command)?;
    Ok((process, pipe::Receiver::from_owned_fd(OwnedFd::from(output))?))
}

/// The port could be taken before the function listens on it; then the function dies and gets another.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

async fn announce(address: SocketAddr, state: &watch::Sender<State>) -> std::convert::Infallible {
    while TcpStream::connect(address).await.is_err() {
        sleep(PROBE_INTERVAL).await;
    }
    state.send_replace(State::Ready(address));
    std::future::pending().await
}
