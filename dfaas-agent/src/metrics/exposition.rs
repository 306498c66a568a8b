//! The text format of Prometheus. https://prometheus.io/docs/instrumenting/exposition_formats/

use std::fmt::{self, Display, Formatter, Write};

use crate::data_plane::Histogram;

/// Nothing answers in less time; the bins below are summed up in the first one shown.
const BOUND_MIN_SECONDS: f64 = 1e-4;
/// Nobody waits longer.
const BOUND_MAX_SECONDS: f64 = 100.0;
/// Bins are shown where the bound has doubled; the kernel's are four times finer.
const BOUND_RATIO: f64 = 1.99;

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// Metrics as text.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

impl Exposition {
    pub(super) fn finish(self) -> String {
        self.text
    }

    /// Announces the samples that follow.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, name: &str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let value = Number(value);
        if labels.is_empty() {
            return self.line(format_args!("{name} {value}"));
        }
        let labels: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{}\"", escape(value)))
            .collect();
        self.line(format_args!("{name}{{{}}} {value}", labels.join(",")));
    }

    /// The samples of a histogram, if anything was ever put into it.
    pub(super) fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        if histogram.bins.is_empty() {
            return;
        }
        let bucket = format!("{name}_bucket");
        let mut count = 0;
        let mut shown = BOUND_MIN_SECONDS / BOUND_RATIO;
        for &(bound, in_bin) in &histogram.bins {
            count += in_bin;
            if bound >= shown * BOUND_RATIO && bound <= BOUND_MAX_SECONDS {
                shown = bound;
                let bound = Number(bound).to_string();
                self.sample(&bucket, &[labels, &[("le", &bound)]].concat(), count as f64);
            }
        }
        self.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), count as f64);
        self.sample(&format!("{name}_sum"), labels, histogram.sum_seconds);
        self.sample(&format!("{name}_count"), labels, count as f64);
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a string takes everything");
    }
}

/// A number as Go writes it.
struct Number(f64);

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            value => write!(f, "{value}"),
        }
    }
}

fn escape(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', r#"\""#)
        .replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Exposition::default();
        text.sample("m", &[("a", "x\"y\\z\n"), ("b", "")], f64::INFINITY);
        assert_eq!(text.finish(), "m{a=\"x\\\"y\\\\z\\n\",b=\"\"} +Inf\n");
    }

    #[test]
    fn buckets_add_up() {
        let bins = vec![
            (1e-6, 1),
            (1.28e-4, 2),
            (1.6e-4, 4),
            (2.56e-4, 8),
            (200.0, 16),
            (f64::INFINITY, 32),
        ];
        let mut text = Exposition::default();
        text.histogram(
            "h",
            &[("f", "x")],
            &Histogram {
                bins,
                sum_seconds: 1.5,
            },
        );
        let want = [
            "h_bucket{f=\"x\",le=\"0.000128\"} 3",
            "h_bucket{f=\"x\",le=\"0.000256\"} 15",
            "h_bucket{f=\"x\",le=\"+Inf\"} 63",
            "h_sum{f=\"x\"} 1.5",
            "h_count{f=\"x\"} 63",
        ];
        assert_eq!(text.finish().lines().collect::<Vec<_>>(), want);
    }
}
