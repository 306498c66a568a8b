//! Pictures of results.

use std::path::Path;

use anyhow::{Result, ensure};
use dfaas_plot::Lines;

use crate::sample::Sample;

mod series;

/// What a picture shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Answers a second by status code
    Codes,
    /// Answers a second by the node that served
    ServedBy,
    /// Percentiles of the latency over time
    Latency,
    /// Share of requests that were answered within a time
    Cdf,
}

/// How results become points in time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seconds {
    /// By when requests were due.
    Due,
    /// So many requests are a second, in their order, as the reference's plot does it.
    Blocks(usize),
}

/// A line of a picture: its name and points.
type Line = (String, Vec<(f64, f64)>);

impl Kind {
    /// All kinds, in the order of a report.
    pub(crate) const ALL: [Self; 4] = [Self::Codes, Self::ServedBy, Self::Latency, Self::Cdf];

    /// What a reader of a report is told of it.
    pub(crate) fn tells(self) -> &'static str {
        match self {
            Self::Codes => "By when the request was due.",
            Self::ServedBy => "By the node that the answer names.",
            Self::Latency => "A server that stands still is charged for all who would have asked meanwhile.",
            Self::Cdf => "By target; requests without an answer are left out.",
        }
    }

    /// What it shows, and what stands along its axes.
    fn texts(self) -> [&'static str; 3] {
        match self {
            Self::Codes => ["Answers by status code", "time, seconds", "answers per second"],
            Self::ServedBy => [
                "Answers by the node that served",
                "time, seconds",
                "answers per second",
            ],
            Self::Latency => [
                "Latency from when a request was due",
                "time, seconds",
                "latency, milliseconds",
            ],
            Self::Cdf => [
                "Requests answered within a time",
                "latency, milliseconds",
                "answers, %",
            ],
        }
    }
}

/// Draws a picture into a file, PNG or SVG by its name.
///
/// # Errors
///
/// When there is nothing to draw, the name is of another kind, or the file cannot be written.
pub(crate) fn write(file: &Path, kind: Kind, seconds: Seconds, samples: &[Sample]) -> Result<()> {
    dfaas_plot::write(&lines(kind, seconds, samples)?, file)
}

/// A picture.
///
/// # Errors
///
/// When there is nothing to draw.
pub(crate) fn lines(kind: Kind, seconds: Seconds, samples: &[Sample]) -> Result<Lines> {
    let series = series::lines(kind, seconds, samples);
    let [title, x_label, y_label] = kind.texts().map(str::to_owned);
    ensure!(
        series.iter().any(|(_, points)| !points.is_empty()),
        "no result has what this picture shows ({title})"
    );
    Ok(Lines {
        name: "results".to_owned(),
        title,
        x_label,
        y_label,
        series,
        y_most: (kind == Kind::Cdf).then_some(100.0),
    })
}
