//! Ports of this machine's localhost that lead to hosts in namespaces.

use std::{
    io::{Error, ErrorKind},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::copy_bidirectional,
    net::TcpStream,
    runtime::Builder,
    time::{sleep, timeout},
};

use crate::Namespace;

/// How long a connection to a host may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the relay looks whether it should end.
const STEP: Duration = Duration::from_millis(50);

/// Carries connections from localhost to hosts in namespaces until it is dropped.
#[derive(Debug)]
pub struct Relay {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Listens on localhost and connects from a namespace: pairs of a port here and an address there.
    ///
    /// # Errors
    ///
    /// When a port is taken.
    pub fn start(from: &Namespace, pairs: &[(u16, SocketAddr)]) -> Result<Self> {
        let listeners = pairs
            .iter()
            .map(|&(port, to)| Ok((listen(port)?, to)))
            .collect::<Result<Vec<_>>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = from.on_thread(|| spawn_here(listeners, stopped))??;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

fn listen(port: u16) -> Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .with_context(|| format!("listening on localhost:{port}; end what uses it"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A thread is of the network of who starts it; the listeners stay where they were opened.
fn spawn_here(listeners: Vec<(TcpListener, SocketAddr)>, stop: Arc<AtomicBool>) -> Result<JoinHandle<()>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let carry = move || {
        runtime.block_on(async {
            for (listener, to) in listeners {
                tokio::spawn(accept(listener, to));
            }
            while !stop.load(Ordering::Relaxed) {
                sleep(STEP).await;
            }
        });
    };
    thread::Builder::new()
        .name("relay".to_owned())
        .spawn(carry)
        .context("starting the relay")
}

async fn accept(listener: TcpListener, to: SocketAddr) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((client, _)) => drop(tokio::spawn(carry(client, to))),
            // Too many files are open, for example: later there may be fewer.
            Err(_) => sleep(STEP).await,
        }
    }
}

async fn carry(mut client: TcpStream, to: SocketAddr) -> Result<(), Error> {
    let opened = timeout(CONNECT_TIMEOUT, TcpStream::connect(to)).await;
    let mut server = opened.map_err(|_| Error::from(ErrorKind::TimedOut))??;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A relay that panicked carries nothing either.
            let _ = thread.join();
        }
    }
}
