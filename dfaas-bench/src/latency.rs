//! The time of a request at a constant rate: interleaved as the rounds of throughput are.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::{
    case::Case,
    contender::Contender,
    open_loop,
    rounds::Effort,
    site::Site,
    statistics::{Median, quantile},
};

/// The quantiles that are told, in thousandths.
const PERMILLE: [usize; 3] = [500, 990, 999];

/// What was measured.
#[derive(Debug)]
pub(crate) struct Latencies {
    rate_rps: f64,
    /// For each contender the quantiles of each round, in nanoseconds.
    quantiles: BTreeMap<Contender, Vec<[u64; 3]>>,
}

/// Measures some contenders at a rate.
///
/// # Errors
///
/// When requests fail, or the user wants an end.
pub(crate) fn run(
    site: &Site,
    case: &Case,
    contenders: &[Contender],
    rate_rps: f64,
    effort: Effort,
    end: &AtomicBool,
) -> Result<Latencies> {
    let mut quantiles: BTreeMap<Contender, Vec<[u64; 3]>> = BTreeMap::new();
    let duration = Duration::from_secs(effort.seconds);
    for _ in 0..effort.rounds {
        for contender in contenders {
            if end.load(Ordering::Relaxed) {
                bail!("interrupted");
            }
            let mut samples = open_loop::run(site, *contender, case, rate_rps, duration)?;
            samples.sort_unstable();
            let of_round = PERMILLE.map(|permille| quantile(&samples, permille));
            quantiles.entry(*contender).or_default().push(of_round);
        }
    }
    Ok(Latencies { rate_rps, quantiles })
}

impl Latencies {
    fn series_us(&self, contender: Contender, permille: usize) -> Vec<f64> {
        let column = PERMILLE.iter().position(|of| *of == permille).unwrap_or_default();
        let rounds = self.quantiles.get(&contender).into_iter().flatten();
        rounds
            .map(|quantiles| quantiles[column] as f64 / 1000.0)
            .collect()
    }

    pub(crate) fn median_us(&self, contender: Contender, permille: usize) -> Option<f64> {
        Median::of(self.series_us(contender, permille)).map(|median| median.value)
    }

    /// What a contender adds to going directly.
    pub(crate) fn added_us(&self, contender: Contender, permille: usize) -> Option<f64> {
        let [ours, direct] = [contender, Contender::Direct].map(|of| self.series_us(of, permille));
        Median::of_differences(&ours, &direct).map(|median| median.value)
    }

    pub(crate) fn json(&self) -> Value {
        let contenders = self.quantiles.keys().map(|contender| {
            let told = json!({
                "p50_us": self.median_us(*contender, 500),
                "p99_us": self.median_us(*contender, 990),
                "p999_us": self.median_us(*contender, 999),
                "added_p50_us": self.added_us(*contender, 500),
                "added_p99_us": self.added_us(*contender, 990),
            });
            (contender.name(), told)
        });
        let mut object: serde_json::Map<String, Value> = contenders.collect();
        object.insert("rate_rps".to_owned(), json!(self.rate_rps));
        Value::Object(object)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("  at {:.0} requests a second, us:", self.rate_rps);
        for contender in self.quantiles.keys() {
            let of = |permille| self.median_us(*contender, permille).unwrap_or_default();
            let _ = write!(
                text,
                " {} p50 {:.0} p99 {:.0} p99.9 {:.0};",
                contender.name(),
                of(500),
                of(990),
                of(999)
            );
        }
        text + "\n"
    }
}
