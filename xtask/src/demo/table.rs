//! The table that the demo shows.

use std::io::{Write as _, stdout};

use dfaas_testbed::Tally;

use super::counts::Counts;

/// A table that is drawn again and again, or line by line where nobody could see that.
pub(crate) struct Table {
    capacities: Vec<u32>,
    redraw: bool,
    drawn: usize,
}

impl Table {
    pub(crate) fn new(capacities: Vec<u32>, redraw: bool) -> Self {
        Self {
            capacities,
            redraw,
            drawn: 0,
        }
    }

    /// What there is to see after so many seconds.
    pub(crate) fn lines(
        &self,
        seconds: u64,
        counts: &[Counts],
        before: &[Counts],
        tally: &Tally,
    ) -> Vec<String> {
        let rows = counts.iter().zip(before).zip(&self.capacities);
        if !self.redraw {
            let nodes: Vec<String> = rows.map(|((now, before), _)| brief(now, before)).collect();
            return vec![format!(
                "{seconds:>4} s  {}  | {}",
                nodes.join("  "),
                client(tally)
            )];
        }
        let mut lines = vec![format!(
            "{seconds:>4} s  {:>8} {:>8} {:>8} {:>9} {:>8} {:>8}  shares of the excess",
            "capacity", "in/s", "local/s", "forward/s", "admit/s", "refuse/s"
        )];
        lines.extend(rows.map(|((now, before), capacity)| row(now, before, *capacity)));
        lines.push(client(tally));
        lines
    }

    /// Draws the lines over the ones before.
    pub(crate) fn show(&mut self, lines: &[String]) {
        if self.redraw && self.drawn > 0 {
            print!("\x1b[{}F\x1b[J", self.drawn);
        }
        for line in lines {
            println!("{line}");
        }
        self.drawn = lines.len();
        // A terminal that is gone shows nothing either way.
        let _ = stdout().flush();
    }
}

fn row(now: &Counts, before: &Counts, capacity: u32) -> String {
    let new = now.totals.since(&before.totals);
    let shares: Vec<String> = now
        .weights
        .iter()
        .map(|(peer, weight)| format!("{peer} {:.0} %", weight * 100.0))
        .collect();
    format!(
        "{:>6}  {capacity:>8} {:>8} {:>8} {:>9} {:>8} {:>8}  {}",
        now.node,
        new.user,
        new.local,
        new.forwarded,
        new.admitted,
        new.refused,
        shares.join(", ")
    )
}

fn brief(now: &Counts, before: &Counts) -> String {
    let new = now.totals.since(&before.totals);
    format!(
        "{} in {} local {} forwarded {} admitted {} refused {}",
        now.node, new.user, new.local, new.forwarded, new.admitted, new.refused
    )
}

/// What the client has seen so far.
fn client(tally: &Tally) -> String {
    let ms = |hundredths| {
        tally
            .percentile(hundredths)
            .map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    };
    let reacted = tally.first_elsewhere.map_or_else(
        || "not reacted yet".to_owned(),
        |after| format!("reacted in {} ms", after.as_millis()),
    );
    format!(
        "client: {} sent, {} ok, {} lost, p50 {:.1} ms, p99 {:.1} ms; {reacted}",
        tally.sent,
        tally.ok(),
        tally.lost(),
        ms(50),
        ms(99)
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dfaas_testbed::Totals;

    use super::*;

    #[test]
    fn rates_are_what_came_since_the_last_line() {
        let before = counts(100, 20);
        let now = counts(150, 30);
        let table = Table::new(vec![10], false);
        let lines = table.lines(
            3,
            std::slice::from_ref(&now),
            std::slice::from_ref(&before),
            &Tally::new("node1"),
        );
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("node1 in 50 local 10 forwarded 0"), "{lines:?}");
        let table = Table::new(vec![10], true);
        let lines = table.lines(3, &[now], &[before], &Tally::new("node1"));
        assert!(lines[1].ends_with("node2 40 %"), "{lines:?}");
    }

    fn counts(user: u64, local: u64) -> Counts {
        Counts {
            node: "node1".to_owned(),
            totals: Totals {
                user,
                local,
                ..Totals::default()
            },
            weights: BTreeMap::from([("node2".to_owned(), 0.4)]),
        }
    }
}
