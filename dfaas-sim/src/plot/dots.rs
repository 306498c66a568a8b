//! A value with its confidence interval in each line: what strategies are compared with.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::lines::number;
use super::{FONT, LABEL_PX, Picture, SIZE, TICK_PX, TITLE_PX, colour, drawing};
use crate::sweep::Estimate;

/// How wide the names are, in pixels.
const NAMES_PX: i32 = 360;

/// A picture of values.
#[derive(Debug, Clone)]
pub struct Dots {
    /// The file's name.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// The axis, with its unit.
    pub x_label: String,
    /// From above: the name, the value, and the number of its colour.
    pub rows: Vec<(String, Estimate, usize)>,
    /// The ends of the axis, where they are not those of the values.
    pub bounds: (Option<f64>, Option<f64>),
}

impl Dots {
    /// Ends of the axis that show all values with a margin, within the bounds.
    fn range(&self) -> (f64, f64) {
        let ends = |of: fn(&Estimate) -> f64| self.rows.iter().map(move |(_, estimate, _)| of(estimate));
        let least = ends(|estimate| estimate.mean - estimate.within).fold(f64::INFINITY, f64::min);
        let most = ends(|estimate| estimate.mean + estimate.within).fold(f64::NEG_INFINITY, f64::max);
        let margin = ((most - least) * 0.06).max(1e-6);
        let least = self.bounds.0.unwrap_or(least - margin);
        let most = self.bounds.1.unwrap_or(most + margin);
        if most > least {
            (least, most)
        } else {
            (least, least + 1.0)
        }
    }
}

impl Picture for Dots {
    fn name(&self) -> &str {
        &self.name
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let (least, most) = self.range();
        let count = self.rows.len().max(1) as f64;
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, (FONT, TITLE_PX))
            .margin(18)
            .margin_right(48)
            .x_label_area_size(78)
            .y_label_area_size(NAMES_PX)
            .build_cartesian_2d(least..most, 0.0..count)
            .map_err(drawing)?;
        chart
            .configure_mesh()
            .x_desc(&self.x_label)
            .axis_desc_style((FONT, LABEL_PX))
            .label_style((FONT, TICK_PX))
            .x_labels(7)
            .x_label_formatter(&|x| number(*x))
            .y_labels(0)
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .draw()
            .map_err(drawing)?;
        let room_px = (SIZE.1 as f64 - 160.0) / count;
        let font_px = (room_px * 0.8).clamp(13.0, f64::from(TICK_PX));
        let text = TextStyle::from((FONT, font_px).into_font()).pos(Pos::new(HPos::Right, VPos::Center));
        for (place, (name, estimate, group)) in self.rows.iter().enumerate() {
            let y = count - 0.5 - place as f64;
            let style = colour(*group);
            let at = |x: f64| (x.clamp(least, most), y);
            let ends = [
                at(estimate.mean - estimate.within),
                at(estimate.mean + estimate.within),
            ];
            let plot = chart.plotting_area();
            plot.draw(&PathElement::new([at(least), at(most)], BLACK.mix(0.08)))
                .map_err(drawing)?;
            plot.draw(&PathElement::new(ends, style.stroke_width(4)))
                .map_err(drawing)?;
            plot.draw(&Circle::new(at(estimate.mean), 7, style.filled()))
                .map_err(drawing)?;
            let (left, centre) = plot.map_coordinate(&at(least));
            area.draw(&Text::new(name.clone(), (left - 14, centre), text.clone()))
                .map_err(drawing)?;
        }
        Ok(())
    }
}
