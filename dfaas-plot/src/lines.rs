//! Lines over an axis, their names beside them.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::{FONT, LABEL_PX, PALETTE, Picture, TICK_PX, TITLE_PX, colour, drawing, number};

/// How wide the names of the lines are, in pixels.
const LEGEND_PX: i32 = 300;
/// More names would not fit.
const SERIES_MAX: usize = 14;

/// A picture of lines.
#[derive(Debug, Clone)]
pub struct Lines {
    /// The file's name.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// The horizontal axis, with its unit.
    pub x_label: String,
    /// The vertical axis, with its unit.
    pub y_label: String,
    /// Names and points.
    pub series: Vec<(String, Vec<(f64, f64)>)>,
    /// The end of the vertical axis; as high as the highest point if absent.
    pub y_most: Option<f64>,
}

impl Picture for Lines {
    fn name(&self) -> &str {
        &self.name
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let (plot, legend) = area.split_horizontally(area.dim_in_pixel().0 as i32 - LEGEND_PX);
        let points = || self.series.iter().flat_map(|(_, points)| points);
        let x_least = points().map(|&(x, _)| x).fold(f64::INFINITY, f64::min);
        let x_least = if x_least.is_finite() { x_least } else { 0.0 };
        let x_most = points().map(|&(x, _)| x).fold(x_least + 1e-9, f64::max);
        let highest = points().map(|&(_, y)| y).fold(0.0, f64::max);
        let y_most = self
            .y_most
            .unwrap_or(if highest > 0.0 { highest * 1.08 } else { 1.0 });
        let mut chart = ChartBuilder::on(&plot)
            .caption(&self.title, (FONT, TITLE_PX))
            .margin(18)
            .x_label_area_size(78)
            .y_label_area_size(112)
            .build_cartesian_2d(x_least..x_most, 0.0..y_most)
            .map_err(drawing)?;
        chart
            .configure_mesh()
            .x_desc(&self.x_label)
            .y_desc(&self.y_label)
            .axis_desc_style((FONT, LABEL_PX))
            .label_style((FONT, TICK_PX))
            .x_labels(8)
            .y_labels(7)
            .x_label_formatter(&|x| number(*x))
            .y_label_formatter(&|y| number(*y))
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .draw()
            .map_err(drawing)?;
        for (place, (_, points)) in self.series.iter().take(SERIES_MAX).enumerate() {
            let style = colour(place).stroke_width(3);
            let points = points.iter().copied();
            // Colours come again dashed.
            if place < PALETTE.len() {
                chart
                    .draw_series(LineSeries::new(points, style))
                    .map_err(drawing)?;
            } else {
                chart
                    .draw_series(DashedLineSeries::new(points, 9, 6, style))
                    .map_err(drawing)?;
            }
        }
        self.draw_legend(&legend)
    }
}

impl Lines {
    fn draw_legend<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        const STEP_PX: i32 = 40;
        let text = TextStyle::from((FONT, TICK_PX).into_font()).pos(Pos::new(HPos::Left, VPos::Center));
        for (place, (name, _)) in self.series.iter().take(SERIES_MAX).enumerate() {
            let y = 90 + place as i32 * STEP_PX;
            let style = colour(place).stroke_width(5);
            let ends: &[[i32; 2]] = if place < PALETTE.len() {
                &[[0, 40]]
            } else {
                &[[0, 15], [25, 40]]
            };
            for &[from, to] in ends {
                area.draw(&PathElement::new([(from, y), (to, y)], style))
                    .map_err(drawing)?;
            }
            area.draw(&Text::new(shortened(name), (52, y), text.clone()))
                .map_err(drawing)?;
        }
        if self.series.len() > SERIES_MAX {
            let more = format!("and {} more", self.series.len() - SERIES_MAX);
            let y = 90 + SERIES_MAX as i32 * STEP_PX;
            area.draw(&Text::new(more, (52, y), text)).map_err(drawing)?;
        }
        Ok(())
    }
}

/// Names longer than the room for them end in dots.
fn shortened(name: &str) -> String {
    const CHARACTERS_MAX: usize = 20;
    if name.chars().count() <= CHARACTERS_MAX {
        return name.to_owned();
    }
    let start: String = name.chars().take(CHARACTERS_MAX - 1).collect();
    start + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut() {
        assert_eq!(shortened("water-filling"), "water-filling");
        assert_eq!(shortened("a-name-that-is-much-too-long"), "a-name-that-is-much…");
    }
}
