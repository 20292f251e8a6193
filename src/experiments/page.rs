//! An experiment's figures on paper: tables for the terminal and for Markdown, and the page around them.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};

use super::{Error, chart::Chart};
use crate::evaluate::{metrics::Share, paired::Difference};

/// What stands where there is no figure.
pub const NOTHING: &str = "–";

/// A table: the first column is words, the others figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    /// The columns' names.
    pub header: Vec<String>,
    /// The rows, as long as the header.
    pub rows: Vec<Vec<String>>,
}

impl Sheet {
    /// An empty table.
    #[must_use]
    pub fn new(header: &[&str]) -> Self {
        Self { header: header.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new() }
    }

    /// For a terminal.
    #[must_use]
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(&self.header);
        for row in &self.rows {
            let align = |at: usize| if at == 0 { CellAlignment::Left } else { CellAlignment::Right };
            table.add_row(row.iter().enumerate().map(|(at, text)| Cell::new(text).set_alignment(align(at))));
        }
        table
    }

    /// For a page.
    #[must_use]
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = vec!["---:".to_owned(); self.header.len().saturating_sub(1)];
        let rule = [vec!["---".to_owned()], rule].concat();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        line(&self.header) + &line(&rule) + &rows
    }
}

/// An experiment's page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Its name: the file's, and its plots'.
    pub name: &'static str,
    /// Its title.
    pub title: String,
    /// What was asked, and how it was measured.
    pub method: Vec<String>,
    /// The tables, each under a heading.
    pub sheets: Vec<(String, Sheet)>,
    /// The plots.
    pub charts: Vec<Chart>,
    /// What the figures say.
    pub shows: Vec<String>,
    /// What they don't.
    pub limits: Vec<String>,
}

/// How and when a page was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The command line.
    pub command: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name in the folder.
    pub name: String,
    /// What is in it.
    pub text: String,
}

impl Page {
    /// The page as Markdown, and its plots.
    ///
    /// # Errors
    /// When a plot can't be drawn.
    pub fn files(&self, made: &Made) -> Result<Vec<File>, Error> {
        let mut files = Vec::new();
        let mut text = format!("# {}\n\n", self.title);
        let _ = writeln!(text, "Made on {} by\n\n```sh\n{}\n```\n", made.at.format("%F"), made.command);
        for paragraph in &self.method {
            let _ = writeln!(text, "{paragraph}\n");
        }
        for (heading, sheet) in &self.sheets {
            let _ = writeln!(text, "## {heading}\n\n{}", sheet.markdown());
        }
        for (nth, chart) in self.charts.iter().enumerate() {
            let nth = if nth == 0 { String::new() } else { format!("_{}", nth + 1) };
            let name = format!("{}{nth}.svg", self.name);
            let _ = writeln!(text, "![{}]({name})\n", chart.title);
            files.push(File { name, text: chart.svg()? });
        }
        for (heading, lines) in [("What it shows", &self.shows), ("What it doesn't", &self.limits)] {
            let _ = writeln!(text, "## {heading}\n");
            for line in lines {
                let _ = writeln!(text, "- {line}");
            }
            text.push('\n');
        }
        files.push(File { name: format!("{}.md", self.name), text: text.trim_end().to_owned() + "\n" });
        Ok(files)
    }

    /// The page for a terminal: tables and what they say.
    #[must_use]
    pub fn shown(&self) -> String {
        let tables: String =
            self.sheets.iter().map(|(heading, sheet)| format!("{heading}\n{}\n", sheet.table())).collect();
        tables + &self.shows.join("\n")
    }
}

/// A share in per cent with its interval.
#[must_use]
pub fn percent(share: Option<Share>) -> String {
    share.map_or_else(
        || NOTHING.to_owned(),
        |Share { share, low, high, .. }| format!("{:.1} ({:.1}–{:.1})", 100.0 * share, 100.0 * low, 100.0 * high),
    )
}

/// A difference in points: its interval over rows, and over whole keys.
#[must_use]
pub fn points(difference: Option<Difference>) -> String {
    difference.map_or_else(
        || NOTHING.to_owned(),
        |Difference { difference, rows, keys, .. }| {
            let [rows, keys] = [rows, keys].map(|of| format!("{:+.1}…{:+.1}", 100.0 * of.low, 100.0 * of.high));
            format!("{:+.1}, {rows} ({keys})", 100.0 * difference)
        },
    )
}

/// A count with a comma at every thousand.
#[must_use]
pub fn count(n: usize) -> String {
    let digits = n.to_string();
    let grouped: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|three| std::str::from_utf8(three).ok()).collect();
    grouped.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::metrics::wilson;

    #[test]
    fn figures_come_with_their_intervals_and_counts_with_commas() {
        assert_eq!(percent(wilson(81, 263)), "30.8 (25.5–36.6)");
        assert_eq!((percent(None), points(None)), (NOTHING.to_owned(), NOTHING.to_owned()));
        assert_eq!([5, 500, 12_000, 1_234_567].map(count), ["5", "500", "12,000", "1,234,567"]);
    }

    #[test]
    fn a_page_names_its_command_and_its_plots() {
        let mut sheet = Sheet::new(&["labels", "right, %"]);
        sheet.rows.push(vec!["500".to_owned(), "80.0".to_owned()]);
        let page = Page {
            name: "labels",
            title: "Labels".to_owned(),
            method: vec!["How.".to_owned()],
            sheets: vec![("Right".to_owned(), sheet)],
            charts: Vec::new(),
            shows: vec!["That.".to_owned()],
            limits: vec!["This.".to_owned()],
        };
        let made = Made { command: "txcat experiments labels".to_owned(), at: DateTime::UNIX_EPOCH };
        let files = page.files(&made).unwrap();
        assert_eq!((files.len(), files[0].name.as_str()), (1, "labels.md"));
        for words in [
            "# Labels",
            "1970-01-01",
            "txcat experiments labels",
            "| labels | right, % |\n| --- | ---: |\n| 500 | 80.0 |",
        ] {
            assert!(files[0].text.contains(words), "{words}: {}", files[0].text);
        }
        assert!(page.shown().contains("80.0") && page.shown().contains("That."));
    }
}
