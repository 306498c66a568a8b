//! The original's experiment: recorded minutes on random graphs, its four strategies under its own rules, and
//! water-filling by the agent's own mind beside them.

use serde::Serialize;

use crate::random::{Purpose, Random};
use crate::sweep::{Estimate, markdown};

mod forwarding;
mod instance;
mod mind;
pub mod recordings;
#[cfg(test)]
mod tests;

use self::instance::Instance;
use self::recordings::Recordings;

/// The strategies of the experiment, and ours.
pub const STRATEGIES: [Strategy; 5] = [
    Strategy::Base,
    Strategy::Random,
    Strategy::Empirical,
    Strategy::Static,
    Strategy::WaterFilling,
];

/// Success in percent, and refused requests, of base, random, empirical and static.
type Figures = [(f64, f64); 4];

/// What the original's code gave for one instance each: nodes, probability of an edge, figures.
pub const PUBLISHED: [(usize, f64, Figures); 5] = [
    (
        5,
        0.3,
        [(97.58, 4_560.0), (99.27, 1_380.0), (100.0, 0.0), (100.0, 0.0)],
    ),
    (
        10,
        0.3,
        [(98.17, 4_560.0), (99.14, 2_244.0), (99.68, 960.0), (99.68, 960.0)],
    ),
    (
        20,
        0.3,
        [(96.76, 11_880.0), (99.08, 3_816.0), (99.88, 864.0), (100.0, 0.0)],
    ),
    (
        20,
        0.1,
        [
            (97.66, 8_100.0),
            (98.58, 3_576.0),
            (99.08, 2_268.0),
            (99.34, 300.0),
        ],
    ),
    (
        50,
        0.1,
        [
            (96.30, 35_940.0),
            (97.79, 16_128.0),
            (98.60, 6_024.0),
            (98.82, 1_356.0),
        ],
    ),
];

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Excess is lost.
    Base,
    /// Random weights.
    Random,
    /// Weights by eight metrics.
    Empirical,
    /// The original's `dfaas_static_strategy`: margins in equal parts.
    Static,
    /// Ours.
    WaterFilling,
}

/// What a strategy came to in one instance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Outcome {
    /// The mean over functions and minutes of the share that was served, in percent.
    pub success_percent: f64,
    /// The same over the minutes 1 to 5.
    pub stress_percent: f64,
    /// Requests that were not served.
    pub rejected: f64,
}

/// The same setting over many instances.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// How many nodes.
    pub nodes: usize,
    /// The probability of an edge.
    pub edge_probability: f64,
    /// How many instances.
    pub instances: usize,
    /// By strategy, in the order of [`STRATEGIES`].
    pub outcomes: Vec<StrategyOutcome>,
}

/// A strategy over many instances.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StrategyOutcome {
    /// Which one.
    pub strategy: Strategy,
    /// Success in percent.
    pub success_percent: Estimate,
    /// The lowest and the highest success of an instance.
    pub spread_percent: (f64, f64),
    /// Success in the minutes 1 to 5.
    pub stress_percent: Estimate,
    /// Requests that were not served.
    pub rejected: Estimate,
    /// What the original's code gave for one instance: success in percent, and refused requests.
    pub published: Option<(f64, f64)>,
}

/// Runs one instance under all strategies, in the order of [`STRATEGIES`].
pub fn run(recordings: &Recordings, nodes: usize, edge_probability: f64, seed: u64) -> Vec<Outcome> {
    let instance = Instance::new(recordings, nodes, edge_probability, seed);
    let outcome = |(place, strategy): (usize, Strategy)| {
        let mut random = Random::new(seed, Purpose::Balancer(place));
        forwarding::run(&instance, strategy, &mut random)
    };
    STRATEGIES.into_iter().enumerate().map(outcome).collect()
}

impl Setting {
    /// Sums up instances.
    pub fn new(nodes: usize, edge_probability: f64, instances: &[Vec<Outcome>]) -> Self {
        let published = PUBLISHED
            .iter()
            .find(|row| row.0 == nodes && row.1 == edge_probability);
        let outcomes = STRATEGIES.into_iter().enumerate().map(|(place, strategy)| {
            let all = |of: fn(&Outcome) -> f64| -> Vec<f64> {
                instances.iter().map(|outcomes| of(&outcomes[place])).collect()
            };
            let success = all(|outcome| outcome.success_percent);
            StrategyOutcome {
                strategy,
                success_percent: Estimate::of(&success),
                spread_percent: (
                    success.iter().copied().fold(100.0, f64::min),
                    success.iter().copied().fold(0.0, f64::max),
                ),
                stress_percent: Estimate::of(&all(|outcome| outcome.stress_percent)),
                rejected: Estimate::of(&all(|outcome| outcome.rejected)),
                published: published.and_then(|row| row.2.get(place)).copied(),
            }
        });
        Self {
            nodes,
            edge_probability,
            instances: instances.len(),
            outcomes: outcomes.collect(),
        }
    }
}

/// All settings as a table of Markdown.
pub fn table(settings: &[Setting]) -> String {
    let heads = [
        "n",
        "p",
        "instances",
        "strategy",
        "success, %",
        "lowest … highest",
        "rejected",
        "published: success, %",
        "published: rejected",
    ];
    let rows = settings.iter().flat_map(|setting| {
        setting.outcomes.iter().map(|outcome| {
            let published = |of: fn((f64, f64)) -> f64, digits: usize| {
                outcome
                    .published
                    .map_or("-".to_owned(), |figures| format!("{:.digits$}", of(figures)))
            };
            vec![
                setting.nodes.to_string(),
                setting.edge_probability.to_string(),
                setting.instances.to_string(),
                outcome.strategy.as_str().to_owned(),
                outcome.success_percent.text(2),
                format!(
                    "{:.2} … {:.2}",
                    outcome.spread_percent.0, outcome.spread_percent.1
                ),
                outcome.rejected.text(0),
                published(|figures| figures.0, 2),
                published(|figures| figures.1, 0),
            ]
        })
    });
    markdown(&heads.map(str::to_owned), &rows.collect::<Vec<_>>())
}

impl Strategy {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Random => "random",
            Self::Empirical => "empirical",
            Self::Static => "static",
            Self::WaterFilling => "water-filling",
        }
    }
}
