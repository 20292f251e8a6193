//! A confusion matrix: what is what down the side, what it was taken for along the top, the stronger the more.

use std::fmt::{self, Write as _};

use super::{escaped, open_sized};
use crate::web::Error;

/// Side of the square that cells share.
const SIDE: f64 = 560.0;
/// Room for names at the left and the top.
const NAMES: f64 = 150.0;
/// With more categories than these, names would not be read.
const MOST_NAMES: usize = 45;
/// With more than these, neither would counts.
const MOST_COUNTS: usize = 20;

/// Rows of one category that were answered alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell<'a> {
    /// What they are.
    pub expected: &'a str,
    /// What was said.
    pub predicted: &'a str,
    /// How many.
    pub rows: u32,
}

/// A confusion matrix. A cell's colour is as strong as its share of its category's rows.
///
/// # Errors
/// Never: writing to a string can't fail.
pub fn matrix(says: &str, cells: &[Cell<'_>]) -> Result<String, Error> {
    draw(says, cells).map_err(|_| Error::Chart)
}

fn draw(says: &str, cells: &[Cell<'_>]) -> Result<String, fmt::Error> {
    let mut names: Vec<&str> = cells.iter().flat_map(|cell| [cell.expected, cell.predicted]).collect();
    names.sort_unstable();
    names.dedup();
    let named = names.len() <= MOST_NAMES;
    let margin = if named { NAMES } else { 24.0 };
    let step = SIDE / names.len().max(1) as f64;
    let place = |name: &str| names.binary_search(&name).unwrap_or_default() as f64 * step + margin;
    let all = |expected: &str| cells.iter().filter(|cell| cell.expected == expected).map(|cell| cell.rows).sum::<u32>();
    let mut svg = String::new();
    open_sized(&mut svg, says, SIDE + margin + 12.0, SIDE + margin + 12.0)?;
    write!(svg, r#"<rect class="field" x="{margin}" y="{margin}" width="{SIDE}" height="{SIDE}"/>"#)?;
    for cell in cells {
        let share = f64::from(cell.rows) / f64::from(all(cell.expected).max(1));
        let class = if cell.expected == cell.predicted { "right" } else { "wrong" };
        write!(
            svg,
            r#"<rect class="{class}" x="{:.1}" y="{:.1}" width="{step:.2}" height="{step:.2}" fill-opacity="{:.2}"><title>{} taken for {}: {}</title></rect>"#,
            place(cell.predicted),
            place(cell.expected),
            0.15 + 0.85 * share,
            escaped(&cell.expected.replace('_', " ")),
            escaped(&cell.predicted.replace('_', " ")),
            cell.rows,
        )?;
        if names.len() <= MOST_COUNTS {
            write!(
                svg,
                r#"<text class="count{}" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                if share > 0.4 { " strong" } else { "" },
                place(cell.predicted) + step / 2.0,
                place(cell.expected) + step / 2.0 + 4.0,
                cell.rows,
            )?;
        }
    }
    if named {
        for name in &names {
            let middle = place(name) + step / 2.0;
            let text = escaped(&name.replace('_', " "));
            write!(
                svg,
                r#"<text class="mark small" x="{:.1}" y="{:.1}" text-anchor="end">{text}</text>"#,
                margin - 6.0,
                middle + 3.5
            )?;
            write!(
                svg,
                r#"<text class="mark small" transform="translate({:.1} {:.1}) rotate(-90)">{text}</text>"#,
                middle + 3.5,
                margin - 6.0
            )?;
        }
    }
    let middle = margin + SIDE / 2.0;
    if !named {
        write!(
            svg,
            r#"<text class="axis" x="{middle:.1}" y="14" text-anchor="middle">taken for, by the alphabet</text>"#
        )?;
        write!(
            svg,
            r#"<text class="axis" transform="rotate(-90 14 {middle:.1})" x="14" y="{middle:.1}" text-anchor="middle">is</text>"#
        )?;
    }
    svg.push_str("</svg>");
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_stands_where_its_row_and_column_cross() {
        let cells = [
            Cell { expected: "a", predicted: "a", rows: 3 },
            Cell { expected: "a", predicted: "b<", rows: 1 },
            Cell { expected: "b<", predicted: "b<", rows: 4 },
        ];
        let svg = matrix("what is taken for what", &cells).unwrap();
        assert_eq!((svg.matches(r#"class="right""#).count(), svg.matches(r#"class="wrong""#).count()), (2, 1));
        assert!(
            svg.contains(r#"class="wrong" x="430.0" y="150.0""#) && svg.contains(r#"fill-opacity="0.36""#),
            "{svg}"
        );
        assert!(
            svg.contains("a taken for b&lt;: 1") && svg.contains(r#"<text class="count" x="570.0" y="294.0""#),
            "{svg}"
        );
    }
}
