//! A federation under all kinds of load for a long time: every request is accounted for, and nothing grows.

mod load;
mod state;

use std::{sync::atomic::AtomicBool, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use dfaas_testbed::{Federation, Toll, now, wait_until};
use serde_json::{Value, json};

use crate::reconfiguration::{knows_all, start};
use state::State;

/// What is accounted for, and what clients use that nobody can account for.
const ACCOUNTED: &str = "shared";
const NOISE: &str = "noise";
/// How often weights, limits and peers change.
const PERIOD: Duration = Duration::from_secs(2);
/// How long clients may be silent.
const SILENCE: [&str; 2] = ["--idle-timeout", "20s"];
const PATIENCE: [&str; 2] = ["--client-timeout", "20"];
const CALM: Duration = Duration::from_secs(20);
const RESTART: Duration = Duration::from_secs(10);
/// When something is restarted within a phase.
const BEFORE_RESTART: Duration = Duration::from_secs(2);
/// How long it may take until connections that have ended are forgotten, and counters told.
const SETTLE: Duration = Duration::from_secs(60);
/// Restarts of the node that clients ask are for the end: until then its memory is looked at.
const FIRST: usize = 0;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For how many minutes
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Print one JSON object a phase and one for the whole, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

/// What happens to a federation while requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// Nothing but changes of policy.
    Changes,
    ProviderRestart(usize),
    AgentRestart(usize),
}

/// What came of a phase.
#[derive(Debug)]
struct Phase {
    event: Event,
    toll: Toll,
    /// What the first node's kernel has counted meanwhile, if its agent was there all the time.
    counted: Option<u64>,
    state: State,
}

/// Runs phase after phase, and tells.
///
/// # Errors
///
/// When a request is lost where nothing was restarted, or something is left or has grown.
pub(crate) fn run(args: &Args) -> Result<()> {
    let functions = [ACCOUNTED, NOISE];
    let (mut federation, advisers) = start(&functions, PERIOD, &SILENCE, &PATIENCE)?;
    let begun = now();
    let time = Duration::from_secs(60 * args.minutes);
    let mut phases = Vec::new();
    for cycle in 0.. {
        // Only others: the last cycle restarts the node that clients ask.
        let other = 1 + cycle % 2;
        let is_last = begun.elapsed() + CALM + 2 * (CALM + RESTART) >= time;
        let node = if is_last { FIRST } else { other };
        for event in [
            Event::Changes,
            Event::ProviderRestart(node),
            Event::AgentRestart(node),
        ] {
            let phase = run_phase(&mut federation, event).with_context(|| format!("{event:?}"))?;
            tell(args, begun.elapsed(), &phase);
            phases.push(phase);
        }
        if is_last {
            break;
        }
    }
    let changes: u64 = advisers.iter().map(dfaas_testbed::Adviser::answered).sum();
    let faults = faults(&phases);
    tell_sum(args, begun.elapsed(), &phases, changes, &faults);
    ensure!(faults.is_empty(), "{}", faults.join("; "));
    federation.stop()
}

fn run_phase(federation: &mut Federation, event: Event) -> Result<Phase> {
    let before = federation.nodes[FIRST].status()?.totals(ACCOUNTED).user;
    let stop = &AtomicBool::new(false);
    let Federation { nodes, client, .. } = federation;
    let server = nodes[FIRST].service();
    let time = if event == Event::Changes { CALM } else { RESTART };
    let toll = thread::scope(|scope| -> Result<Toll> {
        let load = scope.spawn(|| load::run(client, server, time, stop));
        thread::sleep(BEFORE_RESTART);
        match event {
            Event::Changes => {}
            Event::ProviderRestart(number) => {
                nodes[number].stop_provider()?;
                nodes[number].start_provider()?;
                nodes[number].wait_for_provider()?;
            }
            Event::AgentRestart(number) => {
                nodes[number].stop_agent()?;
                nodes[number].start_agent()?;
            }
        }
        load.join().map_err(|_| anyhow::anyhow!("the load panicked"))?
    })?;
    let formed = || nodes.iter().all(|node| knows_all(node, 2));
    wait_until("all nodes back", SETTLE, formed)?;
    let cleared = || {
        nodes
            .iter()
            .all(|node| state::entries(node).is_ok_and(|entries| entries == 0))
    };
    // Whether it has worked stands in the state.
    let _ = wait_until("connections forgotten", SETTLE, cleared);
    let counted = if event == Event::AgentRestart(FIRST) {
        None
    } else {
        let user = || {
            nodes[FIRST]
                .status()
                .map_or(0, |status| status.totals(ACCOUNTED).user)
        };
        let _ = wait_until("requests counted", SETTLE / 6, || {
            user() - before == toll.requests
        });
        Some(user() - before)
    };
    Ok(Phase {
        event,
        toll,
        counted,
        state: State::of(nodes)?,
    })
}

/// What must not have happened.
fn faults(phases: &[Phase]) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, phase) in (1..).zip(phases) {
        let toll = &phase.toll;
        if phase.event == Event::Changes {
            if toll.refused() + toll.lost() > 0 {
                faults.push(format!(
                    "phase {number}: {} refused, lost {:?}",
                    toll.refused(),
                    toll.faults
                ));
            }
            if phase.counted != Some(toll.requests) {
                let counted = phase.counted.unwrap_or_default();
                faults.push(format!("phase {number}: {counted} counted of {}", toll.requests));
            }
        }
        if phase.state.entries > 0 {
            faults.push(format!(
                "phase {number}: {} entries are left",
                phase.state.entries
            ));
        }
    }
    let calm = phases.iter().filter(|phase| phase.event == Event::Changes);
    let calm: Vec<&Phase> = calm.collect();
    // The first phase is warming up.
    if let [_, first, .., last] = &calm[..] {
        faults.extend(last.state.growth_since(&first.state));
    }
    faults
}

impl Event {
    fn text(self) -> String {
        match self {
            Self::Changes => "changes only".to_owned(),
            Self::ProviderRestart(number) => format!("provider {} restarted", number + 1),
            Self::AgentRestart(number) => format!("agent {} restarted", number + 1),
        }
    }
}

#[expect(clippy::print_stdout, reason = "it tells the user what it measured")]
fn tell(args: &Args, at: Duration, phase: &Phase) {
    let (toll, state) = (&phase.toll, &phase.state);
    if args.json {
        let mut told = json!({
            "at_s": at.as_secs(),
            "phase": phase.event.text(),
            "requests": toll.requests,
            "rps": toll.rate_rps(),
            "ok": toll.answered(200),
            "refused": toll.refused(),
            "lost": toll.lost(),
            "faults": toll.faults,
            "counted": phase.counted,
        });
        if let (Value::Object(told), Value::Object(state)) = (&mut told, state.json()) {
            told.extend(state);
        }
        println!("{told}");
        return;
    }
    let counted = phase
        .counted
        .map_or("-".to_owned(), |counted| counted.to_string());
    println!(
        "| {} s | {} | {} | {counted} | {} | {} | {} | {} |",
        at.as_secs(),
        phase.event.text(),
        toll.requests,
        toll.refused(),
        toll.lost(),
        state.entries,
        state.text()
    );
}

#[expect(clippy::print_stdout, reason = "it tells the user what it measured")]
fn tell_sum(args: &Args, took: Duration, phases: &[Phase], changes: u64, faults: &[String]) {
    let sum = |of: fn(&Toll) -> u64| phases.iter().map(|phase| of(&phase.toll)).sum::<u64>();
    let (requests, ok) = (sum(|toll| toll.requests), sum(|toll| toll.answered(200)));
    let (refused, lost) = (sum(Toll::refused), sum(Toll::lost));
    if args.json {
        println!(
            "{}",
            json!({
                "minutes": took.as_secs_f64() / 60.0,
                "phases": phases.len(),
                "changes": changes,
                "requests": requests,
                "ok": ok,
                "refused": refused,
                "lost": lost,
                "faults": faults,
            })
        );
        return;
    }
    println!(
        "{requests} requests in {} s and {changes} changes of policy: {ok} served, {refused} refused and {lost} lost \
         while something was restarted; {} faults",
        took.as_secs(),
        faults.len()
    );
}
