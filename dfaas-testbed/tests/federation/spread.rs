//! How the requests of kept connections spread over nodes, and that each is counted once.

use std::{mem, thread, time::Duration};

use dfaas_testbed::{Burst, Status, Totals, now, wait_until};

use crate::{
    front_ends::{SHARED_RPS, trio},
    kit::{is_on_haproxy, turn},
};

const CONNECTIONS: usize = 64;
const REQUESTS: u64 = 20_000;
const WRK_SECONDS: &str = "3s";
/// How much of a second's capacity a node may serve at once.
const LOCAL_BURST_S: f64 = 0.5;
/// Of two peers, chance alone makes more than this once in a thousand runs (one degree of freedom).
const CHI_SQUARE_MAX: f64 = 10.83;

/// Less than this says little.
const SPREAD_MIN: u64 = 500;
/// How often it is tried to get so many.
const ROUNDS_MAX: usize = 6;
/// How long the demand of a test before may be remembered.
const CALM_WITHIN: Duration = Duration::from_secs(10);
const SAMPLE_INTERVAL: Duration = Duration::from_millis(30);
/// HAProxy's counters are read five times a second.
const COUNTED: Duration = Duration::from_millis(500);

#[test]
fn requests_of_kept_connections_spread_and_are_counted_once() {
    check_spread(|| check_burst("keep-alive", REQUESTS, CONNECTIONS as u64));
}

#[test]
fn connections_of_one_request_spread_and_are_counted_once() {
    check_spread(|| check_burst("close", REQUESTS / 4, REQUESTS / 4));
}

#[track_caller]
fn check_burst(connection: &str, requests: u64, connections: u64) -> Vec<Shares> {
    let federation = trio();
    let before = Counts::read();
    let burst = Burst {
        server: federation.nodes[0].service(),
        request: format!(
            "POST /function/shared HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\nContent-Length: 5\r\n\r\nhello"
        )
        .into_bytes(),
        method: "POST",
        requests,
        connections: CONNECTIONS,
    };
    let (answers, samples) = sampled(|| burst.send(&federation.client).unwrap());
    let counts = Counts::read();
    println!("{:?} in {:?}", answers.counts, answers.took);
    assert_eq!(answers.connections, connections, "{answers:?}");
    let nodes = federation.nodes.iter();
    let served: Vec<u64> = nodes.map(|node| answers.served_by(node.name())).collect();
    assert_eq!(served.iter().sum::<u64>(), requests, "{answers:?}");
    counts.check_since(&before, &served);
    check_local(served[0], answers.took);
    samples
}

#[test]
fn requests_of_wrk_spread_and_are_counted_once() {
    check_spread(check_wrk);
}

fn check_wrk() -> Vec<Shares> {
    let federation = trio();
    let before = Counts::read();
    let url = format!("http://{}/function/shared", federation.nodes[0].service());
    let connections = CONNECTIONS.to_string();
    let arguments = ["-t", "2", "-c", &connections, "-d", WRK_SECONDS, &url];
    let wrk = || {
        let start = now();
        let output = federation.client.output("wrk", &arguments);
        (output, start.elapsed())
    };
    let ((output, took), samples) = sampled(wrk);
    let text = String::from_utf8_lossy(&output.unwrap().stdout).into_owned();
    let reported = text.lines().find_map(|line| line.split_once(" requests in"));
    let reported: u64 = reported
        .unwrap_or_else(|| panic!("{text}"))
        .0
        .trim()
        .parse()
        .unwrap();
    println!("{}", text.trim());
    assert!(
        !text.contains("Non-2xx") && !text.contains("Socket errors"),
        "{text}"
    );
    let counts = Counts::read();
    // What was on its way when wrk ended may be counted or not.
    let range = reported..=reported + CONNECTIONS as u64;
    let calls = differences(&counts.calls, &before.calls);
    let user = counts.totals[0].since(&before.totals[0]).user;
    let told = format!("{reported} reported, {calls:?}, {counts:?} after {before:?}");
    assert!(range.contains(&user), "{told}");
    assert!(range.contains(&calls.iter().sum()), "{told}");
    check_local(calls[0], took);
    samples
}

/// Node 1 serves what it has capacity for.
#[track_caller]
fn check_local(served: u64, took: Duration) {
    let capacity_rps = f64::from(SHARED_RPS[0]);
    let tokens = capacity_rps * took.as_secs_f64();
    let range = tokens * 0.8 - 1.0..=tokens * 1.1 + capacity_rps * LOCAL_BURST_S + 1.0;
    assert!(
        range.contains(&to_f64(served)),
        "{served} by node 1, not {range:?}"
    );
}

/// The peers of node 1 serve the rest in proportion to their capacity.
///
/// Where the machine has so much to do that one peer seems farther away than the other, the nearer is preferred for a
/// while. Such times do not count, and if little else is left, it is done once more.
#[track_caller]
fn check_spread(mut round: impl FnMut() -> Vec<Shares>) {
    let _turn = turn();
    let configured = configured();
    let mut sent = vec![0; configured.len()];
    for _ in 0..ROUNDS_MAX {
        for new in sent_by_configuration(&round()) {
            sent.iter_mut().zip(new).for_each(|(sum, new)| *sum += new);
        }
        if sent.iter().sum::<u64>() >= SPREAD_MIN {
            break;
        }
    }
    let total = sent.iter().sum();
    assert!(
        total >= SPREAD_MIN,
        "{sent:?} while the weights were {configured:?}"
    );
    let expected = configured.iter().map(|weight| weight * to_f64(total));
    let chi_square: f64 = (sent.iter().zip(expected))
        .map(|(&sent, expected)| (to_f64(sent) - expected).powi(2) / expected)
        .sum();
    println!("{sent:?} for weights {configured:?}: chi-square {chi_square:.3}");
    assert!(
        chi_square < CHI_SQUARE_MAX,
        "{chi_square}: {sent:?} for {configured:?}"
    );
}

/// What went to each peer between two looks that both saw the configured weights.
fn sent_by_configuration(samples: &[Shares]) -> impl Iterator<Item = Vec<u64>> {
    let pairs = samples.windows(2);
    pairs
        .filter(|pair| pair.iter().all(Shares::are_configured))
        .map(|pair| differences(&pair[1].sent, &pair[0].sent))
}

/// Looks again and again at what node 1 sends to whom, while something is done. It begins with nothing left of what
/// was done before.
fn sampled<T: Send>(work: impl FnOnce() -> T + Send) -> (T, Vec<Shares>) {
    let peers = peers();
    let shares = || Shares::of(&trio().nodes[0].status().unwrap(), &peers);
    wait_until("weights as configured", CALM_WITHIN, || shares().are_configured()).unwrap();
    thread::scope(|scope| {
        let working = scope.spawn(work);
        let mut samples = Vec::new();
        while !working.is_finished() {
            samples.push(shares());
            thread::sleep(SAMPLE_INTERVAL);
        }
        (working.join().unwrap(), samples)
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts of a test run are small")]
fn to_f64(count: u64) -> f64 {
    count as f64
}

/// What agents and platforms have counted for the function that all nodes share.
#[derive(Debug)]
struct Counts {
    totals: Vec<Totals>,
    shares: Shares,
    /// How often each platform was called.
    calls: Vec<u64>,
}

impl Counts {
    fn read() -> Self {
        let mut counts = Self::of_now();
        if is_on_haproxy() {
            wait_until("all counted", CALM_WITHIN, || {
                thread::sleep(COUNTED);
                let before = mem::replace(&mut counts, Self::of_now());
                counts.totals == before.totals
            })
            .unwrap();
        }
        counts
    }

    fn of_now() -> Self {
        let nodes = &trio().nodes;
        let statuses: Vec<Status> = nodes.iter().map(|node| node.status().unwrap()).collect();
        Self {
            totals: statuses.iter().map(|status| status.totals("shared")).collect(),
            shares: Shares::of(&statuses[0], &peers()),
            calls: nodes.iter().map(|node| node.calls("shared").unwrap()).collect(),
        }
    }

    /// The agents have counted what each node served, once, and so have the platforms.
    #[track_caller]
    fn check_since(&self, before: &Self, served: &[u64]) {
        let all = served.iter().sum();
        let new: Vec<Totals> = (self.totals.iter().zip(&before.totals))
            .map(|(now, before)| now.since(before))
            .collect();
        let at_first = Totals {
            user: all,
            local: served[0],
            forwarded: all - served[0],
            ..Totals::default()
        };
        let others = served[1..].iter().map(|&admitted| Totals {
            admitted,
            ..Totals::default()
        });
        let want: Vec<Totals> = [at_first].into_iter().chain(others).collect();
        assert_eq!(new, want, "agents, for {served:?} served");
        assert_eq!(
            differences(&self.shares.sent, &before.shares.sent),
            served[1..],
            "sent to each peer"
        );
        assert_eq!(differences(&self.calls, &before.calls), served, "platforms");
    }
}

/// What node 1 says about how the other nodes share in its excess, in their order.
#[derive(Debug)]
struct Shares {
    sent: Vec<u64>,
    weights: Vec<f64>,
}

impl Shares {
    fn of(status: &Status, peers: &[String]) -> Self {
        let weights = status.weights("shared");
        let sent = peers.iter().map(|peer| status.forwarded_to("shared", peer));
        Self {
            sent: sent.collect(),
            // For a while, one that seems far away has none.
            weights: peers
                .iter()
                .map(|peer| weights.get(peer).copied().unwrap_or(0.0))
                .collect(),
        }
    }

    fn are_configured(&self) -> bool {
        let mut pairs = self.weights.iter().zip(configured());
        pairs.all(|(weight, configured)| (weight - configured).abs() < 0.001)
    }
}

/// The weights that follow from what the other nodes have capacity for.
fn configured() -> Vec<f64> {
    let total_rps: u32 = SHARED_RPS[1..].iter().sum();
    let weights = SHARED_RPS[1..].iter();
    weights
        .map(|&rps| f64::from(rps) / f64::from(total_rps))
        .collect()
}

/// The identities of the other nodes.
fn peers() -> Vec<String> {
    let others = trio().nodes[1..].iter();
    others
        .map(|node| node.status().unwrap().node().to_owned())
        .collect()
}

fn differences(now: &[u64], before: &[u64]) -> Vec<u64> {
    now.iter().zip(before).map(|(now, before)| now - before).collect()
}
