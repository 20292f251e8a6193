//! What a check found, with the rows behind it: as JSON for pages, as tables for people.

use std::fmt;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};
use serde::{Deserialize, Serialize};

use super::set::LabelledSet;

/// Rows shown behind one check; the quarantine file has all of them.
pub const SHOWN: usize = 50;

/// Characters of the widest table.
const WIDTH: u16 = 120;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Looked for and not found.
    Pass,
    /// Worth knowing.
    Info,
    /// Worth acting on; training may go on.
    Warn,
    /// Nothing may be trained on this set.
    Block,
}

impl Level {
    /// Its name in JSON and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Block => "block",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One number that a check came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// What it is.
    pub name: String,
    /// How much; shares are in `[0, 1]`.
    pub value: f64,
}

/// A row behind a finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flag {
    /// Its id, as it stands in the file.
    pub id: String,
    /// Its line in the file, counted from 1; absent for rows of the store.
    pub line: Option<u64>,
    /// The label it carries.
    pub category: Option<String>,
    /// What is wrong with it.
    pub says: String,
    /// Whether it is kept out of what passes.
    pub quarantined: bool,
    /// Its place among the set's examples; known while the set is at hand.
    #[serde(skip)]
    pub place: Option<usize>,
}

impl Flag {
    /// A row of the set, with what is wrong with it.
    #[must_use]
    pub fn of(set: &LabelledSet, place: usize, says: impl Into<String>) -> Self {
        let example = &set.examples[place];
        Self {
            id: example.transaction.id.to_string(),
            line: example.line,
            category: Some(set.slug(example.class).to_string()),
            says: says.into(),
            quarantined: false,
            place: Some(place),
        }
    }

    /// Kept out of what passes.
    #[must_use]
    pub fn quarantine(self) -> Self {
        Self { quarantined: true, ..self }
    }
}

/// What one check came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its name, the same in every report.
    pub name: String,
    /// How bad it is.
    pub level: Level,
    /// The finding in a sentence.
    pub says: String,
    /// The numbers behind the sentence.
    pub values: Vec<Value>,
    /// How many rows are behind it.
    pub rows: usize,
    /// Those rows; in a report at most [`SHOWN`] of them.
    pub flags: Vec<Flag>,
}

impl Check {
    /// A finding without numbers and rows.
    #[must_use]
    pub fn new(name: &str, level: Level, says: impl Into<String>) -> Self {
        Self { name: name.to_owned(), level, says: says.into(), values: Vec::new(), rows: 0, flags: Vec::new() }
    }

    /// With a number, to six decimals: so many come back from JSON as they went.
    #[must_use]
    pub fn value(mut self, name: impl Into<String>, value: f64) -> Self {
        self.values.push(Value { name: name.into(), value: (value * 1e6).round() / 1e6 });
        self
    }

    /// With the rows behind it.
    #[must_use]
    pub fn flags(self, flags: Vec<Flag>) -> Self {
        Self { rows: flags.len(), flags, ..self }
    }

    /// The number of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|value| value.name == name).map(|value| value.value)
    }
}

/// One category's rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassLine {
    /// The category.
    pub category: String,
    /// Its labelled rows.
    pub rows: usize,
    /// Those whose label is probably wrong.
    pub suspects: usize,
    /// Estimated share of its labels that are wrong; absent where there are too few rows to say.
    pub noise: Option<f64>,
}

/// All that was found about a labelled set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelReport {
    /// The set's name.
    pub data_set: String,
    /// The version of the taxonomy its labels are in.
    pub taxonomy: String,
    /// Labelled rows looked at.
    pub rows: usize,
    /// Rows that could not be read.
    pub refused: usize,
    /// Rows, refused ones among them, that are kept out of what passes.
    pub quarantined: usize,
    /// Whether no check blocks.
    pub passed: bool,
    /// SHA-256 of the manifest.
    pub manifest: String,
    /// Every check.
    pub checks: Vec<Check>,
    /// Every category of the taxonomy.
    pub classes: Vec<ClassLine>,
}

impl LabelReport {
    /// The check of that name.
    #[must_use]
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(header);
    // Findings are sentences: they wrap, on a terminal and in a file alike.
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table
}

fn right(text: impl ToString) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// Every check on a line.
#[must_use]
pub fn checks(report: &LabelReport) -> Table {
    let mut table = table(&["check", "level", "rows", "finding"]);
    for check in &report.checks {
        table.add_row([Cell::new(&check.name), Cell::new(check.level), right(check.rows), Cell::new(&check.says)]);
    }
    table
}

/// Every category on a line.
#[must_use]
pub fn classes(report: &LabelReport) -> Table {
    let mut table = table(&["category", "labelled rows", "probably wrong", "estimated noise %, at most"]);
    for class in &report.classes {
        table.add_row([
            Cell::new(&class.category),
            right(class.rows),
            right(class.suspects),
            right(class.noise.map_or_else(|| "too few rows".to_owned(), |noise| format!("{:.1}", 100.0 * noise))),
        ]);
    }
    table
}

/// The first rows behind each check that asks for action.
#[must_use]
pub fn flagged(report: &LabelReport, of_each: usize) -> Table {
    let mut table = table(&["check", "line", "id", "label", "what is wrong"]);
    for check in report.checks.iter().filter(|check| check.level >= Level::Warn) {
        for flag in check.flags.iter().take(of_each) {
            table.add_row([
                Cell::new(&check.name),
                right(flag.line.map_or_else(String::new, |line| line.to_string())),
                Cell::new(&flag.id),
                Cell::new(flag.category.as_deref().unwrap_or_default()),
                Cell::new(&flag.says),
            ]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_by_how_bad_they_are() {
        assert!(Level::Block > Level::Warn && Level::Warn > Level::Info && Level::Info > Level::Pass);
        assert_eq!(serde_json::to_string(&Level::Block).unwrap(), format!("\"{}\"", Level::Block));
    }
}
