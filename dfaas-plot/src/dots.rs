//! A value with its confidence interval in each line, in groups: what strategies are compared with.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::{FONT, LABEL_PX, Picture, SIZE, TICK_PX, TITLE_PX, colour, drawing, number, width_px};

/// How high a line is, in pixels: as much as its name needs.
const LINE_PX: u32 = 34;
/// Room above and below the lines: title, axis and margins.
const AROUND_PX: u32 = 170;
/// Between a name and the plot.
const GAP_PX: i32 = 14;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub struct Dot {
    /// What it stands under; a heading is drawn where this changes, none if it is empty.
    pub group: String,
    /// Its name.
    pub name: String,
    /// Where it lies.
    pub mean: f64,
    /// Half of its confidence interval.
    pub within: f64,
    /// The number of its colour.
    pub colour: usize,
}

/// A picture of values, as high as they need.
#[derive(Debug, Clone)]
pub struct Dots {
    /// The file's name.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// The axis, with its unit.
    pub x_label: String,
    /// From above.
    pub dots: Vec<Dot>,
    /// The ends of the axis, where they are not those of the values.
    pub bounds: (Option<f64>, Option<f64>),
}

/// What stands in a line.
enum Row<'a> {
    Heading(&'a str),
    Value(&'a Dot),
}

impl Dots {
    /// Ends of the axis that show all values with a margin, within the bounds.
    fn range(&self) -> (f64, f64) {
        let least = self.dots.iter().map(|dot| dot.mean - dot.within);
        let most = self.dots.iter().map(|dot| dot.mean + dot.within);
        let (least, most) = (
            least.fold(f64::INFINITY, f64::min),
            most.fold(f64::NEG_INFINITY, f64::max),
        );
        let margin = ((most - least) * 0.06).max(1e-6);
        let least = self.bounds.0.unwrap_or(least - margin);
        let most = self.bounds.1.unwrap_or(most + margin);
        if most > least {
            (least, most)
        } else {
            (least, least + 1.0)
        }
    }

    fn rows(&self) -> Vec<Row<'_>> {
        let mut rows = Vec::new();
        let mut group = "";
        for dot in &self.dots {
            if dot.group != group {
                group = &dot.group;
                rows.push(Row::Heading(group));
            }
            rows.push(Row::Value(dot));
        }
        rows
    }

    /// How wide the names are, in pixels.
    fn names_px(&self) -> i32 {
        let names = self.dots.iter().flat_map(|dot| [&dot.name, &dot.group]);
        let widest = names.map(|name| width_px(name, TICK_PX)).max().unwrap_or(0);
        (widest + 2 * GAP_PX).clamp(120, 600)
    }
}

impl Picture for Dots {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> (u32, u32) {
        let lines = u32::try_from(self.rows().len()).unwrap_or(u32::MAX / LINE_PX);
        (SIZE.0, (AROUND_PX + lines * LINE_PX).max(SIZE.1 / 2))
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let (least, most) = self.range();
        let rows = self.rows();
        let count = rows.len().max(1) as f64;
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, (FONT, TITLE_PX))
            .margin(18)
            .margin_right(48)
            .x_label_area_size(78)
            .y_label_area_size(self.names_px())
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
        let plot = chart.plotting_area();
        for (place, row) in rows.iter().enumerate() {
            let y = count - 0.5 - place as f64;
            let (left, centre) = plot.map_coordinate(&(least, y));
            let (text, style) = match row {
                Row::Heading(text) => (*text, FontStyle::Bold),
                Row::Value(dot) => (dot.name.as_str(), FontStyle::Normal),
            };
            let style =
                TextStyle::from((FONT, TICK_PX, style).into_font()).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(text.to_owned(), (left - GAP_PX, centre), style))
                .map_err(drawing)?;
            let Row::Value(dot) = row else { continue };
            let at = |x: f64| (x.clamp(least, most), y);
            let colour = colour(dot.colour);
            plot.draw(&PathElement::new([at(least), at(most)], BLACK.mix(0.08)))
                .map_err(drawing)?;
            let ends = [at(dot.mean - dot.within), at(dot.mean + dot.within)];
            plot.draw(&PathElement::new(ends, colour.stroke_width(4)))
                .map_err(drawing)?;
            plot.draw(&Circle::new(at(dot.mean), 7, colour.filled()))
                .map_err(drawing)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svg;

    #[test]
    fn every_name_has_the_height_it_needs() {
        let dot = |place: usize| Dot {
            group: format!("reference 50/{}/0", place / 6),
            name: format!("strategy {place}"),
            mean: place as f64,
            within: 0.5,
            colour: place % 6,
        };
        let dots = Dots {
            name: "d".to_owned(),
            title: "Success".to_owned(),
            x_label: "%".to_owned(),
            dots: (0..24).map(dot).collect(),
            bounds: (None, None),
        };
        assert_eq!(dots.size().1, AROUND_PX + 28 * LINE_PX);
        let picture = svg(&dots).unwrap();
        let sizes: Vec<f64> = picture
            .split("font-size=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next()?.parse().ok())
            .collect();
        assert!(sizes.len() >= 28, "{sizes:?}");
        // Half of it is eleven pixels or more.
        assert!(sizes.iter().all(|&size| size > 18.0), "{sizes:?}");
        for name in ["strategy 0", "strategy 23", "reference 50/3/0"] {
            assert!(picture.contains(name), "{name}");
        }
    }
}
