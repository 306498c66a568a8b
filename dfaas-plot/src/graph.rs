//! The nodes on a circle, as large as their capacity, and the links between them.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::{FONT, Picture, TICK_PX, TITLE_PX, colour, drawing};

/// Names of more nodes would lie over each other.
const NAMED_MAX: usize = 40;

/// A picture of a topology.
#[derive(Debug, Clone)]
pub struct Graph {
    /// What it shows.
    pub title: String,
    /// Names, and how much each can serve, in requests per second.
    pub nodes: Vec<(String, f64)>,
    /// Pairs of places in the list.
    pub links: Vec<(usize, usize)>,
}

impl Picture for Graph {
    fn name(&self) -> &'static str {
        "topology"
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let title = TextStyle::from((FONT, TITLE_PX).into_font()).pos(Pos::new(HPos::Center, VPos::Top));
        let (width, height) = area.dim_in_pixel();
        let (width, height) = (width as i32, height as i32);
        area.draw(&Text::new(self.title.clone(), (width / 2, 18), title))
            .map_err(drawing)?;
        let centre = (f64::from(width) / 2.0, f64::from(height) / 2.0 + 20.0);
        let count = self.nodes.len();
        let at = |place: usize, radius: f64| {
            let angle =
                std::f64::consts::TAU * place as f64 / count.max(1) as f64 - std::f64::consts::FRAC_PI_2;
            let (x, y) = (
                centre.0 + radius * 1.25 * angle.cos(),
                centre.1 + radius * angle.sin(),
            );
            (x.round() as i32, y.round() as i32)
        };
        const RADIUS_PX: f64 = 235.0;
        for &(a, b) in &self.links {
            let ends = [at(a, RADIUS_PX), at(b, RADIUS_PX)];
            area.draw(&PathElement::new(ends, BLACK.mix(0.35).stroke_width(2)))
                .map_err(drawing)?;
        }
        let most = self.nodes.iter().map(|(_, rps)| *rps).fold(1e-9, f64::max);
        for (place, (name, rps)) in self.nodes.iter().enumerate() {
            let size = 8.0 + 20.0 * (rps / most).sqrt();
            let here = at(place, RADIUS_PX);
            area.draw(&Circle::new(here, size as i32, colour(0).filled()))
                .map_err(drawing)?;
            if count <= NAMED_MAX {
                let (x, y) = at(place, RADIUS_PX + 56.0);
                let side = match x - width / 2 {
                    ..=-20 => HPos::Right,
                    -19..=19 => HPos::Center,
                    20.. => HPos::Left,
                };
                let font_px = if count > 16 { TICK_PX - 6 } else { TICK_PX };
                let text = TextStyle::from((FONT, font_px).into_font()).pos(Pos::new(side, VPos::Center));
                let label = format!("{name}: {rps:.0} req/s");
                area.draw(&Text::new(label, (x, y), text)).map_err(drawing)?;
            }
        }
        Ok(())
    }
}
