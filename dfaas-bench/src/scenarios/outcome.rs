//! What became of a scenario's requests.

use std::time::Duration;

use dfaas_testbed::{Outcome as Answer, Sample, Tally};
use serde_json::{Value, json};

use super::Scenario;

/// Water-filling must serve this share of what can be served, from the first second on.
const SERVED_PERCENT_MIN: f64 = 99.0;
/// How far Recalc's steady state may be from the published one: buckets and a load that is not in step with seconds.
const PUBLISHED_TOLERANCE: f64 = 0.05;

#[derive(Debug)]
pub(super) struct Outcome {
    strategy: &'static str,
    scenario: Scenario,
    served: Vec<u64>,
    refused: Vec<u64>,
    lost: u64,
    /// From the first request that its own node had no room for to the first one that another node had served.
    reaction: Option<Duration>,
    /// Whether that was the same request.
    is_same_request: bool,
}

impl Outcome {
    pub(super) fn new(
        strategy: &'static str,
        scenario: Scenario,
        seconds: usize,
        samples: &[(String, Vec<Sample>)],
    ) -> Self {
        let tallies: Vec<Tally> = samples
            .iter()
            .map(|(home, samples)| Tally::of(home, samples))
            .collect();
        let sum = |second: usize, count: fn(&dfaas_testbed::Second) -> u64| -> u64 {
            tallies
                .iter()
                .filter_map(|tally| tally.seconds.get(second))
                .map(count)
                .sum()
        };
        let served: Vec<u64> = (0..seconds)
            .map(|second| sum(second, |second| second.ok))
            .collect();
        let refused = (0..seconds).map(|second| sum(second, |second| second.sent - second.ok));
        // The first node has too much in all scenarios.
        let first = samples.first().map(|(home, samples)| reaction(home, samples));
        let (reaction, is_same_request) = first.unwrap_or_default();
        Self {
            strategy,
            scenario,
            refused: refused.collect(),
            served,
            lost: tallies.iter().map(Tally::lost).sum(),
            reaction,
            is_same_request,
        }
    }

    fn served_percent(&self) -> f64 {
        let possible = f64::from(self.scenario.possible_rps()) * self.served.len() as f64;
        100.0 * self.served.iter().sum::<u64>() as f64 / possible
    }

    /// Over the second half, in requests a second.
    fn steady_rps(&self) -> f64 {
        let half = &self.served[self.served.len() / 2..];
        half.iter().sum::<u64>() as f64 / half.len() as f64
    }

    /// Whether the strategy does what is said of it.
    fn is_met(&self) -> bool {
        if self.strategy == "recalc" {
            let published = f64::from(self.scenario.published_rps);
            (self.steady_rps() - published).abs() <= published * PUBLISHED_TOLERANCE
        } else {
            self.served_percent() >= SERVED_PERCENT_MIN
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "load": self.scenario.rates,
            "strategy": self.strategy,
            "possible_rps": self.scenario.possible_rps(),
            "served": self.served,
            "refused": self.refused,
            "lost": self.lost,
            "served_percent": self.served_percent(),
            "steady_rps": self.steady_rps(),
            "published_rps": self.scenario.published_rps,
            "reaction_ms": self.reaction.map(|reaction| reaction.as_secs_f64() * 1e3),
            "same_request": self.is_same_request,
            "met": self.is_met(),
        })
    }

    pub(super) fn text(&self) -> String {
        format!(
            "{} under {}: served {} refused {}, {:.1} % of what is possible, steady {:.1}/s, {}{}",
            self.scenario.name(),
            self.strategy,
            each(&self.served),
            each(&self.refused),
            self.served_percent(),
            self.steady_rps(),
            self.reaction_text(),
            if self.is_met() { ": met" } else { ": MISSED" },
        )
    }

    pub(super) fn row(&self) -> String {
        let is_recalc = self.strategy == "recalc";
        let [met_all, met_published] =
            [!is_recalc, is_recalc].map(|is_asked| match (is_asked, self.is_met()) {
                (false, _) => "",
                (true, true) => ": met",
                (true, false) => ": **missed**",
            });
        format!(
            "| {} | {} | {:.1} %{met_all} | {} | {} | {:.1}/s | {}{met_published} | {} |\n",
            self.scenario.name(),
            self.strategy,
            self.served_percent(),
            each(&self.served),
            each(&self.refused),
            self.steady_rps(),
            if is_recalc {
                format!("{}/s", self.scenario.published_rps)
            } else {
                "-".to_owned()
            },
            self.reaction_text(),
        )
    }

    fn reaction_text(&self) -> String {
        match self.reaction {
            None => "none".to_owned(),
            Some(time) if self.is_same_request => {
                format!("{:.0} ms, the same request", time.as_secs_f64() * 1e3)
            }
            Some(time) => format!("{:.0} ms", time.as_secs_f64() * 1e3),
        }
    }
}

fn each(counts: &[u64]) -> String {
    let texts: Vec<String> = counts.iter().map(u64::to_string).collect();
    texts.join(" ")
}

/// How long it took from the first request that was too much for its node until another node had served one, and
/// whether that was the same.
fn reaction(home: &str, samples: &[Sample]) -> (Option<Duration>, bool) {
    let by = |sample: &Sample| match &sample.outcome {
        Answer::Answered {
            status: 200,
            served_by,
        } => served_by.clone(),
        Answer::Answered { .. } | Answer::Lost(_) => None,
    };
    let too_much = samples
        .iter()
        .filter(|sample| by(sample).as_deref() != Some(home));
    let begun = too_much.map(|sample| sample.sent).min();
    let elsewhere = samples
        .iter()
        .filter(|sample| by(sample).is_some_and(|node| node != home));
    let first = elsewhere.min_by_key(|sample| sample.sent + sample.latency);
    let (Some(begun), Some(first)) = (begun, first) else {
        return (None, false);
    };
    let reaction = (first.sent + first.latency).saturating_sub(begun);
    (Some(reaction), first.sent == begun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reaction_begins_with_the_first_request_that_is_too_much() {
        let own = sample(0, 200, Some("n1"));
        let refused = sample(100, 503, None);
        let elsewhere = sample(300, 200, Some("n2"));
        let all = [own.clone(), refused, elsewhere.clone()];
        assert_eq!(reaction("n1", &all), (Some(Duration::from_millis(205)), false));
        assert_eq!(
            reaction("n1", &[own.clone(), elsewhere]),
            (Some(Duration::from_millis(5)), true)
        );
        assert_eq!(reaction("n1", &[own]), (None, false));
    }

    #[test]
    fn seconds_of_all_nodes_are_added_up() {
        let scenario = Scenario::new([2, 1, 0], 2);
        let samples = [
            (
                "n1".to_owned(),
                vec![sample(0, 200, Some("n1")), sample(500, 200, Some("n2"))],
            ),
            (
                "n2".to_owned(),
                vec![sample(10, 429, None), sample(1_010, 200, Some("n2"))],
            ),
        ];
        let outcome = Outcome::new("water-filling", scenario, 2, &samples);
        assert_eq!(
            (&outcome.served[..], &outcome.refused[..]),
            (&[2, 1][..], &[1, 0][..])
        );
        assert_eq!((outcome.served_percent(), outcome.steady_rps()), (50.0, 1.0));
        assert!(!outcome.is_met());
        assert!(
            outcome
                .row()
                .starts_with("| 2/1/0 | water-filling | 50.0 %: **missed** | 2 1 | 1 0 |"),
            "{}",
            outcome.row()
        );
    }

    fn sample(sent_ms: u64, status: u16, by: Option<&str>) -> Sample {
        let served_by = by.map(str::to_owned);
        Sample {
            sent: Duration::from_millis(sent_ms),
            latency: Duration::from_millis(5),
            outcome: Answer::Answered { status, served_by },
        }
    }
}
