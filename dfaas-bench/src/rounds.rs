//! The rounds of a case: in each, every contender has its turn.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Result, bail};

use crate::{
    case::{Answer, Case},
    contender::Contender,
    machine,
    site::Site,
    wrk,
};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) seconds: u64,
}

/// What was measured of a contender, a value a round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    pub(crate) rps: Vec<f64>,
    pub(crate) cpu_us: Vec<f64>,
}

/// What was measured of a case.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) series: BTreeMap<Contender, Series>,
}

/// Measures the throughput of a case.
///
/// # Errors
///
/// When an answer is not the one that is meant, or the user wants an end.
pub(crate) fn run(site: &Site, case: &Case, effort: Effort, end: &AtomicBool) -> Result<Measured> {
    let mut measured = Measured::default();
    for _ in 0..effort.rounds {
        for contender in contenders(case) {
            if end.load(Ordering::Relaxed) {
                bail!("interrupted");
            }
            let before = machine::own_us()?;
            let throughput = wrk::run(site, contender, case, effort.seconds)?;
            let used = machine::own_us()?.saturating_sub(before);
            let series = measured.series.entry(contender).or_default();
            series.rps.push(throughput.rps);
            series.cpu_us.push(used as f64 / throughput.requests as f64);
        }
    }
    Ok(measured)
}

/// Nobody refuses but who decides.
pub(crate) fn contenders(case: &Case) -> impl Iterator<Item = Contender> {
    let refuses = case.answer != Answer::Body;
    Contender::ALL
        .into_iter()
        .filter(move |contender| !(refuses && *contender == Contender::Direct))
}
