//! A scenario: a federation, its users, and what happens to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dfaas_control::FunctionName;

use crate::demand::Rate;
use crate::random::Random;
use crate::strategy::StrategyName;
use crate::topology::{Graph, Quality};

mod check;
mod demand;
mod file;
mod mistake;
#[cfg(test)]
mod tests;

use self::mistake::Book;
pub use self::mistake::{Mistake, Mistakes};

/// A scenario that can be run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// A short name.
    pub name: String,
    /// What it is to show.
    pub description: String,
    /// The seed of all chance.
    pub seed: u64,
    /// For how long users come, in whole seconds.
    pub seconds: u32,
    /// How many seconds from the beginning do not count in the summary.
    pub warmup_s: u32,
    /// Who decides.
    pub strategy: StrategyName,
    /// How often nodes tell each other about themselves.
    pub period: Duration,
    /// From which 95th percentile on a node gets no requests of the strategy latency-threshold.
    pub latency_threshold: Duration,
    /// Who is linked with whom.
    pub graph: Graph,
    /// The quality of links that have none of their own.
    pub quality: Quality,
    /// The functions, by number.
    pub functions: Vec<FunctionName>,
    /// The nodes, by number.
    pub nodes: Vec<NodeSpec>,
    /// Who asks for what.
    pub demands: Vec<DemandSpec>,
    /// What happens, in the order of time.
    pub events: Vec<(u64, Happening)>,
}

/// A node.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// Its name.
    pub name: String,
    /// Whether it is there from the beginning.
    pub starts: bool,
    /// What it runs, by the function's number.
    pub functions: Vec<Option<Station>>,
}

/// What serves a function on a node.
#[derive(Debug, Clone)]
pub struct Station {
    /// Requests per second.
    pub capacity_rps: f64,
    /// How long a request takes.
    pub service: ServiceTime,
    /// How many are served at a time.
    pub servers: u32,
    /// How many more may wait.
    pub queue: u32,
}

/// How long a request takes, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ServiceTime {
    /// Always as long.
    Constant(f64),
    /// Exponentially distributed, with this mean.
    Exponential(f64),
    /// Between two times.
    Uniform(f64, f64),
    /// With this median, and this standard deviation of its logarithm.
    Lognormal(f64, f64),
}

/// The users of a node who ask for a function.
#[derive(Debug, Clone)]
pub struct DemandSpec {
    /// The node's number.
    pub node: usize,
    /// The function's number.
    pub function: usize,
    /// When they begin to come, in seconds.
    pub from_s: f64,
    /// When they stop, in seconds.
    pub until_s: f64,
    /// How many come.
    pub rate: Rate,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// A node ends without a word.
    Crash(usize),
    /// A node starts.
    Join(usize),
    /// Only nodes of the same group reach each other.
    Partition(Vec<u32>),
    /// Everybody reaches everybody.
    Heal,
}

/// Why there is no scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("reading {path}: {error}; give the path of a scenario, such as scenarios/reference-50-0-0.toml", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It says what cannot be.
    #[error(transparent)]
    Wrong(#[from] Mistakes),
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, each with its line and a remedy.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let text = fs::read_to_string(path).map_err(|error| ScenarioError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
        Ok(Self::parse(path, &text)?)
    }

    /// Reads the text of a file, beside which traces lie.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, each with its line and a remedy.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Mistakes> {
        let mut book = Book::new(path, text);
        match toml::from_str::<file::File>(text) {
            Ok(file) => {
                let scenario = check::scenario(&file, &mut book);
                book.close()?;
                Ok(scenario)
            }
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                let remedy = "`dfaas-sim schema` prints all keys and what they mean";
                book.note(&span, error.message().replace('\n', ", "), remedy);
                book.close()?;
                unreachable!("a mistake was noted")
            }
        }
    }

    /// The JSON schema of the file.
    pub fn schema() -> String {
        let schema = schemars::schema_for!(file::File);
        let text = serde_json::to_string_pretty(&schema).expect("a schema has text keys only");
        text + "\n"
    }
}

impl ServiceTime {
    /// Draws one, in nanoseconds.
    pub fn draw_ns(self, random: &mut Random) -> u64 {
        let milliseconds = match self {
            Self::Constant(mean) => mean,
            Self::Exponential(mean) => mean * random.exponential(),
            Self::Uniform(min, max) => min + (max - min) * random.unit(),
            Self::Lognormal(median, sigma) => median * libm::exp(sigma * random.normal()),
        };
        (milliseconds * 1e6) as u64
    }

    /// The mean, in milliseconds.
    pub fn mean_ms(self) -> f64 {
        match self {
            Self::Constant(mean) | Self::Exponential(mean) => mean,
            Self::Uniform(min, max) => f64::midpoint(min, max),
            Self::Lognormal(median, sigma) => median * libm::exp(sigma * sigma / 2.0),
        }
    }
}
