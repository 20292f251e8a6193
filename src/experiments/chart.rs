//! Plots as SVG: lines with 95 % intervals on a light background, labelled axes, and where there is one the target.

use std::ops::Range;

use plotters::{
    coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged},
    prelude::*,
};

use super::Error;
use crate::evaluate::metrics::Share;

const SIZE: (u32, u32) = (860, 500);
/// Told apart by colour-blind readers too (Okabe and Ito).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x66, 0x66, 0x66),
    RGBColor(0x00, 0x00, 0x00),
];

/// A line of points.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What it is, for the legend.
    pub name: String,
    /// Place on the x axis, and a share with its interval.
    pub points: Vec<(f64, Share)>,
    /// Whether the intervals are drawn.
    pub intervals: bool,
}

/// A plot of shares in per cent.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Above it.
    pub title: String,
    /// What the x axis is.
    pub x: String,
    /// Its marks: place and text.
    pub marks: Vec<(f64, String)>,
    /// What the y axis is.
    pub y: String,
    /// A share that a line is drawn at.
    pub target: Option<f64>,
    /// The lines.
    pub lines: Vec<Line>,
}

/// An axis with marks at given places.
struct Marked {
    range: Range<f64>,
    places: Vec<f64>,
}

impl Ranged for Marked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, _: H) -> Vec<f64> {
        self.places.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl Chart {
    /// The plot as an SVG document.
    ///
    /// # Errors
    /// When the plot can't be drawn, such as without a point.
    pub fn svg(&self) -> Result<String, Error> {
        let mut text = String::new();
        self.draw(&mut text).map_err(|source| Error::Plot { title: self.title.clone(), source })?;
        Ok(text)
    }

    fn draw(&self, text: &mut String) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let (low, high) = self.span();
        let places: Vec<f64> = self.marks.iter().map(|mark| mark.0).collect();
        let (first, last) = (places.first().copied().unwrap_or(0.0), places.last().copied().unwrap_or(1.0));
        let margin = 0.04 * (last - first).max(1.0);
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 18))
            .margin(14)
            .x_label_area_size(48)
            .y_label_area_size(60)
            .build_cartesian_2d(Marked { range: first - margin..last + margin, places }, low..high)?;
        let name = |at: &f64| {
            let mark = self.marks.iter().find(|mark| (mark.0 - at).abs() < 1e-9);
            mark.map_or_else(String::new, |mark| mark.1.clone())
        };
        chart
            .configure_mesh()
            .x_desc(&self.x)
            .y_desc(&self.y)
            .x_label_formatter(&name)
            .y_label_formatter(&|share| format!("{share:.0}"))
            .x_max_light_lines(1)
            .y_max_light_lines(2)
            .bold_line_style(RGBColor(0xdd, 0xdd, 0xdd))
            .light_line_style(RGBColor(0xf2, 0xf2, 0xf2))
            .label_style(("sans-serif", 14))
            .draw()?;
        if let Some(target) = self.target {
            let ends = [(first - margin, 100.0 * target), (last + margin, 100.0 * target)];
            chart
                .draw_series(DashedLineSeries::new(ends, 6, 4, BLACK.stroke_width(1)))?
                .label(format!("target {:.0} %", 100.0 * target))
                .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], BLACK));
        }
        // Side by side, so that intervals of one place don't hide each other.
        let step = 0.007 * (last - first).max(1.0);
        for (nth, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[nth % COLOURS.len()];
            let aside = step * (nth as f64 - (self.lines.len() - 1) as f64 / 2.0);
            let at = |share: f64| 100.0 * share;
            let points: Vec<(f64, Share)> = line.points.iter().map(|(x, share)| (x + aside, *share)).collect();
            chart
                .draw_series(LineSeries::new(points.iter().map(|(x, of)| (*x, at(of.share))), colour.stroke_width(2)))?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
            chart.draw_series(points.iter().map(|(x, of)| Circle::new((*x, at(of.share)), 3, colour.filled())))?;
            if line.intervals {
                let bar = |(x, of): &(f64, Share)| PathElement::new([(*x, at(of.low)), (*x, at(of.high))], colour);
                chart.draw_series(points.iter().map(bar))?;
            }
        }
        chart
            .configure_series_labels()
            .position(if self.rises() { SeriesLabelPosition::LowerRight } else { SeriesLabelPosition::LowerLeft })
            .background_style(WHITE.mix(0.85))
            .border_style(RGBColor(0xcc, 0xcc, 0xcc))
            .label_font(("sans-serif", 14))
            .draw()?;
        area.present()?;
        Ok(())
    }

    /// Whether the first line ends higher than it begins: then there is room for the legend at the right.
    fn rises(&self) -> bool {
        let ends = self.lines.first().and_then(|line| Some((line.points.first()?.1, line.points.last()?.1)));
        ends.is_some_and(|(first, last)| last.share >= first.share)
    }

    /// Per cent that the y axis shows.
    fn span(&self) -> (f64, f64) {
        let shares = || self.lines.iter().flat_map(|line| &line.points).map(|(_, share)| share);
        let low = shares().map(|share| share.low).chain(self.target).fold(1.0, f64::min);
        let high = shares().map(|share| share.high).chain(self.target).fold(0.0, f64::max);
        ((100.0 * low - 2.0).max(0.0), (100.0 * high + 1.0).min(100.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::metrics::wilson;

    #[test]
    fn a_plot_has_its_words_a_light_ground_and_every_interval() {
        let line = |name: &str, intervals| Line {
            name: name.to_owned(),
            points: vec![(0.0, wilson(80, 100).unwrap()), (1.0, wilson(90, 100).unwrap())],
            intervals,
        };
        let chart = Chart {
            title: "Right".to_owned(),
            x: "labels".to_owned(),
            marks: vec![(0.0, "500".to_owned()), (1.0, "1,000".to_owned())],
            y: "right, %".to_owned(),
            target: Some(0.92),
            lines: vec![line("random", true), line("selected", true)],
        };
        let svg = chart.svg().unwrap();
        for words in ["Right", "labels", "500", "1,000", "right, %", "random", "selected", "target 92 %"] {
            assert!(svg.contains(words), "{words}");
        }
        assert!(svg.contains("#FFFFFF"));
        let bare = Chart { lines: vec![line("random", false), line("selected", false)], ..chart }.svg().unwrap();
        assert_eq!(svg.matches("<polyline").count(), bare.matches("<polyline").count() + 4);
    }
}
