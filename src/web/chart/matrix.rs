//! A confusion matrix: what is what down the side, what it was taken for along the top, the stronger the more.

use std::fmt::{self, Write as _};

use super::escaped;
use crate::web::Error;

/// Least side of the square that cells share.
const SIDE: f64 = 560.0;
/// Least side of a cell: a line of names.
const LINE: f64 = 14.0;
/// Room for names at the left and the top.
const NAMES: f64 = 150.0;
/// Letters of a name that this room holds.
const LETTERS: usize = 24;
/// With more categories than these, counts would not be read.
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
    let side = SIDE.max(LINE * names.len() as f64);
    let step = side / names.len().max(1) as f64;
    let place = |name: &str| names.binary_search(&name).unwrap_or_default() as f64 * step + NAMES;
    let all = |expected: &str| cells.iter().filter(|cell| cell.expected == expected).map(|cell| cell.rows).sum::<u32>();
    let mut svg = String::new();
    let whole = NAMES + side + 12.0;
    write!(
        svg,
        r#"<svg class="matrix chart" width="{whole}" height="{whole}" viewBox="0 0 {whole} {whole}" role="img" aria-label="{}">"#,
        escaped(says)
    )?;
    write!(svg, r#"<rect class="field" x="{NAMES}" y="{NAMES}" width="{side}" height="{side}"/>"#)?;
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
    for name in &names {
        let middle = place(name) + step / 2.0;
        let name = name.replace('_', " ");
        let text = escaped(&short(&name));
        let whole = escaped(&name);
        write!(
            svg,
            r#"<text class="mark small" x="{:.1}" y="{:.1}" text-anchor="end">{text}<title>{whole}</title></text>"#,
            NAMES - 6.0,
            middle + 3.5
        )?;
        write!(
            svg,
            r#"<text class="mark small" transform="translate({:.1} {:.1}) rotate(-90)">{text}<title>{whole}</title></text>"#,
            middle + 3.5,
            NAMES - 6.0
        )?;
    }
    svg.push_str("</svg>");
    Ok(svg)
}

/// A name that fits its room.
fn short(name: &str) -> String {
    if name.chars().count() <= LETTERS {
        return name.to_owned();
    }
    name.chars().take(LETTERS - 1).chain(['…']).collect()
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

    #[test]
    fn every_row_and_column_has_a_name_however_many_there_are() {
        let names: Vec<String> = (0..80).map(|at| format!("category_{at:02}")).collect();
        let cells: Vec<Cell<'_>> = names.iter().map(|name| Cell { expected: name, predicted: name, rows: 1 }).collect();
        let svg = matrix("eighty", &cells).unwrap();
        for name in &names {
            let told = format!(">{}<title>", name.replace('_', " "));
            assert_eq!(svg.matches(&told).count(), 2, "{name}");
        }
        assert!(svg.contains(r#"width="1282""#), "a name has a line of its own: {}", &svg[..200]);
        assert_eq!(short("bakeries and pastry shops abroad"), "bakeries and pastry sho…");
    }
}
