//! Pictures of results, as PNG or SVG.

use std::{path::Path, sync::Once};

use anyhow::{Context as _, Result, anyhow, bail};
use plotters::{
    backend::{BitMapBackend, SVGBackend},
    drawing::IntoDrawingArea as _,
    style::{FontStyle, RGBColor, register_font},
};

use crate::sample::Sample;

mod chart;
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

impl Kind {
    /// All kinds, in the order of a report.
    pub(crate) const ALL: [Self; 4] = [Self::Codes, Self::ServedBy, Self::Latency, Self::Cdf];
}

/// How results become points in time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seconds {
    /// By when requests were due.
    Due,
    /// So many requests are a second, in their order, as the reference's plot does it.
    Blocks(usize),
}

/// Width and height of a picture, in pixels.
const SIZE: (u32, u32) = (1_200, 600);
const FONT: &str = "sans-serif";

/// Okabe and Ito's colours, which the colour-blind can tell apart, darkest contrasts first.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// A line of a picture.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Draws a picture into a file, PNG or SVG by its name.
///
/// # Errors
///
/// When there is nothing to draw, the name is of another kind, or the file cannot be written.
pub(crate) fn write(file: &Path, kind: Kind, seconds: Seconds, samples: &[Sample]) -> Result<()> {
    let extension = file.extension().and_then(|extension| extension.to_str());
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("png") => {
            register_fonts();
            let root = BitMapBackend::new(file, SIZE).into_drawing_area();
            chart::draw(&root, kind, seconds, samples).with_context(|| format!("drawing {}", file.display()))
        }
        Some("svg") => {
            let text = svg(kind, seconds, samples)?;
            std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))
        }
        _ => bail!("{}: give a file name that ends in .png or .svg", file.display()),
    }
}

/// Draws a picture as the text of an SVG.
///
/// # Errors
///
/// When there is nothing to draw.
pub(crate) fn svg(kind: Kind, seconds: Seconds, samples: &[Sample]) -> Result<String> {
    register_fonts();
    let mut text = String::new();
    let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
    chart::draw(&root, kind, seconds, samples)?;
    drop(root);
    Ok(text)
}

/// Makes the font known to plotters, which has none of its own.
fn register_fonts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (style, bytes) in [
            (FontStyle::Normal, notosans::REGULAR_TTF),
            (FontStyle::Bold, notosans::BOLD_TTF),
        ] {
            // The font is part of this program; text in another would only look different.
            let _ = register_font(FONT, style, bytes);
        }
    });
}

/// An error of plotters, whose type is a backend's.
fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error}")
}
