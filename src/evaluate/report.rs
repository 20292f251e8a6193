//! Scores as tables for people and as JSON for programs.

use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use rust_decimal::Decimal;
use serde::Serialize;

use crate::domain::{Acceptance, money};

use super::{
    paired::{Difference, Interval},
    scored::{COVERAGE_TARGET, FileScore},
};

/// What `--json` prints: one object.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    /// One for each stage and file.
    pub runs: Vec<Run<'a>>,
    /// What others answered on the same rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Run<'a>>,
    /// Accuracy of one minus accuracy of another, on the same rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Compared<'a>>,
    /// The bought labels.
    pub labels: LabelFacts,
}

/// The bought labels.
#[derive(Debug, Serialize)]
pub struct LabelFacts {
    /// How many were allowed.
    pub budget: usize,
    /// How many were bought.
    pub bought: usize,
    /// Whether a list from elsewhere named them.
    pub listed: bool,
    /// SHA-256 of the sorted ids, one a line.
    pub digest: String,
}

/// One stage's (or peer's) figures on one file.
#[derive(Debug, Serialize)]
pub struct Run<'a> {
    stage: &'a str,
    file: &'a str,
    n: usize,
    target: Option<f64>,
    accuracy: f64,
    low: f64,
    high: f64,
    known: Option<f64>,
    unknown: Option<f64>,
    answered: Option<f64>,
    top3: Option<f64>,
    primary: Option<f64>,
    macro_f1: f64,
    weighted_f1: f64,
    log_loss: Option<f64>,
    answer_brier: Option<f64>,
    ece: Option<f64>,
    aurc: Option<f64>,
    coverage_at_target: Option<f64>,
    rows_per_s: Option<f64>,
    cost_per_1000: Option<Decimal>,
    currency: Option<&'a str>,
    engine: &'a str,
    known_rows: usize,
    coverage_target: f64,
    coverage_thresholds: Option<Acceptance>,
    coverage_accuracy: Option<f64>,
    times_scored: Option<u32>,
}

/// A difference, and between whom.
#[derive(Debug, Serialize)]
pub struct Compared<'a> {
    /// Whose accuracy.
    pub ours: &'a str,
    /// Minus whose.
    pub theirs: &'a str,
    /// On which file.
    pub file: &'a str,
    /// By how much.
    #[serde(flatten)]
    pub difference: Difference,
}

impl<'a> Run<'a> {
    /// `times_scored`: how many commands have scored this file so far, this one included.
    #[must_use]
    pub fn new(score: &'a FileScore, times_scored: Option<u32>) -> Self {
        let figures = &score.figures;
        Self {
            stage: &score.answerer.name,
            file: &score.file,
            n: figures.accuracy.n,
            target: score.answerer.target,
            accuracy: figures.accuracy.share,
            low: figures.accuracy.low,
            high: figures.accuracy.high,
            known: figures.known.map(|known| known.share),
            unknown: figures.unknown.map(|unknown| unknown.share),
            answered: figures.answered.map(|answered| answered.share),
            top3: figures.top3.map(|top3| top3.share),
            primary: figures.primary.map(|primary| primary.share),
            macro_f1: figures.macro_f1,
            weighted_f1: figures.weighted_f1,
            log_loss: figures.log_loss,
            answer_brier: figures.answer_brier,
            ece: figures.ece,
            aurc: figures.aurc,
            coverage_at_target: figures.coverage.map(|coverage| coverage.share),
            rows_per_s: score.rows_per_s,
            cost_per_1000: score.cost.as_ref().map(|cost| cost.per_1000),
            currency: score.cost.as_ref().map(|cost| cost.currency.as_str()),
            engine: &score.answerer.engine,
            known_rows: figures.known.map_or(0, |known| known.n),
            coverage_target: COVERAGE_TARGET,
            coverage_thresholds: figures.coverage.map(|coverage| coverage.acceptance),
            coverage_accuracy: figures.coverage.and_then(|coverage| coverage.accuracy).map(|share| share.share),
            times_scored,
        }
    }
}

/// What stands where there is no figure.
pub const NOTHING: &str = "–";

/// A share in per cent.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

/// A figure in words, where there is one.
#[must_use]
pub fn or_nothing<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| NOTHING.to_owned(), text)
}

/// Both ends in per cent.
#[must_use]
pub fn interval(low: f64, high: f64) -> String {
    format!("{} – {}", percent(low), percent(high))
}

/// Both ends in percentage points.
#[must_use]
pub fn points(Interval { low, high }: Interval) -> String {
    format!("{:+.2} … {:+.2}", 100.0 * low, 100.0 * high)
}

/// An empty table.
#[must_use]
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(header);
    table
}

/// A figure, to the right.
#[must_use]
pub fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// A p-value.
#[must_use]
pub fn p_value(p: f64) -> String {
    if p < 0.0001 { "< 0.0001".to_owned() } else { format!("{p:.4}") }
}

/// Stages and peers, one line for each file. Shares are per cent.
#[must_use]
pub fn scores<'r, 'a: 'r>(runs: impl IntoIterator<Item = &'r Run<'a>>) -> Table {
    let accepted = format!("accepted at {:.0}", 100.0 * COVERAGE_TARGET);
    let mut table = table(&[
        "stage",
        "file",
        "n",
        "target",
        "accuracy",
        "95 % interval",
        "known keys",
        "unknown",
        "macro-F1",
        "ECE",
        &accepted,
        "right of these",
        "rows/s",
        "cost of 1,000",
        "engine",
    ]);
    for run in runs {
        let known_share = format!(" of {}", percent(run.known_rows as f64 / run.n as f64));
        table.add_row([
            Cell::new(run.stage),
            Cell::new(run.file),
            right(run.n.to_string()),
            right(or_nothing(run.target, percent)),
            right(percent(run.accuracy)),
            right(interval(run.low, run.high)),
            right(or_nothing(run.known, percent) + &known_share),
            right(or_nothing(run.unknown, percent)),
            right(format!("{:.3}", run.macro_f1)),
            right(or_nothing(run.ece, |ece| format!("{ece:.3}"))),
            right(or_nothing(run.coverage_at_target, percent)),
            right(or_nothing(run.coverage_accuracy, percent)),
            right(or_nothing(run.rows_per_s, |rows| format!("{rows:.0}"))),
            right(cost(run)),
            Cell::new(run.engine),
        ]);
    }
    table
}

fn cost(run: &Run<'_>) -> String {
    match (run.cost_per_1000, run.currency) {
        (Some(cost), Some(currency)) => money::told(cost.round_dp(4), currency),
        _ => NOTHING.to_owned(),
    }
}

/// Differences of accuracy in percentage points.
#[must_use]
pub fn differences(compared: &[Compared<'_>]) -> Table {
    let mut table = table(&["file", "difference", "points", "95 % (rows)", "95 % (keys)", "McNemar p"]);
    for Compared { ours, theirs, file, difference } in compared {
        table.add_row([
            Cell::new(file),
            Cell::new(format!("{ours} − {theirs}")),
            right(format!("{:+.2}", 100.0 * difference.difference)),
            right(points(difference.rows)),
            right(points(difference.keys)),
            right(p_value(difference.p)),
        ]);
    }
    table
}
