//! A topology file: nodes, what they can do, who are neighbours, what their links are like, and what they are asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use dfaas_testbed::Function;
use serde::Deserialize;
use toml::Spanned;

use super::shape::{Edge, Shape};

/// How many nodes may be started: each has an agent and a provider, and the client's number is 100.
const NODES_MAX: usize = 40;

/// A federation to be emulated.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Topology {
    pub(crate) name: String,
    pub(crate) nodes: usize,
    pub(crate) edges: BTreeSet<Edge>,
    pub(crate) functions: Vec<Capacities>,
    pub(crate) strategy: String,
    pub(crate) data_plane: String,
    pub(crate) link: Link,
    pub(crate) loads: Vec<LoadSpec>,
}

/// A function and what each node can serve of it, in requests a second.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Capacities {
    pub(crate) name: String,
    program: Program,
    rates_rps: Vec<u32>,
}

/// What answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Program {
    /// Draws letters: a process a request.
    Figlet,
    /// Computes a checksum: a process a request.
    Shasum,
    /// Answers with what it was sent, without a process.
    Echo,
}

/// What the link of each node is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Link {
    /// How late a packet is, each way.
    #[serde(default)]
    pub(crate) delay_ms: f64,
    /// How many of a hundred packets to the node are lost.
    #[serde(default)]
    pub(crate) loss_percent: f64,
    /// How fast it is, each way.
    pub(crate) rate_mbit: Option<u32>,
}

/// What a node is asked.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoadSpec {
    /// Its number, from one.
    pub(crate) node: usize,
    pub(crate) function: String,
    pub(crate) rate_rps: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    shape: Shape,
    nodes: Spanned<usize>,
    #[serde(default)]
    seed: u64,
    probability: Option<Spanned<f64>>,
    strategy: Option<String>,
    data_plane: Option<String>,
    functions: BTreeMap<String, Spanned<RawFunction>>,
    #[serde(default)]
    link: Option<Spanned<Link>>,
    #[serde(default)]
    load: Vec<Spanned<LoadSpec>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFunction {
    program: Program,
    /// Of node 1, 2 and so on; begun again when there are more nodes.
    capacities_rps: Vec<u32>,
}

impl Topology {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read or says what cannot be: file, line and what would be right.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        parse(&name, &text).with_context(|| file.display().to_string())
    }

    /// What a node offers.
    pub(crate) fn functions_of(&self, node: usize) -> Vec<Function> {
        self.functions.iter().map(|function| function.at(node)).collect()
    }
}

impl Capacities {
    fn at(&self, node: usize) -> Function {
        let rate_rps = self.rates_rps[node % self.rates_rps.len()];
        let function = match self.program {
            Program::Figlet => dfaas_testbed::figlet(rate_rps),
            Program::Shasum => Function {
                rate_rps,
                ..dfaas_testbed::shasum()
            },
            Program::Echo => Function::echo(rate_rps),
        };
        function.named(&self.name)
    }
}

fn parse(name: &str, text: &str) -> Result<Topology> {
    let raw: Raw = toml::from_str(text)?;
    let line = |start: usize| format!("line {}", text[..start].matches('\n').count() + 1);
    let nodes = *raw.nodes.get_ref();
    ensure!(
        (1..=NODES_MAX).contains(&nodes),
        "{}: {nodes} nodes: give 1 to {NODES_MAX}",
        line(raw.nodes.span().start)
    );
    let probability = match (&raw.probability, raw.shape) {
        (None, Shape::Random) => anyhow::bail!("a random shape needs probability, such as 0.3"),
        (None, _) => 0.0,
        (Some(probability), _) => {
            let value = *probability.get_ref();
            ensure!(
                (0.0..=1.0).contains(&value),
                "{}: probability = {value}: give 0 to 1",
                line(probability.span().start)
            );
            value
        }
    };
    ensure!(
        !raw.functions.is_empty(),
        "no [functions.NAME]: give at least one"
    );
    let mut functions = Vec::new();
    for (name, function) in raw.functions {
        let at = line(function.span().start);
        let RawFunction {
            program,
            capacities_rps,
        } = function.into_inner();
        ensure!(
            !capacities_rps.is_empty(),
            "{at}: capacities_rps of {name} is empty: give one for each node, or some that are begun again"
        );
        functions.push(Capacities {
            name,
            program,
            rates_rps: capacities_rps,
        });
    }
    let link = match raw.link {
        None => Link::default(),
        Some(link) => link
            .get_ref()
            .checked()
            .with_context(|| line(link.span().start))?,
    };
    let mut loads = Vec::new();
    for load in raw.load {
        let at = line(load.span().start);
        let load = load.into_inner();
        load.check(nodes, &functions).context(at)?;
        loads.push(load);
    }
    Ok(Topology {
        name: name.to_owned(),
        nodes,
        edges: raw.shape.edges(nodes, raw.seed, probability),
        functions,
        strategy: raw.strategy.unwrap_or_else(|| "water-filling".to_owned()),
        data_plane: raw.data_plane.unwrap_or_else(|| "kernel".to_owned()),
        link,
        loads,
    })
}

impl Link {
    fn checked(self) -> Result<Self> {
        ensure!(
            (0.0..=10_000.0).contains(&self.delay_ms),
            "delay_ms = {}: give 0 to 10000",
            self.delay_ms
        );
        ensure!(
            (0.0..=50.0).contains(&self.loss_percent),
            "loss_percent = {}: give 0 to 50",
            self.loss_percent
        );
        ensure!(
            self.rate_mbit != Some(0),
            "rate_mbit = 0: give 1 or more, or leave it out"
        );
        Ok(self)
    }
}

impl LoadSpec {
    fn check(&self, nodes: usize, functions: &[Capacities]) -> Result<()> {
        ensure!(
            (1..=nodes).contains(&self.node),
            "node = {}: there are nodes 1 to {nodes}",
            self.node
        );
        let names: Vec<&str> = functions.iter().map(|function| function.name.as_str()).collect();
        ensure!(
            names.contains(&self.function.as_str()),
            "function = {:?}: there are {}",
            self.function,
            names.join(", ")
        );
        ensure!(
            self.rate_rps.is_finite() && self.rate_rps > 0.0,
            "rate_rps = {}: give a number above 0",
            self.rate_rps
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
shape = 'ring'
nodes = 12
[functions.figlet]
program = 'figlet'
capacities_rps = [10, 20, 30]
[link]
delay_ms = 5
loss_percent = 0.5
[[load]]
node = 1
function = 'figlet'
rate_rps = 50
";

    #[test]
    fn a_file_says_what_is_laid() {
        let topology = parse("ring", GOOD).unwrap();
        assert_eq!(
            (topology.nodes, topology.edges.len(), topology.loads.len()),
            (12, 12, 1)
        );
        let rates: Vec<u32> = (0..4)
            .map(|node| topology.functions_of(node)[0].rate_rps)
            .collect();
        assert_eq!(rates, [10, 20, 30, 10]);
        assert_eq!((topology.link.delay_ms, topology.link.rate_mbit), (5.0, None));
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        check("nodes = 12", "nodes = 41", "line 3: 41 nodes: give 1 to 40");
        check("nodes = 12", "nodes = 0", "line 3: 0 nodes");
        check("'ring'", "'random'", "needs probability");
        check(
            "nodes = 12",
            "nodes = 12\nprobability = nan",
            "line 4: probability = NaN",
        );
        check("[10, 20, 30]", "[]", "line 4: capacities_rps of figlet is empty");
        check(
            "node = 1",
            "node = 13",
            "line 10: node = 13: there are nodes 1 to 12",
        );
        check("function = 'figlet'", "function = 'ocr'", "there are figlet");
        check(
            "rate_rps = 50",
            "rate_rps = -1",
            "line 10: rate_rps = -1: give a number above 0",
        );
        check(
            "loss_percent = 0.5",
            "loss_percent = 80",
            "line 7: loss_percent = 80: give 0 to 50",
        );
        check("delay_ms", "delay", "unknown field `delay`");
        check("'ring'", "'torus'", "unknown variant `torus`");
    }

    #[test]
    fn the_shipped_ones_are_right() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies");
        let mut count = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            Topology::read(&file).unwrap_or_else(|error| panic!("{error:#}"));
            count += 1;
        }
        assert!(count >= 6, "{count}");
    }

    #[track_caller]
    fn check(part: &str, other: &str, want: &str) {
        assert!(GOOD.contains(part));
        let error = format!("{:#}", parse("t", &GOOD.replace(part, other)).unwrap_err());
        assert!(error.contains(want), "{error}");
    }
}
