//! Pictures of results.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use dfaas_plot::Picture;

pub mod compare;
pub mod run;

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

impl Format {
    fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Svg => &["svg"],
            Self::Png => &["png"],
            Self::Both => &["svg", "png"],
        }
    }
}

/// Writes a picture into a folder.
///
/// # Errors
///
/// When it cannot be drawn or written.
pub fn write(picture: &impl Picture, folder: &Path, format: Format) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    for ending in format.endings() {
        dfaas_plot::write(picture, &folder.join(picture.name()).with_extension(ending))?;
    }
    Ok(())
}
