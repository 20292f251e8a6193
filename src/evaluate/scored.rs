//! What one engine answered on one file, and the figures over it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::domain::{Acceptance, DescriptorKey, Direction, TransactionId, transaction::Country};

use super::{
    metrics::{self, Confusion, Coverage, Scored, Share},
    paired::{self, Difference, Pair},
};

/// Share of right answers among the accepted that coverage is reported at, for every stage alike.
pub const COVERAGE_TARGET: f64 = 0.92;

/// One row of a scored file.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Which row.
    pub id: TransactionId,
    /// Its descriptor key.
    pub key: DescriptorKey,
    /// Truth, answer, confidence.
    pub scored: Scored,
    /// What slices are made of.
    pub facts: Facts,
    /// What else the engine said; a peer says nothing else.
    pub said: Option<Said>,
}

/// What a row is beside its category.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Which way the money went.
    pub direction: Direction,
    /// How much, in the row's own currency.
    pub amount: Decimal,
    /// Where, if that is told.
    pub country: Option<Country>,
    /// When.
    pub posted_at: DateTime<Utc>,
    /// Days since the account's first row.
    pub account_age_days: i64,
    /// Whether its merchant is one of the most frequent, which make up half of the pool.
    pub head: bool,
}

/// What an engine said of a row beside its first choice.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// The next best categories with their probabilities, best first.
    pub alternatives: Vec<(usize, f32)>,
    /// The engine that decided, which in a cascade is a step's.
    pub decided_by: String,
    /// Milliseconds: the row's share of its batch's time.
    pub latency_ms: f32,
    /// Tokens: the row's share of what the run took from a chat model, where one decided.
    pub tokens: Option<u64>,
    /// Money: the same share.
    pub cost: Option<Decimal>,
    /// Why there is no answer.
    pub error: Option<String>,
}

impl Item {
    /// Where the truth stands among the choices, from 1; `None` where it was not named.
    #[must_use]
    pub fn gold_rank(&self) -> Option<usize> {
        if self.scored.correct() {
            return Some(1);
        }
        let others = &self.said.as_ref()?.alternatives;
        others.iter().position(|(category, _)| *category == self.scored.gold).map(|place| place + 2)
    }

    /// The probability that the truth was given, 0 where it was not named; `None` where no others were told.
    #[must_use]
    pub fn gold_probability(&self) -> Option<f32> {
        let others = &self.said.as_ref()?.alternatives;
        Some(match self.gold_rank() {
            None => 0.0,
            Some(1) => self.scored.confidence,
            Some(rank) => others.get(rank - 2).map_or(0.0, |(_, probability)| probability.clamp(0.0, 1.0)),
        })
    }

    /// Whether there is an answer at all.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.said.as_ref().is_none_or(|said| said.error.is_none())
    }
}

/// Who answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answerer {
    /// The stage's name, or a peer's.
    pub name: String,
    /// The engine and its version; empty for a peer.
    pub engine: String,
    /// The accuracy the stage is meant to have; a peer has none.
    pub target: Option<f64>,
}

/// What 1,000 answers cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// How much.
    pub per_1000: Decimal,
    /// In which currency.
    pub currency: String,
}

/// One engine's answers on one file.
#[derive(Debug, Clone, PartialEq)]
pub struct FileScore {
    /// Who answered.
    pub answerer: Answerer,
    /// The file's name without its ending.
    pub file: String,
    /// Its rows, in the file's order.
    pub items: Vec<Item>,
    /// Rows the engine answered in a second, rendering included, enrichment not; a peer's is unknown.
    pub rows_per_s: Option<f64>,
    /// What the answers cost, where somebody bills for them.
    pub cost: Option<Cost>,
    /// The figures.
    pub figures: Figures,
}

/// The figures over one engine's answers on one file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Share of right answers.
    pub accuracy: Share,
    /// The same among rows whose descriptor key occurs among the bought labels.
    pub known: Option<Share>,
    /// The same among the others.
    pub unknown: Option<Share>,
    /// Share of right answers among the rows that were answered.
    pub answered: Option<Share>,
    /// Share of rows whose truth is among the first three choices; absent where only one was told.
    pub top3: Option<Share>,
    /// See [`Confusion::primary_accuracy`].
    pub primary: Option<Share>,
    /// See [`Confusion::macro_f1`].
    pub macro_f1: f64,
    /// See [`Confusion::weighted_f1`].
    pub weighted_f1: f64,
    /// See [`metrics::log_loss`]; absent where only one choice was told.
    pub log_loss: Option<f64>,
    /// See [`metrics::answer_brier`]; absent without confidences.
    pub answer_brier: Option<f64>,
    /// See [`metrics::Ranked::ece`]; absent without confidences.
    pub ece: Option<f64>,
    /// See [`metrics::Ranked::aurc`]; absent without confidences.
    pub aurc: Option<f64>,
    /// What thresholds fitted on dev for [`COVERAGE_TARGET`] accept; absent without confidences.
    pub coverage: Option<Coverage>,
}

impl Figures {
    /// Computes them; `acceptance` is dev's, `primaries` are [`crate::domain::Taxonomy::primaries`]. `None` without rows.
    #[must_use]
    pub fn of(items: &[Item], has_confidence: bool, acceptance: Acceptance, primaries: &[usize]) -> Option<Self> {
        let rows: Vec<Scored> = items.iter().map(|item| item.scored).collect();
        let confusion = Confusion::of(&rows);
        let ranked = if has_confidence { metrics::ranked(&rows) } else { None };
        let truths: Vec<f32> = items.iter().filter_map(Item::gold_probability).collect();
        let right = rows.iter().filter(|row| row.correct()).count();
        let answered = items.iter().filter(|item| item.is_answered()).count();
        let told = items.iter().filter(|item| item.said.is_some());
        let among_three = told.clone().filter(|item| item.gold_rank().is_some_and(|rank| rank <= 3)).count();
        Some(Self {
            accuracy: metrics::accuracy(&rows, |_| true)?,
            known: metrics::accuracy(&rows, |row| row.known),
            unknown: metrics::accuracy(&rows, |row| !row.known),
            answered: metrics::wilson(right, answered),
            top3: metrics::wilson(among_three, told.count()),
            primary: confusion.primary_accuracy(primaries),
            macro_f1: confusion.macro_f1(),
            weighted_f1: confusion.weighted_f1(),
            log_loss: metrics::log_loss(&truths),
            answer_brier: if has_confidence { metrics::answer_brier(&rows) } else { None },
            ece: ranked.as_ref().map(|ranked| ranked.ece),
            aurc: ranked.map(|ranked| ranked.aurc),
            coverage: has_confidence.then(|| metrics::coverage(&rows, acceptance)),
        })
    }
}

/// Our accuracy minus theirs on the same file, rows joined by id; `None` when they share no row.
#[must_use]
pub fn difference(ours: &FileScore, theirs: &FileScore, seed: u64) -> Option<Difference> {
    let right: HashMap<&TransactionId, bool> =
        theirs.items.iter().map(|item| (&item.id, item.scored.correct())).collect();
    let pairs: Vec<Pair<'_>> = ours
        .items
        .iter()
        .filter_map(|item| {
            let theirs = *right.get(&item.id)?;
            Some(Pair { ours: item.scored.correct(), theirs, key: item.key.as_str() })
        })
        .collect();
    paired::compare(&pairs, seed)
}
