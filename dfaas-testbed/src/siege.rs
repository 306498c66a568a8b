//! A closed-loop load generator that goes on for a time, whatever happens, and keeps account of every request.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use crate::{Namespace, Wire, now};

/// How long to wait after a connection could not be opened.
const PAUSE: Duration = Duration::from_millis(20);

/// Requests over and over, on so many connections at the same time.
#[derive(Clone, Debug)]
pub struct Siege {
    /// Who is asked.
    pub server: SocketAddr,
    /// Addresses to connect from, a connection each in turns; any if there are none.
    pub sources: Vec<Ipv4Addr>,
    /// Whole requests, in turns.
    pub requests: Vec<Vec<u8>>,
    /// Their method.
    pub method: &'static str,
    /// How many connections at the same time.
    pub connections: usize,
    /// After how many requests a connection is closed and another one opened.
    pub requests_a_connection: u64,
    /// For how long.
    pub at_most: Duration,
}

/// What became of all the requests.
#[derive(Clone, Debug, Default)]
pub struct Toll {
    /// How many were sent, or would have been if a connection could be opened.
    pub requests: u64,
    /// How many answers had each status code, by the node whose platform answered, where a platform did.
    pub answers: BTreeMap<(u16, Option<String>), u64>,
    /// How many had no whole answer, and why.
    pub faults: BTreeMap<String, u64>,
    /// How long it all took.
    pub took: Duration,
}

impl Siege {
    /// Sends from a namespace until the time is over or `stop` is set.
    ///
    /// # Errors
    ///
    /// When the generator itself goes wrong.
    pub fn run(&self, from: &Namespace, stop: &AtomicBool) -> Result<Toll> {
        let start = now();
        let mut all = Toll::default();
        thread::scope(|scope| {
            let senders: Vec<_> = (0..self.connections)
                .map(|number| scope.spawn(move || self.send(from, number, start, stop)))
                .collect();
            for sender in senders {
                all.add(sender.join().map_err(|_| anyhow!("a sender panicked"))??);
            }
            anyhow::Ok(())
        })?;
        all.took = start.elapsed();
        Ok(all)
    }

    fn send(&self, from: &Namespace, number: usize, start: Instant, stop: &AtomicBool) -> Result<Toll> {
        from.enter_network()?;
        let mut toll = Toll::default();
        let source = self.sources.get(number % self.sources.len().max(1)).copied();
        let mut turn = number;
        while start.elapsed() < self.at_most && !stop.load(Ordering::Relaxed) {
            if let Err(error) = self.use_one(source, &mut turn, start, stop, &mut toll) {
                // The last cause tells what happened; what was received does not matter.
                *toll.faults.entry(error.root_cause().to_string()).or_default() += 1;
                thread::sleep(PAUSE);
            }
        }
        Ok(toll)
    }

    /// Uses a connection from its beginning to its end.
    fn use_one(
        &self,
        source: Option<Ipv4Addr>,
        turn: &mut usize,
        start: Instant,
        stop: &AtomicBool,
        toll: &mut Toll,
    ) -> Result<()> {
        toll.requests += 1;
        let mut wire = match source {
            Some(source) => Wire::connect_from(source, self.server)?,
            None => Wire::new(TcpStream::connect(self.server)?)?,
        };
        for number in 0..self.requests_a_connection {
            if number > 0 {
                if start.elapsed() >= self.at_most || stop.load(Ordering::Relaxed) {
                    break;
                }
                toll.requests += 1;
            }
            let request = &self.requests[*turn % self.requests.len()];
            *turn += 1;
            let response = wire.ask(request, self.method)?;
            let key = (response.status, response.served_by().map(str::to_owned));
            *toll.answers.entry(key).or_default() += 1;
            if response.is_last {
                break;
            }
        }
        Ok(())
    }
}

impl Toll {
    /// Adds another one, which went on at the same time.
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        for (key, count) in other.answers {
            *self.answers.entry(key).or_default() += count;
        }
        for (reason, count) in other.faults {
            *self.faults.entry(reason).or_default() += count;
        }
        self.took = self.took.max(other.took);
    }

    /// How many were answered with a status code.
    pub fn answered(&self, status: u16) -> u64 {
        let counts = self.answers.iter().filter(|((seen, _), _)| *seen == status);
        counts.map(|(_, count)| count).sum()
    }

    /// How many were answered with another status code than 200.
    pub fn refused(&self) -> u64 {
        self.answers.values().sum::<u64>() - self.answered(200)
    }

    /// How many had no whole answer.
    pub fn lost(&self) -> u64 {
        self.faults.values().sum()
    }

    /// How many requests a second were answered with 200.
    pub fn rate_rps(&self) -> f64 {
        self.answered(200) as f64 / self.took.as_secs_f64().max(1e-9)
    }
}
