//! Charts as SVG, drawn here: shares on both axes or along one (as points, because the axis need not begin at 0), with words for who can't see them.
//!
//! Colours come from the stylesheet, so a chart is as light or dark as its page. The numbers stand in a table beside it.

mod matrix;
mod timeline;

use std::fmt::{self, Write as _};

pub use matrix::{Cell, matrix};
pub use timeline::{Line, timeline};

use super::Error;

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 26.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;
/// Height of one bar with its gap.
const BAR: f64 = 46.0;

/// A share with its interval, and what was aimed at.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What it is of.
    pub name: String,
    /// The share, in `[0, 1]`.
    pub share: f64,
    /// Its interval.
    pub interval: (f64, f64),
    /// What was aimed at.
    pub target: Option<f64>,
}

/// Points over the unit square, joined in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// What the chart is, in a sentence.
    pub says: String,
    /// What goes to the right, a share.
    pub x: &'static str,
    /// What goes up, a share.
    pub y: &'static str,
    /// The points.
    pub points: Vec<(f64, f64)>,
    /// The least share that is shown going up.
    pub from: f64,
    /// Whether equal shares are marked by a line.
    pub diagonal: bool,
}

/// Shares side by side, each with its interval and its target.
///
/// # Errors
/// Never: writing to a string can't fail.
pub fn bars(says: &str, bars: &[Bar]) -> Result<String, Error> {
    draw_bars(says, bars).map_err(|_| Error::Chart)
}

/// A curve through shares.
///
/// # Errors
/// Never: writing to a string can't fail.
pub fn curve(curve: &Curve) -> Result<String, Error> {
    draw_curve(curve).map_err(|_| Error::Chart)
}

fn draw_bars(says: &str, bars: &[Bar]) -> Result<String, fmt::Error> {
    let mut svg = String::new();
    let height = TOP + BAR * bars.len() as f64 + BOTTOM;
    let lowest = bars.iter().flat_map(|bar| [bar.interval.0, bar.target.unwrap_or(1.0)]).fold(1.0, f64::min);
    let from = ((lowest * 10.0).floor() / 10.0 - 0.1).clamp(0.0, 0.9);
    let left = 150.0;
    let x = |share: f64| left + (share - from) / (1.0 - from) * (WIDTH - left - RIGHT);
    open(&mut svg, says, height)?;
    for step in 0..=10 {
        let share = f64::from(step) / 10.0;
        if share >= from {
            let (at, bottom) = (x(share), height - BOTTOM);
            write!(svg, r#"<line class="grid" x1="{at:.1}" y1="{TOP}" x2="{at:.1}" y2="{bottom:.1}"/>"#)?;
            let below = bottom + 18.0;
            write!(
                svg,
                r#"<text class="mark" x="{at:.1}" y="{below:.1}" text-anchor="middle">{:.0} %</text>"#,
                share * 100.0
            )?;
        }
    }
    for (place, bar) in bars.iter().enumerate() {
        let middle = TOP + BAR * (place as f64 + 0.5);
        let under = middle + 4.0;
        write!(
            svg,
            r#"<text class="name" x="{:.1}" y="{under:.1}" text-anchor="end">{}</text>"#,
            left - 10.0,
            escaped(&bar.name)
        )?;
        let (low, high) = (x(bar.interval.0), x(bar.interval.1));
        write!(
            svg,
            r#"<path class="whisker" d="M{low:.1} {middle:.1}H{high:.1}M{low:.1} {:.1}v10M{high:.1} {:.1}v10"/>"#,
            middle - 5.0,
            middle - 5.0
        )?;
        write!(svg, r#"<circle class="point" cx="{:.1}" cy="{middle:.1}" r="6"/>"#, x(bar.share))?;
        if let Some(target) = bar.target {
            let at = x(target);
            write!(
                svg,
                r#"<line class="target" x1="{at:.1}" y1="{:.1}" x2="{at:.1}" y2="{:.1}"/>"#,
                middle - 17.0,
                middle + 17.0
            )?;
        }
    }
    svg.push_str("</svg>");
    Ok(svg)
}

fn draw_curve(curve: &Curve) -> Result<String, fmt::Error> {
    let mut svg = String::new();
    let x = |share: f64| LEFT + share * (WIDTH - LEFT - RIGHT);
    let up = |share: f64| HEIGHT - BOTTOM - (share - curve.from) / (1.0 - curve.from) * (HEIGHT - TOP - BOTTOM);
    open(&mut svg, &curve.says, HEIGHT)?;
    for step in 0..=5 {
        let along = f64::from(step) / 5.0;
        let at = x(along);
        write!(svg, r#"<line class="grid" x1="{at:.1}" y1="{TOP}" x2="{at:.1}" y2="{:.1}"/>"#, HEIGHT - BOTTOM)?;
        write!(
            svg,
            r#"<text class="mark" x="{at:.1}" y="{:.1}" text-anchor="middle">{:.0} %</text>"#,
            HEIGHT - BOTTOM + 17.0,
            along * 100.0
        )?;
        let share = curve.from + along * (1.0 - curve.from);
        let at = up(share);
        write!(svg, r#"<line class="grid" x1="{LEFT}" y1="{at:.1}" x2="{:.1}" y2="{at:.1}"/>"#, WIDTH - RIGHT)?;
        write!(
            svg,
            r#"<text class="mark" x="{:.1}" y="{:.1}" text-anchor="end">{:.0} %</text>"#,
            LEFT - 7.0,
            at + 4.0,
            share * 100.0
        )?;
    }
    if curve.diagonal {
        write!(
            svg,
            r#"<line class="target" x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}"/>"#,
            x(curve.from),
            up(curve.from),
            x(1.0),
            up(1.0)
        )?;
    }
    let inside = |share: f64| share.max(curve.from);
    svg.push_str(r#"<path class="line" d=""#);
    for (place, &(along, share)) in curve.points.iter().enumerate() {
        let letter = if place == 0 { 'M' } else { 'L' };
        write!(svg, "{letter}{:.1} {:.1}", x(along), up(inside(share)))?;
    }
    svg.push_str(r#""/>"#);
    for &(along, share) in &curve.points {
        write!(svg, r#"<circle class="point" cx="{:.1}" cy="{:.1}" r="3.5"/>"#, x(along), up(inside(share)))?;
    }
    write!(
        svg,
        r#"<text class="axis" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
        x(0.5),
        HEIGHT - 6.0,
        curve.x
    )?;
    write!(
        svg,
        r#"<text class="axis" transform="rotate(-90 12 {0:.1})" x="12" y="{0:.1}" text-anchor="middle">{1}</text>"#,
        (HEIGHT - BOTTOM) / 2.0,
        curve.y
    )?;
    svg.push_str("</svg>");
    Ok(svg)
}

fn open(svg: &mut String, says: &str, height: f64) -> fmt::Result {
    open_sized(svg, says, WIDTH, height)
}

fn open_sized(svg: &mut String, says: &str, width: f64, height: f64) -> fmt::Result {
    let says = escaped(says);
    write!(svg, r#"<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{says}">"#)
}

/// A text without markup.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_share_interval_and_target() {
        let bar = Bar { name: "a <b>".to_owned(), share: 0.85, interval: (0.8, 0.9), target: Some(0.87) };
        let svg = bars("how \"right\"", &[bar]).unwrap();
        assert!(svg.contains("a &lt;b&gt;") && svg.contains("how &quot;right&quot;"));
        for class in ["point", "whisker", "target"] {
            assert_eq!(svg.matches(&format!("class=\"{class}\"")).count(), 1, "{svg}");
        }
    }

    #[test]
    fn a_curve_has_a_point_for_each_pair() {
        let points = vec![(0.1, 0.2), (0.5, 0.5), (1.0, 0.9)];
        let drawn = curve(&Curve { says: String::new(), x: "x", y: "y", points, from: 0.0, diagonal: true }).unwrap();
        assert_eq!(drawn.matches("<circle").count(), 3);
        assert!(drawn.contains("class=\"target\""));
    }
}
