//! Axes, lines and legend.

use anyhow::{Result, ensure};
use plotters::{
    chart::{ChartBuilder, SeriesLabelPosition},
    coord::Shift,
    element::PathElement,
    prelude::{BLACK, DrawingBackend, WHITE},
    series::LineSeries,
    style::{Color as _, IntoFont as _, ShapeStyle},
};

use super::{COLOURS, FONT, Kind, Line, Seconds, drawing, series};
use crate::sample::Sample;

/// What stands on and along a picture.
struct Texts {
    title: &'static str,
    x: &'static str,
    y: &'static str,
}

/// Sizes of text in pixels, readable when the picture is shown at half its size.
const TITLE: u32 = 30;
const LABEL: u32 = 22;

type Area<D> = plotters::drawing::DrawingArea<D, Shift>;

/// Draws one picture.
///
/// # Errors
///
/// When no result has what it shows.
pub(super) fn draw<D: DrawingBackend>(
    root: &Area<D>,
    kind: Kind,
    seconds: Seconds,
    samples: &[Sample],
) -> Result<()> {
    let lines = series::lines(kind, seconds, samples);
    ensure!(
        lines.iter().any(|line| !line.points.is_empty()),
        "no result has what this picture shows ({})",
        texts(kind).title
    );
    root.fill(&WHITE).map_err(drawing)?;
    let (x_max, y_max) = (
        greatest(&lines, |point| point.0),
        greatest(&lines, |point| point.1),
    );
    let mut builder = ChartBuilder::on(root);
    builder
        .caption(texts(kind).title, (FONT, TITLE).into_font())
        .margin(16)
        .x_label_area_size(56)
        .y_label_area_size(90);
    let y_top = if kind == Kind::Cdf { 100.0 } else { y_max * 1.4 };
    let mut chart = builder
        .build_cartesian_2d(0.0..x_max, 0.0..y_top)
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .x_desc(texts(kind).x)
        .y_desc(texts(kind).y)
        .label_style((FONT, LABEL))
        .axis_desc_style((FONT, LABEL))
        .x_label_formatter(&short)
        .y_label_formatter(&short)
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .draw()
        .map_err(drawing)?;
    for (index, line) in lines.iter().enumerate() {
        let style = style(index);
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), style))
            .map_err(drawing)?
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 28, y)], style));
    }
    chart
        .configure_series_labels()
        .position(if kind == Kind::Cdf {
            SeriesLabelPosition::LowerRight
        } else {
            SeriesLabelPosition::UpperRight
        })
        .label_font((FONT, LABEL))
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .legend_area_size(36)
        .draw()
        .map_err(drawing)?;
    root.present().map_err(drawing)
}

fn texts(kind: Kind) -> Texts {
    let (title, x, y) = match kind {
        Kind::Codes => ("Answers by status code", "seconds", "answers a second"),
        Kind::ServedBy => ("Answers by the node that served", "seconds", "answers a second"),
        Kind::Latency => ("Latency from when a request was due", "seconds", "milliseconds"),
        Kind::Cdf => (
            "Requests answered within a time",
            "milliseconds",
            "percent of answers",
        ),
    };
    Texts { title, x, y }
}

/// Lines beyond the seventh have the colours of the first again, thinner.
fn style(index: usize) -> ShapeStyle {
    let width = if index < COLOURS.len() { 3 } else { 1 };
    COLOURS[index % COLOURS.len()].stroke_width(width)
}

/// The greatest value; at least a little above zero, as an axis needs an extent.
fn greatest(lines: &[Line], of: impl Fn(&(f64, f64)) -> f64) -> f64 {
    let points = lines.iter().flat_map(|line| &line.points);
    points.map(of).fold(1e-3, f64::max)
}

/// A number with as many digits as an axis needs.
fn short(value: &f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
