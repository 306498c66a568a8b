//! Random numbers from a seed: the same on every machine, and independent of each other for each purpose.

use std::f64::consts::TAU;

use rand_core::Rng as _;
use rand_pcg::Pcg64Mcg;

/// Above this mean a count is drawn from the normal distribution, whose error is then below the count's own spread.
const NORMAL_FROM_MEAN: f64 = 64.0;

/// What a stream of numbers is for. Streams do not disturb each other, so that strategies are compared under the same
/// arrivals.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// When the users of a demand come, by the demand's place.
    Demand(usize),
    /// How long a node works, by the node's place.
    Service(usize),
    /// What links lose and how much later they are.
    Network,
    /// What a node's balancer draws, by the node's place.
    Balancer(usize),
    /// Tokens between nodes.
    Tokens,
    /// When nodes begin their periods.
    Phases,
    /// Graphs.
    Topology,
}

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Random(Pcg64Mcg);

impl Random {
    /// The stream of a seed for a purpose.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        let (kind, place) = match purpose {
            Purpose::Demand(place) => (1, place),
            Purpose::Service(place) => (2, place),
            Purpose::Network => (3, 0),
            Purpose::Balancer(place) => (4, place),
            Purpose::Tokens => (5, 0),
            Purpose::Phases => (6, 0),
            Purpose::Topology => (7, 0),
        };
        let first = mixed(seed ^ mixed(kind));
        let second = mixed(first ^ mixed(place as u64));
        Self(Pcg64Mcg::new((u128::from(first) << 64) | u128::from(second)))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number of [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A whole number below a bound, 0 if the bound is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // The bias of a product is below the bound over 2^64.
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// Whether something of this probability happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A number of the exponential distribution with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -libm::log(1.0 - self.unit())
    }

    /// A number of the standard normal distribution (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        radius * libm::cos(TAU * self.unit())
    }

    /// A count of the Poisson distribution: by Knuth's products, and of the normal distribution from a mean of 64.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean >= NORMAL_FROM_MEAN {
            let count = mean + mean.sqrt() * self.normal();
            return (count + 0.5).max(0.0) as u64;
        }
        let limit = libm::exp(-mean);
        let (mut product, mut count) = (self.unit(), 0);
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
fn mixed(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_numbers() {
        let mut random = Random::new(7, Purpose::Demand(0));
        assert_eq!(
            [random.bits(), random.bits()],
            [5_904_640_129_627_360_654, 14_040_069_373_105_916_433]
        );
    }

    #[test]
    fn purposes_have_streams_of_their_own() {
        let first = |purpose| Random::new(7, purpose).bits();
        let firsts = [
            first(Purpose::Demand(0)),
            first(Purpose::Demand(1)),
            first(Purpose::Service(0)),
        ];
        assert!(firsts[0] != firsts[1] && firsts[0] != firsts[2] && firsts[1] != firsts[2]);
    }

    #[test]
    fn distributions_have_their_moments() {
        check(|random| random.unit(), 0.5, 1.0 / 12.0);
        check(Random::exponential, 1.0, 1.0);
        check(Random::normal, 0.0, 1.0);
        check(|random| random.poisson(3.0) as f64, 3.0, 3.0);
        check(|random| random.poisson(100.0) as f64, 100.0, 100.0);
        check(|random| random.below(10) as f64, 4.5, 8.25);
    }

    #[track_caller]
    fn check(mut draw: impl FnMut(&mut Random) -> f64, mean: f64, variance: f64) {
        const COUNT: usize = 100_000;
        let mut random = Random::new(1, Purpose::Network);
        let drawn: Vec<f64> = (0..COUNT).map(|_| draw(&mut random)).collect();
        let got_mean = drawn.iter().sum::<f64>() / COUNT as f64;
        let got_variance = drawn.iter().map(|x| (x - got_mean).powi(2)).sum::<f64>() / COUNT as f64;
        let tolerance = 5.0 * (variance / COUNT as f64).sqrt();
        assert!((got_mean - mean).abs() < tolerance, "mean {got_mean}, not {mean}");
        assert!(
            (got_variance / variance - 1.0).abs() < 0.05,
            "variance {got_variance}, not {variance}"
        );
    }
}
