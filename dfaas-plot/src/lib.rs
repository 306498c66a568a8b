//! Pictures of results as SVG and PNG, in colours that the colour-blind can tell apart, and pages with them.
//!
//! A picture is values and words; sizes, colours and the font, which comes with the program, are the same for all.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

use std::fs;
use std::path::Path;
use std::sync::Once;

use anyhow::{Context as _, Result, anyhow, bail};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;

mod dots;
mod graph;
mod lines;
mod page;

pub use dots::{Dot, Dots};
pub use graph::Graph;
pub use lines::Lines;
pub use page::{Page, escaped};

/// Width and height in pixels. Wide enough for a page; letters are so large that half of it can be read.
const SIZE: (u32, u32) = (1_280, 720);
const FONT: &str = "sans-serif";
const TITLE_PX: i32 = 32;
const LABEL_PX: i32 = 27;
const TICK_PX: i32 = 24;

/// The palette of Okabe and Ito (2008), blue first and yellow, which is weak on white, last.
const PALETTE: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(230, 159, 0),
    RGBColor(240, 228, 66),
];

/// A picture that can be drawn.
pub trait Picture {
    /// What its file is called, without an ending.
    fn name(&self) -> &str;

    /// Width and height, in pixels.
    fn size(&self) -> (u32, u32) {
        SIZE
    }

    /// Draws it on a white area of its size.
    ///
    /// # Errors
    ///
    /// When the backend cannot.
    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Result<()>
    where
        DB::ErrorType: 'static;
}

/// A picture as the text of an SVG.
///
/// # Errors
///
/// When it cannot be drawn.
pub fn svg(picture: &impl Picture) -> Result<String> {
    register_fonts();
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, picture.size()).into_drawing_area();
        area.fill(&WHITE).map_err(drawing)?;
        picture.draw(&area)?;
        area.present().map_err(drawing)?;
    }
    Ok(text)
}

/// Writes a picture into a file, PNG or SVG by its ending.
///
/// # Errors
///
/// When it has another ending, or the picture cannot be drawn or written.
pub fn write(picture: &impl Picture, file: &Path) -> Result<()> {
    let ending = file.extension().and_then(|ending| ending.to_str());
    match ending.map(str::to_ascii_lowercase).as_deref() {
        Some("svg") => fs::write(file, svg(picture)?).with_context(|| format!("writing {}", file.display())),
        Some("png") => {
            register_fonts();
            let area = BitMapBackend::new(file, picture.size()).into_drawing_area();
            area.fill(&WHITE).map_err(drawing)?;
            picture.draw(&area)?;
            area.present()
                .map_err(|error| anyhow!("writing {}: {error}", file.display()))
        }
        _ => bail!("{}: give a file name that ends in .png or .svg", file.display()),
    }
}

/// What a backend says in an error of ours.
fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("drawing a picture: {error}")
}

/// Makes the font known to plotters, so that pictures are the same everywhere.
fn register_fonts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (style, bytes) in [
            (FontStyle::Normal, notosans::REGULAR_TTF),
            (FontStyle::Bold, notosans::BOLD_TTF),
        ] {
            let registered = register_font(FONT, style, bytes);
            assert!(registered.is_ok(), "the font of the crate notosans can be read");
        }
    });
}

/// The colour of a series.
fn colour(place: usize) -> RGBColor {
    PALETTE[place % PALETTE.len()]
}

/// About how wide a text is, in pixels: no letter of the font that is usual in names is wider than 0.6 of its height.
fn width_px(text: &str, font_px: i32) -> i32 {
    (text.chars().count() as f64 * f64::from(font_px) * 0.56).ceil() as i32
}

/// A number without needless digits, with as many as an axis of small numbers needs.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0" } else { text }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_needless_digits() {
        for (value, want) in [
            (0.0, "0"),
            (-0.0, "0"),
            (10.0, "10"),
            (0.25, "0.25"),
            (0.005, "0.005"),
            (1.5, "1.5"),
            (100.0, "100"),
        ] {
            assert_eq!(number(value), want);
        }
    }

    #[test]
    fn the_ending_says_how_a_picture_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let lines = Lines {
            name: "p".to_owned(),
            title: "A title".to_owned(),
            x_label: "seconds".to_owned(),
            y_label: "requests".to_owned(),
            series: vec![("a".to_owned(), vec![(0.0, 1.0), (1.0, 2.0)])],
            y_most: None,
        };
        for (name, begin) in [("p.png", &b"\x89PNG"[..]), ("p.SVG", b"<svg")] {
            let file = folder.path().join(name);
            write(&lines, &file).unwrap();
            assert!(fs::read(&file).unwrap().starts_with(begin), "{name}");
        }
        let error = write(&lines, &folder.path().join("p.gif"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("ends in .png or .svg"), "{error}");
        let lost = write(&lines, &folder.path().join("none/p.svg")).unwrap_err();
        assert!(format!("{lost:#}").contains("none/p.svg"), "{lost:#}");
    }
}
