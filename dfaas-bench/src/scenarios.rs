//! The reference's scenarios in a real federation: what water-filling makes of a load, and what Recalc does.

mod outcome;

use std::{path::PathBuf, thread, time::Duration};

use anyhow::{Context as _, Result};
use dfaas_testbed::{Federation, Load, NodeSpec, Running, figlet};

use self::outcome::Outcome;
use crate::{machine, table};

/// What each node can serve, in requests a second.
const CAPACITIES: [u32; 3] = [10, 20, 30];
const SCENARIOS: [Scenario; 4] = [
    Scenario::new([50, 0, 0], 35),
    Scenario::new([50, 10, 0], 40),
    Scenario::new([50, 30, 0], 55),
    Scenario::new([50, 50, 50], 60),
];
const STRATEGIES: [Strategy; 2] = [
    Strategy {
        name: "water-filling",
        period: Duration::from_secs(1),
    },
    // The reference's own is a minute, and a day would pass.
    Strategy {
        name: "recalc",
        period: Duration::from_secs(2),
    },
];
/// What a node knows of a load is gone after so many periods, and buckets are full.
const QUIET_PERIODS: u32 = 4;
/// A load goes on for so long behind what is looked at: who was refused by a peer is tried again when its client sends
/// again, and would find room that there is only because the load has ended.
const TAIL: Duration = Duration::from_secs(2);
const MARK: &str = "scenarios";
const HEAD: &str = "| load | strategy | served of possible | served each second | refused each second | steady | published | reaction |\n\
    |---|---|---:|---|---|---:|---:|---:|\n";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For how long each load lasts
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    /// Measure only loads with this in their name, as in 50/10/0
    #[arg(long, default_value = "")]
    only: String,
    /// Print one JSON object a load and strategy, and nothing else, on standard output
    #[arg(long)]
    json: bool,
    /// Replace the table in this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// How many requests a second come to each node.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    rates: [u32; 3],
    /// What Recalc serves of it in the end, by its own arithmetic, in requests a second.
    published_rps: u32,
}

#[derive(Clone, Copy, Debug)]
struct Strategy {
    name: &'static str,
    period: Duration,
}

impl Scenario {
    const fn new(rates: [u32; 3], published_rps: u32) -> Self {
        Self { rates, published_rps }
    }

    /// What can be served of it, in requests a second.
    fn possible_rps(&self) -> u32 {
        let load: u32 = self.rates.iter().sum();
        load.min(CAPACITIES.iter().sum())
    }

    fn name(&self) -> String {
        self.rates.map(|rate| rate.to_string()).join("/")
    }
}

/// Measures, and tells.
///
/// # Errors
///
/// When a federation does not form, or a request is not answered.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut rows = String::new();
    for strategy in STRATEGIES {
        let federation = start(strategy)?;
        for scenario in SCENARIOS
            .into_iter()
            .filter(|scenario| scenario.name().contains(&args.only))
        {
            let outcome = measure(&federation, strategy, scenario, args.seconds)
                .with_context(|| format!("{} under {}", scenario.name(), strategy.name))?;
            tell(args, &outcome);
            rows += &outcome.row();
        }
        federation.stop()?;
    }
    let note = format!(
        "Capacities of {CAPACITIES:?} requests a second, {} s each; all by one run, at a load average of {} in the end.",
        args.seconds,
        machine::load_average()?
    );
    if !args.json {
        println!("\n{HEAD}{rows}\n{note}");
    }
    if let Some(file) = &args.write {
        table::replace(file, MARK, &format!("{HEAD}{rows}\n{note}"))?;
    }
    Ok(())
}

fn tell(args: &Args, outcome: &Outcome) {
    if args.json {
        println!("{}", outcome.json());
    } else {
        println!("{}", outcome.text());
    }
}

fn start(strategy: Strategy) -> Result<Federation> {
    let specs = CAPACITIES.map(|rate| NodeSpec {
        strategy: strategy.name.to_owned(),
        period: strategy.period,
        ..NodeSpec::new(vec![figlet(rate)])
    });
    if strategy.name == "recalc" {
        // Nobody has routes there before somebody has too much.
        let mut federation = Federation::unformed(&specs)?;
        federation.start_agents()?;
        wait_until_met(&federation)?;
        return Ok(federation);
    }
    Federation::start(&specs)
}

fn wait_until_met(federation: &Federation) -> Result<()> {
    let has_met = |node: &dfaas_testbed::Node| {
        node.status()
            .is_ok_and(|status| status.peers_with_functions() == 2)
    };
    dfaas_testbed::wait_until("all have met", Duration::from_secs(30), || {
        federation.nodes.iter().all(has_met)
    })
    .with_context(|| federation.logs())?;
    Ok(())
}

fn measure(federation: &Federation, strategy: Strategy, scenario: Scenario, seconds: u64) -> Result<Outcome> {
    thread::sleep(strategy.period * QUIET_PERIODS);
    let loads = federation
        .nodes
        .iter()
        .zip(scenario.rates)
        .filter(|&(_, rate)| rate > 0);
    let running: Result<Vec<(String, Running)>> = loads
        .map(|(node, rate)| {
            let mut load = Load::new(node.service(), "figlet", rate);
            load.at_most = Duration::from_secs(seconds) + TAIL;
            Ok((node.name().to_owned(), load.start(&federation.client)?))
        })
        .collect();
    let mut samples = Vec::new();
    for (home, load) in running? {
        samples.push((home, load.finish()?));
    }
    Ok(Outcome::new(strategy.name, scenario, seconds as usize, &samples))
}
