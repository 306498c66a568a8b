//! A closed-loop load generator: so many requests, over so many connections, and not one more.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow};

use crate::{Namespace, Wire, now};

/// So many requests, over so many connections that are kept.
#[derive(Clone, Debug)]
pub struct Burst {
    /// Who is asked.
    pub server: SocketAddr,
    /// The whole request.
    pub request: Vec<u8>,
    /// Its method.
    pub method: &'static str,
    /// How many times it is sent in all.
    pub requests: u64,
    /// How many connections take part.
    pub connections: usize,
}

/// What came of a burst.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// How many answers had each status code, by the node whose platform answered, where a platform did.
    pub counts: BTreeMap<(u16, Option<String>), u64>,
    /// How many connections were opened: more than asked for where answers ended some.
    pub connections: u64,
    /// How long it all took.
    pub took: Duration,
}

impl Burst {
    /// Sends from a namespace, and waits for all answers.
    ///
    /// # Errors
    ///
    /// When a request is not answered.
    pub fn send(&self, from: &Namespace) -> Result<Answers> {
        let left = AtomicU64::new(self.requests);
        let start = now();
        let mut all = Answers::default();
        thread::scope(|scope| {
            let senders: Vec<_> = (0..self.connections)
                .map(|_| scope.spawn(|| self.send_on_one(from, &left)))
                .collect();
            for sender in senders {
                all.add(sender.join().map_err(|_| anyhow!("a sender panicked"))??);
            }
            anyhow::Ok(())
        })?;
        all.took = start.elapsed();
        Ok(all)
    }

    /// Sends as long as there is something left, on one connection after the other.
    fn send_on_one(&self, from: &Namespace, left: &AtomicU64) -> Result<Answers> {
        let mut answers = Answers::default();
        let mut kept = None;
        let take = || left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        while take().is_ok() {
            let mut wire = match kept.take() {
                Some(wire) => wire,
                None => {
                    answers.connections += 1;
                    Wire::connect(from, self.server)?
                }
            };
            let response = wire.ask(&self.request, self.method)?;
            let key = (response.status, response.served_by().map(str::to_owned));
            *answers.counts.entry(key).or_default() += 1;
            kept = (!response.is_last).then_some(wire);
        }
        Ok(answers)
    }
}

impl Answers {
    fn add(&mut self, other: Self) {
        for (key, count) in other.counts {
            *self.counts.entry(key).or_default() += count;
        }
        self.connections += other.connections;
    }

    /// How many requests a node answered with 200.
    pub fn served_by(&self, node: &str) -> u64 {
        self.counts
            .get(&(200, Some(node.to_owned())))
            .copied()
            .unwrap_or(0)
    }
}
