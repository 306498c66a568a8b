//! Who may send how much to whom, as a pure function of what all nodes told.

use crate::rtt_band::RttBand;

/// Rates below this are rounding errors, not traffic: one request in a quarter of an hour.
pub(crate) const RATE_RPS_MIN: f64 = 1e-3;
/// Where placing stops: far below any rate that matters, far above the rounding errors of sums up to 1e9.
const REST_RPS_MIN: f64 = 1e-6;

/// What one node told about one function.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Load {
    pub(crate) capacity_rps: f64,
    pub(crate) demand_rps: f64,
}

/// Who may send how much to whom. Nodes are numbered as in the loads it was made from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Allocation {
    /// By sender, then receiver.
    placed: Vec<f64>,
    left: Vec<f64>,
}

impl Load {
    fn surplus_rps(self) -> f64 {
        (self.capacity_rps - self.demand_rps).max(0.0)
    }

    fn deficit_rps(self) -> f64 {
        (self.demand_rps - self.capacity_rps).max(0.0)
    }
}

impl Allocation {
    /// Places deficits on surpluses: whole if they fit, else by max-min fair shares; nearest band first, and inside
    /// a band in proportion to the surplus.
    pub(crate) fn new(loads: &[Load], band: impl Fn(usize, usize) -> RttBand) -> Self {
        let mut surplus: Vec<f64> = loads.iter().map(|load| load.surplus_rps()).collect();
        let deficits: Vec<f64> = loads.iter().map(|load| load.deficit_rps()).collect();
        let mut grants = fair_shares(&deficits, surplus.iter().sum());
        let mut placed = vec![0.0; loads.len() * loads.len()];
        let givers: Vec<usize> = (0..loads.len()).filter(|&i| grants[i] > 0.0).collect();
        let takers: Vec<usize> = (0..loads.len()).filter(|&j| surplus[j] > 0.0).collect();
        if givers.is_empty() || takers.is_empty() {
            return Self {
                placed,
                left: surplus,
            };
        }
        for wanted in RttBand::all() {
            let links = links(&givers, &takers, |i, j| band(i, j) == wanted);
            place(&links, &mut grants, &mut surplus, &mut placed);
        }
        Self {
            placed,
            left: surplus,
        }
    }

    /// How much of the sender's deficit goes to the receiver, in requests per second.
    pub(crate) fn placed_rps(&self, sender: usize, receiver: usize) -> f64 {
        self.placed[sender * self.left.len() + receiver]
    }

    /// How much the sender may spill onto the receiver beyond what is placed, in requests per second: an equal share
    /// of what the receiver has left, for every other node.
    pub(crate) fn stand_by_rps(&self, sender: usize, receiver: usize) -> f64 {
        if sender == receiver {
            0.0
        } else {
            self.left[receiver] / (self.left.len() - 1) as f64
        }
    }

    /// How much the sender may send to the receiver in all, in requests per second.
    pub(crate) fn cap_rps(&self, sender: usize, receiver: usize) -> f64 {
        self.placed_rps(sender, receiver) + self.stand_by_rps(sender, receiver)
    }
}

/// Max-min fair shares of `total`: nobody gets more than asked, and what small ones do not need goes to the others.
fn fair_shares(asked: &[f64], total: f64) -> Vec<f64> {
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

/// For each giver, the takers it is linked to.
fn links(
    givers: &[usize],
    takers: &[usize],
    linked: impl Fn(usize, usize) -> bool,
) -> Vec<(usize, Vec<usize>)> {
    let takers_of = |i| takers.iter().copied().filter(|&j| linked(i, j)).collect();
    givers.iter().map(|&i| (i, takers_of(i))).collect()
}

/// Places as much as the links permit.
fn place(links: &[(usize, Vec<usize>)], grants: &mut [f64], surplus: &mut [f64], placed: &mut [f64]) {
    // Each round uses up a receiver or satisfies every sender that still has one.
    for _ in 0..=surplus.len() {
        let asks = asks(links, grants, surplus);
        if asks.is_empty() {
            return;
        }
        let mut asked = vec![0.0; surplus.len()];
        for &(_, receiver, rate) in &asks {
            asked[receiver] += rate;
        }
        let offered = surplus.to_vec();
        for (sender, receiver, rate) in asks {
            let given = rate * (offered[receiver] / asked[receiver]).min(1.0);
            placed[sender * surplus.len() + receiver] += given;
            grants[sender] = (grants[sender] - given).max(0.0);
            surplus[receiver] = (surplus[receiver] - given).max(0.0);
        }
    }
}

/// What every sender asks of its receivers: what it still has to place, in proportion to their surplus.
fn asks(links: &[(usize, Vec<usize>)], grants: &[f64], surplus: &[f64]) -> Vec<(usize, usize, f64)> {
    let mut asks = Vec::new();
    for (sender, receivers) in links {
        let total: f64 = receivers.iter().map(|&j| surplus[j]).sum();
        if grants[*sender] < REST_RPS_MIN || total < REST_RPS_MIN {
            continue;
        }
        let asked = grants[*sender].min(total);
        let shares = receivers
            .iter()
            .map(|&j| (*sender, j, asked * surplus[j] / total));
        asks.extend(shares.filter(|&(_, _, rate)| rate > 0.0));
    }
    asks
}

#[cfg(test)]
mod tests;
