//! What a run leaves behind: JSON with everything, and tables as CSV.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::engine;
use crate::record::{Flow, Row, percentile};
use crate::scenario::Scenario;
use crate::strategy::StrategyName;
use crate::summary::Summary;

/// How many points a distribution of latencies has.
const POINTS: u32 = 200;

/// A run and what it came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// In some numbers.
    pub summary: Summary,
    /// The nodes, the links between them, and what they can serve.
    pub topology: Topology,
    /// The distribution of times to the answer: shares and milliseconds.
    pub latencies: Vec<(f64, f64)>,
    /// A row per node, function and second.
    pub rows: Vec<Row>,
    /// Who served whom.
    pub flows: Vec<Flow>,
}

/// The nodes and the links between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    /// Names, and requests per second over all functions.
    pub nodes: Vec<(String, f64)>,
    /// Pairs of places in the list.
    pub links: Vec<(usize, usize)>,
}

impl Results {
    /// Runs a scenario.
    pub fn of(scenario: &Scenario, strategy: StrategyName, seed: u64, progress: &mut dyn FnMut(f64)) -> Self {
        let record = engine::run(scenario, strategy, seed, progress);
        let summary = Summary::new(scenario, strategy, seed, &record);
        let mut sorted = record.latencies_us;
        sorted.sort_unstable();
        let point = |number: u32| {
            let share = f64::from(number) / f64::from(POINTS);
            percentile(&sorted, share).map(|us| (share, f64::from(us) / 1e3))
        };
        Self {
            summary,
            topology: Topology::of(scenario),
            latencies: (0..=POINTS).filter_map(point).collect(),
            rows: record.rows,
            flows: record.flows,
        }
    }

    /// As JSON.
    ///
    /// # Errors
    ///
    /// None that are known: all keys are text and all numbers finite.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self).context("writing results as JSON")? + "\n")
    }

    /// Reads what [`Results::write`] wrote.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is no result of a run.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let text = fs::read_to_string(path)
            .with_context(|| format!("reading {name}; give a results.json of `dfaas-sim run --out`"))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{name} is no result; give a results.json of `dfaas-sim run --out`"))
    }

    /// Writes results.json, rows.csv, flows.csv and summary.json into a folder.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let summary = serde_json::to_string_pretty(&self.summary).context("writing the summary")? + "\n";
        for (name, text) in [
            ("results.json", self.to_json()?),
            ("summary.json", summary),
            ("rows.csv", to_csv(&self.rows)?),
            ("flows.csv", to_csv(&self.flows)?),
        ] {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

impl Topology {
    fn of(scenario: &Scenario) -> Self {
        let nodes = scenario.nodes.iter().map(|node| {
            let stations = node.functions.iter().flatten();
            (
                node.name.clone(),
                stations.map(|station| station.capacity_rps).sum(),
            )
        });
        Self {
            nodes: nodes.collect(),
            links: scenario.graph.links().collect(),
        }
    }
}

/// A table with a line of names.
///
/// # Errors
///
/// When a row cannot stand in a table.
pub fn to_csv<T: Serialize>(rows: &[T]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).context("writing a row")?;
    }
    let bytes = writer.into_inner().context("writing rows")?;
    String::from_utf8(bytes).context("writing rows")
}
