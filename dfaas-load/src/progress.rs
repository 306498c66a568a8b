//! One line that lives while requests are sent.

use std::{collections::BTreeMap, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{sample::Sample, workload::Workload};

/// How often the line is drawn anew, a second.
const DRAWS_PER_SECOND: u8 = 4;

/// The line. It is shown on a terminal only.
pub(crate) struct Progress {
    bar: ProgressBar,
    codes: BTreeMap<u16, usize>,
    /// The slowest request so far.
    slowest: Duration,
}

impl Progress {
    /// Begins a line for a workload.
    pub(crate) fn begin(workload: &Workload) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
        let bar = ProgressBar::with_draw_target(Some(workload.expected().ceil() as u64), target);
        let style = ProgressStyle::with_template("{elapsed} {bar:20} {pos} of {len} answered {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self {
            bar,
            codes: BTreeMap::new(),
            slowest: Duration::ZERO,
        }
    }

    /// Counts a result.
    pub(crate) fn note(&mut self, sample: &Sample) {
        *self.codes.entry(sample.code).or_default() += 1;
        self.slowest = self.slowest.max(sample.latency);
        self.bar.inc(1);
        let codes: Vec<_> = self
            .codes
            .iter()
            .map(|(code, count)| match code {
                0 => format!("{count} without answer"),
                code => format!("{code}: {count}"),
            })
            .collect();
        self.bar
            .set_message(format!("({}), slowest {:.0?}", codes.join(", "), self.slowest));
    }

    /// Takes the line away.
    pub(crate) fn end(self) {
        self.bar.finish_and_clear();
    }
}
