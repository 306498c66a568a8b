//! What the programs have counted, against what has happened.

use dfaas_model::{
    outcome::{Asked, Fate, Finding, Report, Wrong},
    script::{Function, Request, Script},
};

use super::policy::{AWAY, BUCKETS, FULL, HERE, INTERVAL, SHARED};
use crate::bench::Bench;

/// Says where counters and buckets differ from what has happened.
pub(super) fn check(bench: &mut Bench, bucket_start: u64, script: &Script, report: &Report) -> Vec<Finding> {
    let mut findings = Vec::new();
    let counted = bench.counted();
    let events = bench.events();
    let again = events.get("decided_again").copied().unwrap_or(0);
    for (id, function) in [
        (HERE, Function::Here),
        (AWAY, Function::Away),
        (SHARED, Function::Shared),
    ] {
        let rows = counted.iter().filter(|(pair, _)| pair.function == id);
        let count: u64 = rows.map(|(_, row)| row.local + row.forwarded).sum();
        let (least, most) = bounds(script, report, function);
        if count < least || count > most {
            let text = format!("{function:?} is counted {count} times, and has {least} to {most}");
            findings.push(wrong(text));
        }
    }
    let rows = counted.iter().filter(|(pair, _)| pair.function == FULL);
    let full: u64 = rows.map(|(_, row)| row.unavailable).sum();
    let (_, most) = bounds(script, report, Function::Full);
    if full > most {
        findings.push(wrong(format!(
            "{full} of {most} requests were refused for want of room"
        )));
    }
    let sums =
        [Function::Here, Function::Away, Function::Shared].map(|function| bounds(script, report, function));
    let (least, most) = sums
        .iter()
        .fold((0, 0), |(least, most), sum| (least + sum.0, most + sum.1));
    let taken: u64 = BUCKETS
        .iter()
        .map(|bucket| (bench.bucket(*bucket) - bucket_start) / INTERVAL)
        .sum();
    if taken < least || taken > most + again {
        findings.push(wrong(format!(
            "{taken} tokens were taken for {least} to {most} requests, {again} of which were decided again"
        )));
    }
    findings
}

/// How many requests of a function were answered by a server, and how many were asked.
fn bounds(script: &Script, report: &Report, function: Function) -> (u64, u64) {
    let of: Vec<(&Request, &Asked)> = script
        .requests()
        .zip(&report.asked)
        .filter(|(request, _)| request.function == function)
        .collect();
    let is_answered = |asked: &Asked| matches!(&asked.fate, Fate::Answered(read) if read.id.is_some());
    let answered = of.iter().filter(|(_, asked)| is_answered(asked)).count();
    let asked = of.iter().filter(|(_, asked)| asked.fate != Fate::Unasked).count();
    (answered as u64, asked as u64)
}

fn wrong(text: String) -> Finding {
    Finding {
        wrong: Wrong::Count,
        text,
    }
}
