//! Places what senders are granted on what receivers have left, band by band.

use std::collections::BTreeMap;

use crate::rtt_band::RttBand;

use super::super::distances::Distances;

/// Where placing stops: far below any rate that matters, far above the rounding errors of sums up to 1e9.
pub(super) const REST_RPS_MIN: f64 = 1e-6;

/// Where what is placed is written down.
pub(super) trait Book {
    /// Takes down what senders of an ask send: each in proportion to `part` of the receivers, by number.
    fn note(&mut self, ask: &Ask<'_>, part: impl Fn(usize) -> f64);
}

/// What all senders with the same distances to everybody can reach within a band.
#[derive(Debug)]
struct Reach {
    senders: Vec<usize>,
    receivers: Vec<usize>,
}

/// What the senders of a reach ask for in a round, each in proportion to the receivers' surplus.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    reach: &'a Reach,
    by_sender: Vec<f64>,
    /// The surplus within reach.
    total: f64,
}

/// Places as much of the grants as is within reach; takes it from them and from what is left.
pub(super) fn place(book: &mut impl Book, distances: &Distances, grants: &mut [f64], left: &mut [f64]) {
    let receivers: Vec<usize> = (0..left.len()).filter(|&j| left[j] > 0.0).collect();
    let mut alike: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for i in (0..grants.len()).filter(|&i| grants[i] > 0.0) {
        alike.entry(distances.like(i)).or_default().push(i);
    }
    for band in RttBand::all() {
        let reaches = alike.values().map(|senders| Reach {
            senders: senders.clone(),
            receivers: distances.within(senders[0], band, &receivers),
        });
        let reaches: Vec<Reach> = reaches.filter(|reach| !reach.receivers.is_empty()).collect();
        place_within(book, &reaches, grants, left);
    }
}

fn place_within(book: &mut impl Book, reaches: &[Reach], grants: &mut [f64], surplus: &mut [f64]) {
    // Each round uses up a receiver or satisfies every sender that still has one.
    for _ in 0..=surplus.len() {
        let asks: Vec<Ask<'_>> = reaches
            .iter()
            .filter_map(|reach| Ask::new(reach, grants, surplus))
            .collect();
        if asks.is_empty() {
            return;
        }
        let mut asked = vec![0.0; surplus.len()];
        for ask in &asks {
            let by_surplus = ask.by_sender.iter().sum::<f64>() / ask.total;
            for &j in &ask.reach.receivers {
                asked[j] += by_surplus * surplus[j];
            }
        }
        // Of what it is asked for, a receiver gives such a part to each; by its surplus, that is this much.
        let given = |j: usize| surplus[j] * (surplus[j] / asked[j]).min(1.0);
        for ask in &asks {
            book.note(ask, |j| given(j) / ask.total);
            let part = ask.reach.receivers.iter().map(|&j| given(j)).sum::<f64>() / ask.total;
            for (&i, rate) in ask.reach.senders.iter().zip(&ask.by_sender) {
                grants[i] = (grants[i] - rate * part).max(0.0);
            }
        }
        for (rest, asked) in surplus.iter_mut().zip(asked) {
            *rest = (*rest - asked).max(0.0);
        }
    }
}

impl<'a> Ask<'a> {
    /// What is still to be placed; nothing if that is too little to matter.
    fn new(reach: &'a Reach, grants: &[f64], surplus: &[f64]) -> Option<Self> {
        let total: f64 = reach.receivers.iter().map(|&j| surplus[j]).sum();
        let ask = |&i: &usize| {
            if grants[i] < REST_RPS_MIN {
                0.0
            } else {
                grants[i].min(total)
            }
        };
        let by_sender: Vec<f64> = reach.senders.iter().map(ask).collect();
        let is_worth_it = total >= REST_RPS_MIN && by_sender.iter().any(|&rate| rate > 0.0);
        is_worth_it.then_some(Self {
            reach,
            by_sender,
            total,
        })
    }

    /// The senders and what each asks for.
    pub(super) fn senders(&self) -> impl Iterator<Item = (usize, f64)> {
        self.reach
            .senders
            .iter()
            .copied()
            .zip(self.by_sender.iter().copied())
    }

    /// The receivers, in order.
    pub(super) fn receivers(&self) -> &[usize] {
        &self.reach.receivers
    }
}

/// Max-min fair shares of `total`: nobody gets more than asked, and what small ones do not need goes to the others.
pub(super) fn fair_shares(asked: &[f64], total: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..asked.len()).filter(|&i| asked[i] > 0.0).collect();
    order.sort_by(|&a, &b| asked[a].total_cmp(&asked[b]));
    let mut shares = vec![0.0; asked.len()];
    let mut rest = total;
    for (position, &i) in order.iter().enumerate() {
        shares[i] = asked[i].min(rest / (order.len() - position) as f64);
        rest = (rest - shares[i]).max(0.0);
    }
    shares
}
