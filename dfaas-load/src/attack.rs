//! Carries a workload out: each request begins when it is due, whatever became of those before it.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    client::Client,
    sample::Sample,
    target::Target,
    workload::{Stream, Workload},
};

/// Results that wait to be written; a writer that is slower than this holds requests back, and they are charged for it.
const RESULTS_WAITING_MAX: usize = 65_536;

/// How many requests may be under way at once where nothing else is said. What is due beyond waits, and its time counts.
pub(crate) const UNDER_WAY_MAX: usize = 10_000;

/// Begins to send. Results come in the order in which answers do; the channel closes behind the last one.
pub(crate) fn start(
    workload: &Workload,
    under_way_max: usize,
    stop: watch::Receiver<bool>,
) -> mpsc::Receiver<Sample> {
    let (results, receiver) = mpsc::channel(RESULTS_WAITING_MAX);
    let attack = Attack {
        client: Client::new(workload.connections, workload.timeout),
        under_way: Arc::new(Semaphore::new(under_way_max)),
        results,
        begin: (Instant::now(), Timestamp::now()),
        stop,
    };
    for stream in &workload.streams {
        tokio::spawn(attack.clone().send(stream.clone()));
    }
    receiver
}

#[derive(Clone)]
struct Attack {
    client: Client,
    under_way: Arc<Semaphore>,
    results: mpsc::Sender<Sample>,
    begin: (Instant, Timestamp),
    stop: watch::Receiver<bool>,
}

impl Attack {
    async fn send(self, stream: Stream) {
        let mut stop = self.stop.clone();
        let mut requests = JoinSet::new();
        for (number, due) in stream.schedule.clone().enumerate() {
            let due = stream.start + due;
            tokio::select! {
                () = sleep_until(self.begin.0 + due) => {}
                _ = stop.wait_for(|&is_over| is_over) => break,
            }
            let target = stream.targets[number % stream.targets.len()].clone();
            requests.spawn(self.clone().ask(number as u64, due, target));
            while requests.try_join_next().is_some() {}
        }
        while requests.join_next().await.is_some() {}
    }

    async fn ask(self, number: u64, due: Duration, target: Target) {
        let Ok(_permit) = self.under_way.acquire().await else {
            return;
        };
        let answer = self.client.ask(&target).await;
        let latency = self.begin.0.elapsed().saturating_sub(due);
        let since_begin = SignedDuration::try_from(due).unwrap_or(SignedDuration::MAX);
        let (code, bytes_in, served_by, error) = match answer {
            Ok(answer) => (answer.code, answer.bytes_in, answer.served_by, String::new()),
            Err(error) => (0, 0, None, error),
        };
        let sample = Sample {
            number,
            target: target.name,
            method: target.method.to_string(),
            url: target.url.to_string(),
            due: self.begin.1.saturating_add(since_begin).unwrap_or(self.begin.1),
            latency,
            code,
            bytes_out: target.body.len() as u64,
            bytes_in,
            error,
            served_by,
        };
        // Nobody listens any more only when the program ends.
        let _ = self.results.send(sample).await;
    }
}
