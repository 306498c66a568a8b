//! A service that the strategy `external` asks for weights and limits.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::Namespace;

/// How often it looks whether it is to end.
const STEP: Duration = Duration::from_millis(5);
const TIMEOUT: Duration = Duration::from_secs(1);

/// A service that the strategy `external` asks. It ends when it is dropped.
#[derive(Debug)]
pub struct Adviser {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    answered: AtomicU64,
    stop: AtomicBool,
}

impl Adviser {
    /// Where it listens on every node that has one.
    pub const URL: &'static str = "http://127.0.0.1:8060/";

    /// Starts it on a node; `advise` gets a question and gives the answer, both in JSON.
    ///
    /// # Errors
    ///
    /// When the port is taken.
    pub fn start(on: &Namespace, advise: impl FnMut(&[u8]) -> String + Send + 'static) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], 8060));
        let listener = on.on_thread(|| TcpListener::bind(address))?;
        let listener = listener.context("listening for an agent's questions")?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared::default());
        let worker = Arc::clone(&shared);
        let thread = thread::Builder::new().name("adviser".to_owned());
        let thread = thread.spawn(move || serve(&listener, &worker, advise))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// How many questions it has answered.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }
}

fn serve(listener: &TcpListener, shared: &Shared, mut advise: impl FnMut(&[u8]) -> String) {
    while !shared.stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                // An agent that goes away asks again when it is back.
                if answer(stream, &mut advise).is_ok() {
                    shared.answered.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(STEP),
            Err(_) => return,
        }
    }
}

fn answer(stream: TcpStream, advise: &mut impl FnMut(&[u8]) -> String) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut reader = BufReader::new(&stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().context("reading the length")?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut question = vec![0; length];
    reader.read_exact(&mut question)?;
    let advice = advise(&question);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        advice.len()
    );
    (&stream).write_all(&[head.as_bytes(), advice.as_bytes()].concat())?;
    Ok(())
}

impl Drop for Adviser {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it had to say, it has said.
            let _ = thread.join();
        }
    }
}
