//! What happened, in the end.

use std::{collections::BTreeMap, time::Duration};

use dfaas_testbed::{Tally, Totals};
use serde_json::json;

use super::counts::Counts;

/// From here on no request may fail.
const SETTLED: Duration = Duration::from_secs(2);

/// What happened to the load of the demo.
pub(crate) struct Report {
    nodes: BTreeMap<String, Totals>,
    tally: Tally,
}

impl Report {
    pub(crate) fn new(first: &[Counts], last: &[Counts], tally: Tally) -> Self {
        let nodes = last
            .iter()
            .zip(first)
            .map(|(now, before)| (now.node.clone(), now.totals.since(&before.totals)));
        Self {
            nodes: nodes.collect(),
            tally,
        }
    }

    fn sum(&self, count: impl Fn(&Totals) -> u64) -> u64 {
        self.nodes.values().map(count).sum()
    }

    /// Answers of platforms that no kernel steered there.
    fn proxied(&self) -> u64 {
        let served: u64 = self.tally.served_by.values().sum();
        served.saturating_sub(self.sum(|totals| totals.local + totals.admitted))
    }

    fn ms(&self, hundredths: usize) -> Option<f64> {
        let latency = self.tally.percentile(hundredths)?;
        Some((latency.as_secs_f64() * 1e6).round() / 1e3)
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let Tally {
            sent,
            served_by,
            status,
            lost,
            ..
        } = &self.tally;
        format!(
            "demo: {sent} requests, answered by {served_by:?}, status {status:?}, lost {lost:?}; \
             {} served where they came in, {} forwarded, {} through user space",
            self.sum(|totals| totals.local),
            self.sum(|totals| totals.forwarded),
            self.proxied()
        )
    }

    /// For programs: one line.
    pub(crate) fn json(&self, formed_in: Duration) -> serde_json::Value {
        let tally = &self.tally;
        let each = |(name, totals): (&String, &Totals)| {
            let Totals {
                user,
                local,
                forwarded,
                admitted,
                refused,
            } = totals;
            let counts = json!({
                "user": user, "local": local, "forwarded": forwarded, "admitted": admitted, "refused": refused,
                "served": tally.served_by.get(name).copied().unwrap_or(0),
            });
            (name.clone(), counts)
        };
        json!({
            "nodes": self.nodes.len(),
            "per_node": self.nodes.iter().map(each).collect::<serde_json::Map<_, _>>(),
            "formed_ms": u64::try_from(formed_in.as_millis()).unwrap_or(u64::MAX),
            "sent": tally.sent,
            "ok": tally.ok(),
            "status": tally.status,
            "local": self.sum(|totals| totals.local),
            "forwarded": self.sum(|totals| totals.forwarded),
            "admitted": self.sum(|totals| totals.admitted),
            "refused": self.sum(|totals| totals.refused),
            "lost": tally.lost(),
            "lost_by_reason": tally.lost,
            "failed_after_2s": tally.failed_after(SETTLED),
            "proxied_in_user_space": self.proxied(),
            "p50_ms": self.ms(50),
            "p99_ms": self.ms(99),
            "reaction_ms": tally.first_elsewhere.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_has_what_scripts_ask_for() {
        let object = Report::new(&[], &[], Tally::new("node1")).json(Duration::from_millis(1500));
        for name in [
            "nodes",
            "formed_ms",
            "sent",
            "ok",
            "status",
            "local",
            "forwarded",
            "admitted",
            "refused",
            "lost",
            "proxied_in_user_space",
            "p50_ms",
            "p99_ms",
            "reaction_ms",
            "failed_after_2s",
        ] {
            assert!(object.get(name).is_some(), "{name}");
        }
        assert!(!object.to_string().contains('\n'));
    }
}
