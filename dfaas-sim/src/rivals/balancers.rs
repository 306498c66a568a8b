//! Balancers that each decide for themselves, as proxies do: among all nodes that run the function, their own too, and
//! without a word to the others.

use std::collections::BTreeMap;

use super::{Admission, Choice, FunctionNews, News, Rival};
use crate::random::Random;

/// What was last heard of each node, this one among them.
#[derive(Debug)]
struct Heard {
    node: usize,
    neighbours: Vec<usize>,
    news: BTreeMap<usize, News>,
}

/// Sends to all nodes alike whose latency was below a threshold when last heard of; if none was, to the fastest.
#[derive(Debug)]
pub struct LatencyThreshold {
    heard: Heard,
    threshold_s: f64,
}

/// Sends to the node that has the fewest of its own requests for its capacity, as HAProxy's leastconn and Envoy's
/// LEAST_REQUEST over all hosts.
#[derive(Debug)]
pub struct LeastConnections {
    heard: Heard,
}

/// Draws two nodes and sends to the one that had fewer requests for its capacity when last heard of.
#[derive(Debug)]
pub struct PowerOfTwo {
    heard: Heard,
}

impl Heard {
    fn new(node: usize, neighbours: Vec<usize>) -> Self {
        Self {
            node,
            neighbours,
            news: BTreeMap::new(),
        }
    }

    fn note(&mut self, from: usize, news: &News) {
        if from == self.node || self.neighbours.contains(&from) {
            self.news.insert(from, news.clone());
        }
    }

    /// The nodes that run a function, and what they told of it.
    fn hosts(&self, function: usize) -> Vec<(usize, FunctionNews)> {
        let told = self.news.iter();
        let told = told.filter_map(|(&node, news)| Some((node, (*news.0.get(function)?)?)));
        told.filter(|(_, news)| news.capacity_rps > 0.0).collect()
    }

    fn choice(&self, node: usize) -> Choice {
        if node == self.node {
            Choice::Here
        } else {
            Choice::There(node)
        }
    }
}

impl LatencyThreshold {
    pub(super) fn new(node: usize, neighbours: Vec<usize>, threshold_s: f64) -> Self {
        Self {
            heard: Heard::new(node, neighbours),
            threshold_s,
        }
    }
}

impl LeastConnections {
    pub(super) fn new(node: usize, neighbours: Vec<usize>) -> Self {
        Self {
            heard: Heard::new(node, neighbours),
        }
    }
}

impl PowerOfTwo {
    pub(super) fn new(node: usize, neighbours: Vec<usize>) -> Self {
        Self {
            heard: Heard::new(node, neighbours),
        }
    }
}

/// What all balancers have in common.
macro_rules! impl_common {
    () => {
        fn is_local_first(&self) -> bool {
            false
        }

        fn admission(&self) -> Admission {
            Admission::All
        }

        fn hear(&mut self, from: usize, news: &News) {
            self.heard.note(from, news);
        }

        fn forget(&mut self, neighbour: usize) {
            self.heard.news.remove(&neighbour);
        }

        fn close_period(&mut self, own: &News, _random: &mut Random) {
            let node = self.heard.node;
            self.heard.note(node, own);
        }
    };
}

impl Rival for LatencyThreshold {
    impl_common!();

    fn choose(&mut self, function: usize, _outstanding: &[u32], random: &mut Random) -> Choice {
        let hosts = self.heard.hosts(function);
        let mut below: Vec<usize> = Vec::new();
        let mut fastest: Option<(f64, usize)> = None;
        for &(node, news) in &hosts {
            if news.p95_s < self.threshold_s {
                below.push(node);
            }
            if fastest.is_none_or(|(p95_s, _)| news.p95_s < p95_s) {
                fastest = Some((news.p95_s, node));
            }
        }
        match (below.get(random.below(below.len())), fastest) {
            (Some(&node), _) | (None, Some((_, node))) => self.heard.choice(node),
            (None, None) => Choice::Nowhere,
        }
    }
}

impl Rival for LeastConnections {
    impl_common!();

    fn choose(&mut self, function: usize, outstanding: &[u32], random: &mut Random) -> Choice {
        let hosts = self.heard.hosts(function);
        // Proxies begin their round somewhere else each time, so that of equals it is not always the first.
        let first = random.below(hosts.len());
        let busy =
            |&(node, news): &(usize, FunctionNews)| f64::from(outstanding[node] + 1) / news.capacity_rps;
        let round = hosts[first..].iter().chain(&hosts[..first]);
        let least = round.min_by(|a, b| busy(a).total_cmp(&busy(b)));
        least.map_or(Choice::Nowhere, |&(node, _)| self.heard.choice(node))
    }
}

impl Rival for PowerOfTwo {
    impl_common!();

    fn choose(&mut self, function: usize, _outstanding: &[u32], random: &mut Random) -> Choice {
        let hosts = self.heard.hosts(function);
        let busy = |news: FunctionNews| f64::from(news.inside) / news.capacity_rps;
        let drawn = [random.below(hosts.len()), random.below(hosts.len())];
        let [Some(&(first, first_news)), Some(&(second, second_news))] = drawn.map(|at| hosts.get(at)) else {
            return Choice::Nowhere;
        };
        self.heard.choice(if busy(second_news) < busy(first_news) {
            second
        } else {
            first
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    #[test]
    fn a_slow_node_gets_nothing_until_it_is_heard_to_be_fast() {
        let mut balancer = LatencyThreshold::new(0, vec![1, 2], 0.1);
        tell(&mut balancer, 0, 0.5, 0);
        tell(&mut balancer, 1, 0.5, 0);
        tell(&mut balancer, 2, 0.05, 9);
        check(&mut balancer, &[0, 0, 0], &[Choice::There(2)]);
        tell(&mut balancer, 2, 0.9, 9);
        check(&mut balancer, &[0, 0, 0], &[Choice::Here]);
    }

    #[test]
    fn the_fewest_own_requests_count_whatever_others_sent() {
        let mut balancer = LeastConnections::new(0, vec![1]);
        tell(&mut balancer, 0, 0.0, 0);
        tell(&mut balancer, 1, 0.0, 1_000);
        check(&mut balancer, &[3, 2], &[Choice::There(1)]);
        check(&mut balancer, &[2, 3], &[Choice::Here]);
    }

    #[test]
    fn of_two_the_one_that_was_less_busy_is_chosen() {
        let mut balancer = PowerOfTwo::new(0, vec![1]);
        tell(&mut balancer, 0, 0.0, 5);
        tell(&mut balancer, 1, 0.0, 1);
        check(&mut balancer, &[0, 0], &[Choice::Here, Choice::There(1)]);
        balancer.forget(1);
        check(&mut balancer, &[0, 0], &[Choice::Here]);
    }

    #[test]
    fn who_knows_nobody_refuses() {
        check(&mut PowerOfTwo::new(0, vec![1]), &[0, 0], &[Choice::Nowhere]);
        check(
            &mut LeastConnections::new(0, vec![1]),
            &[0, 0],
            &[Choice::Nowhere],
        );
        check(
            &mut LatencyThreshold::new(0, vec![1], 0.1),
            &[0, 0],
            &[Choice::Nowhere],
        );
    }

    fn tell(balancer: &mut impl Rival, from: usize, p95_s: f64, inside: u32) {
        let news = FunctionNews {
            capacity_rps: 10.0,
            p95_s,
            inside,
            ..FunctionNews::default()
        };
        balancer.hear(from, &News(vec![Some(news)]));
    }

    /// Checks which choices are made in many draws.
    #[track_caller]
    fn check(balancer: &mut impl Rival, outstanding: &[u32], want: &[Choice]) {
        let mut random = Random::new(1, Purpose::Balancer(0));
        let made: Vec<Choice> = (0..100)
            .map(|_| balancer.choose(0, outstanding, &mut random))
            .collect();
        assert!(made.iter().all(|choice| want.contains(choice)), "{made:?}");
        assert!(want.iter().all(|choice| made.contains(choice)), "{made:?}");
    }
}
