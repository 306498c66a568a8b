//! The model of a connection with the real programs in the middle: fixed seeds here, and any number of them by
//! `cargo xtask fuzz connection`, which sets the environment.

mod books;
mod kernel_node;
mod policy;
mod tap;

use std::{
    collections::BTreeMap,
    env,
    time::{Duration, Instant},
};

use dfaas_model::{
    generate,
    outcome::{Finding, Wrong},
    script::Script,
    shrink::shrink,
    world,
};
use dfaas_testbed::{Namespace, now};

use self::{kernel_node::KernelNode, tap::Tap};

/// How many seeds are run where nobody says for how long.
const SEEDS: u64 = 400;
/// Set by `cargo xtask fuzz connection`: for how many seconds, and from which seed on.
const SECONDS: &str = "DFAAS_MODEL_SECONDS";
const SEED: &str = "DFAAS_MODEL_SEED";
/// Set by hand: goes on after a finding, and shows so many of each kind in the end.
const SURVEY: &str = "DFAAS_MODEL_SURVEY";

#[test]
fn connections_keep_their_promises() {
    let namespaces = [Namespace::new("model").unwrap(), Namespace::new("far").unwrap()];
    let near = format!("/proc/{}/ns/net", namespaces[0].pid());
    std::thread::scope(|scope| {
        let ran = scope.spawn(move || {
            rustix::thread::move_into_link_name_space(
                std::os::fd::AsFd::as_fd(&std::fs::File::open(near).unwrap()),
                Some(rustix::thread::LinkNameSpaceType::Network),
            )
            .unwrap();
            run(KernelNode::new(Tap::new(namespaces)));
        });
        if let Err(panic) = ran.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|error| panic!("{name}={text}: {error}")),
    )
}

fn run(mut node: KernelNode) {
    stay_on_one_processor();
    let seconds = number(SECONDS);
    let first = number(SEED).unwrap_or(0);
    let began = now();
    let shown = number(SURVEY);
    let mut survey: BTreeMap<Wrong, Vec<(u64, String)>> = BTreeMap::new();
    let (mut seeds, mut requests, mut segments) = (0, 0, 0);
    loop {
        let is_enough = match seconds {
            Some(seconds) => has_passed(began, seconds) && seeds > 0,
            None => seeds == SEEDS,
        };
        if is_enough {
            break;
        }
        let script = generate::script(first + seeds);
        let report = world::run(&script, &mut node, false);
        seeds += 1;
        requests += report.asked.len();
        segments += report.segments;
        if shown.is_some() {
            for Finding { wrong, text } in report.findings {
                survey.entry(wrong).or_default().push((script.seed, text));
            }
        } else if let Some(finding) = report.findings.first() {
            explain(&script, finding.wrong, &mut node);
        }
    }
    let count = format!("{seeds} seeds from {first} on, {requests} requests, {segments} segments");
    tell(&count, requests as f64 / began.elapsed().as_secs_f64());
    show(shown.unwrap_or(0), &survey);
}

#[expect(clippy::print_stdout, reason = "who runs it for long wants to know")]
fn tell(count: &str, rate: f64) {
    println!("connection: {count}: {rate:.0} requests/s");
}

#[expect(clippy::print_stdout, reason = "who asks for it wants to see it")]
fn show(count: u64, survey: &BTreeMap<Wrong, Vec<(u64, String)>>) {
    for (wrong, found) in survey {
        println!("{wrong:?}: {}", found.len());
        for (seed, text) in found.iter().take(count as usize) {
            println!("    seed {seed}: {text}");
        }
    }
}

fn has_passed(began: Instant, seconds: u64) -> bool {
    began.elapsed() >= Duration::from_secs(seconds)
}

/// Tells all about a seed that fails, and ends the test.
fn explain(script: &Script, wrong: Wrong, node: &mut KernelNode) {
    let smaller = shrink(script, wrong, node);
    let report = world::run(&smaller, node, true);
    let found: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    panic!(
        "seed {} fails; the smallest script that does:\n{smaller}\n{}\n\n{}\nreplay: cargo xtask fuzz connection --seed {}",
        script.seed,
        report.trace.join("\n"),
        found.join("\n"),
        script.seed
    );
}

/// Counters of draws are the processor's.
fn stay_on_one_processor() {
    let mut processors = rustix::thread::sched_getaffinity(None).unwrap();
    let first = (0..rustix::thread::CpuSet::MAX_CPU).find(|cpu| processors.is_set(*cpu));
    processors.clear();
    processors.set(first.unwrap());
    rustix::thread::sched_setaffinity(None, &processors).unwrap();
}
