//! Pictures of results, as SVG and PNG, in colours that the colour-blind can tell apart.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;

pub mod compare;
pub mod dots;
pub mod lines;
pub mod run;
pub mod topology;

/// Wide enough for a page; letters are so large that half of it can be read.
const SIZE: (u32, u32) = (1_280, 720);
const FONT: &str = "sans-serif";
const TITLE_PX: i32 = 32;
const LABEL_PX: i32 = 27;
const TICK_PX: i32 = 24;

/// The palette of Okabe and Ito (2008), black first and yellow, which is weak on white, last.
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

    /// Draws it.
    ///
    /// # Errors
    ///
    /// When the backend cannot.
    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Result<()>
    where
        DB::ErrorType: 'static;
}

/// Which files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Vectors.
    Svg,
    /// Pixels.
    Png,
    /// Each of them.
    Both,
}

/// A picture as SVG.
///
/// # Errors
///
/// When it cannot be drawn.
pub fn svg(picture: &impl Picture) -> Result<String> {
    register_fonts();
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(drawing)?;
        picture.draw(&area)?;
        area.present().map_err(drawing)?;
    }
    Ok(text)
}

/// Writes a picture into a folder.
///
/// # Errors
///
/// When it cannot be drawn or written.
pub fn write(picture: &impl Picture, folder: &Path, format: Format) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    if matches!(format, Format::Svg | Format::Both) {
        let path = folder.join(picture.name()).with_extension("svg");
        fs::write(&path, svg(picture)?).with_context(|| format!("writing {}", path.display()))?;
    }
    if matches!(format, Format::Png | Format::Both) {
        register_fonts();
        let path = folder.join(picture.name()).with_extension("png");
        let area = BitMapBackend::new(&path, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(drawing)?;
        picture.draw(&area)?;
        area.present()
            .map_err(|error| anyhow!("writing {}: {error}", path.display()))?;
    }
    Ok(())
}

/// What a backend says in an error of ours.
fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("drawing a picture: {error}")
}

/// The font comes with the program, so that pictures are the same everywhere. It is registered once a program only in
/// effect; doing it again changes nothing.
fn register_fonts() {
    for (style, bytes) in [
        (FontStyle::Normal, notosans::REGULAR_TTF),
        (FontStyle::Bold, notosans::BOLD_TTF),
    ] {
        let registered = register_font(FONT, style, bytes);
        assert!(registered.is_ok(), "the font of the crate notosans can be read");
    }
}

/// The colour of a series.
fn colour(place: usize) -> RGBColor {
    PALETTE[place % PALETTE.len()]
}
