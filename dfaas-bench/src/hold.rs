//! Connections that are opened, used once and kept, to see what many of them cost.

use std::{
    io::{self, BufRead as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    thread,
};

use anyhow::{Result, anyhow, ensure};
use dfaas_testbed::Wire;

const OPENERS: usize = 8;
/// So many of them are used again for each line of standard input.
const CHECKED: usize = 25;
/// What is printed when all connections are open, and each time they were checked.
pub(crate) const DONE: &str = "done\n";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to connect to
    #[arg(long)]
    server: SocketAddr,
    /// The address to connect from
    #[arg(long)]
    source: Ipv4Addr,
    /// What to ask for
    #[arg(long)]
    path: String,
    /// How many connections to keep
    #[arg(long)]
    connections: usize,
}

/// Keeps connections until standard input ends.
///
/// # Errors
///
/// When one cannot be opened, or is not answered.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut kept = open(args)?;
    tell()?;
    for line in io::stdin().lock().lines() {
        line?;
        let step = (kept.len() / CHECKED).max(1);
        for wire in kept.iter_mut().step_by(step) {
            args.use_once(wire)?;
        }
        tell()?;
    }
    Ok(())
}

fn tell() -> io::Result<()> {
    io::stdout().write_all(DONE.as_bytes())
}

fn open(args: &Args) -> Result<Vec<Wire>> {
    let open = |opener: usize| -> Result<Vec<Wire>> {
        let mut opened = Vec::new();
        for _ in (opener..args.connections).step_by(OPENERS) {
            let mut wire = Wire::connect_from(args.source, args.server)?;
            args.use_once(&mut wire)?;
            opened.push(wire);
        }
        Ok(opened)
    };
    thread::scope(|scope| {
        let openers: Vec<_> = (0..OPENERS)
            .map(|opener| scope.spawn(move || open(opener)))
            .collect();
        let mut all = Vec::new();
        for opener in openers {
            all.extend(opener.join().map_err(|_| anyhow!("an opener panicked"))??);
        }
        Ok(all)
    })
}

impl Args {
    fn use_once(&self, wire: &mut Wire) -> Result<()> {
        let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", self.path);
        let response = wire.ask(request.as_bytes(), "GET")?;
        ensure!(response.status == 200, "{response:?}");
        Ok(())
    }
}
