//! What a run would change, in numbers: which rows, which money, and whether for the better.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Error;
use crate::{
    domain::{Becomes, Currency, Slug, TransactionId},
    evaluate::{
        metrics::wilson,
        paired::{self, Pair as Compared},
    },
    store::{ChangeFilter, ChangePair, LabelCounts, Recategorization, Store, TaxonomyMigration},
};

/// Most labels that are compared row by row for an interval.
const MOST_LABELS: u32 = 50_000;
/// The seed of its draws.
const SEED: u64 = 30;
/// Pairs of categories that samples are shown of, and rows of each.
const SAMPLED_PAIRS: usize = 10;
const SAMPLES: u32 = 3;

/// What a run would change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = RecategorizationDiff)]
pub struct Diff {
    /// Rows of the scope that were looked at.
    pub rows: u64,
    /// Those of them whose category in force would change.
    pub changed: u64,
    /// Of those, rows whose category another taxonomy calls otherwise, without asking a stage; left out of a run that
    /// stays in its taxonomy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed: Option<u64>,
    /// Those that a person has spoken about: they never change, but for a category's name in another taxonomy. One that is
    /// split waits for a person.
    pub people: u64,
    /// Those that a rule decides: they never change, but for a category's name in another taxonomy.
    pub rules: u64,
    /// Those that could not be answered: they stay as they are, and are tried again when the run is resumed.
    pub failed: u64,
    /// Accounts with a row that changes.
    pub accounts: u64,
    /// Money of the rows that change, by currency.
    pub money: Vec<Moved>,
    /// Changes by pair of categories, most rows first. Of a category that is split, every target stands here, also one
    /// that no row would get.
    pub pairs: Vec<Pair>,
    /// Every category of the scope, before and after.
    pub categories: Vec<Category>,
    /// What people's labels in the scope say; absent without any. People label what looks wrong, so all labels together
    /// flatter a change: trust `at_random` where there is one.
    pub accuracy: Option<Accuracy>,
    /// Labels of the scope that no figure counts, because who answers has them at hand: as examples, by their keys, or
    /// because they were there when the adapter came.
    #[serde(default)]
    pub labels_seen: u64,
    /// The same of labels that nobody chose for their answer: audits, and labels that came with the data.
    pub at_random: Option<Accuracy>,
    /// Some rows of the most frequent pairs.
    pub samples: Vec<Sample>,
}

/// Money of rows that change, in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = MovedMoney)]
pub struct Moved {
    /// ISO 4217.
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
    /// The sum of the rows' amounts, whatever their direction.
    #[schema(value_type = String, example = "1234.50")]
    pub amount: Decimal,
    /// How many rows.
    pub rows: u64,
}

/// Changes from one category to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ChangePair)]
pub struct Pair {
    /// In force now.
    #[schema(value_type = String)]
    pub from: Slug,
    /// In force after.
    #[schema(value_type = String)]
    pub to: Slug,
    /// How many rows.
    pub rows: u64,
}

/// A category's rows in the scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ChangedCategory)]
pub struct Category {
    /// Which.
    #[schema(value_type = String)]
    pub category: Slug,
    /// Rows now.
    pub before: u64,
    /// Rows after.
    pub after: u64,
}

/// How often answers are right by people's labels, before and after.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ExpectedAccuracy)]
pub struct Accuracy {
    /// Labels.
    pub rows: u64,
    /// Of the answers now: share that is right, with its Wilson 95 % interval.
    pub before: Span,
    /// Of the answers after.
    pub after: Span,
    /// After minus before, on the same rows, with the 95 % interval of whole merchants drawn anew.
    pub difference: Span,
    /// Exact McNemar p-value of "both are equally often right".
    pub p: f64,
}

/// A figure and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = FigureSpan)]
pub struct Span {
    /// The figure.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// One row that would change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ChangeSample)]
pub struct Sample {
    /// Which.
    #[schema(value_type = String)]
    pub transaction_id: TransactionId,
    /// Its statement text.
    pub descriptor: String,
    /// In force now.
    #[schema(value_type = String)]
    pub from: Slug,
    /// In force after.
    #[schema(value_type = String)]
    pub to: Slug,
    /// How sure the engine is, in `[0, 1]`.
    pub confidence: f32,
}

/// Counts what a run would change.
pub(super) async fn of(
    store: &Store,
    run: &Recategorization,
    migration: Option<&TaxonomyMigration>,
) -> Result<Diff, Error> {
    let mut pairs = store.change_pairs(run.id).await?;
    let asked = |from: &Slug| migration.is_some_and(|of| matches!(of.map.get(from), Some(Becomes::OneOf(_))));
    let renamed = migration.map(|_| pairs.iter().filter(|pair| !asked(&pair.from)).map(|pair| pair.rows).sum());
    let lines = migration.iter().flat_map(|of| &of.map).filter(|(from, _)| asked(from));
    for (from, to) in lines.flat_map(|(from, becomes)| becomes.targets().iter().map(move |to| (from, to))) {
        if !pairs.iter().any(|pair| pair.from == *from && pair.to == *to) {
            pairs.push(ChangePair { from: from.clone(), to: to.clone(), rows: 0 });
        }
    }
    let mut categories: BTreeMap<Slug, (u64, u64)> = BTreeMap::new();
    for counted in store.categories_before(run.id).await? {
        categories.insert(counted.category, (counted.rows, counted.rows));
    }
    for pair in &pairs {
        let (_, after) = categories.entry(pair.from.clone()).or_default();
        *after = after.saturating_sub(pair.rows);
        categories.entry(pair.to.clone()).or_default().1 += pair.rows;
    }
    let mut samples = Vec::new();
    for pair in pairs.iter().filter(|pair| pair.rows > 0).take(SAMPLED_PAIRS) {
        let filter = ChangeFilter { from: Some(pair.from.clone()), to: Some(pair.to.clone()), state: None };
        let rows = store.recategorization_changes(run.id, &filter, None, SAMPLES).await?;
        samples.extend(rows.into_iter().map(|row| Sample {
            transaction_id: row.transaction_id,
            descriptor: row.descriptor,
            from: row.from,
            to: row.to,
            confidence: row.confidence,
        }));
    }
    let (money, accounts) = store.moved_money(run.id).await?;
    let ([all, at_random], labels_seen) = store.label_counts(run.id).await?;
    Ok(Diff {
        rows: run.seen,
        changed: pairs.iter().map(|pair| pair.rows).sum(),
        renamed,
        people: run.people,
        rules: run.rules,
        failed: store.count_recategorization_failures(run.id).await?,
        accounts,
        money: money
            .into_iter()
            .map(|of| Moved { currency: of.currency, amount: of.currency.in_full(of.amount), rows: of.rows })
            .collect(),
        accuracy: accuracy(store, run.id, all, false).await?,
        labels_seen,
        at_random: accuracy(store, run.id, at_random, true).await?,
        pairs: pairs.into_iter().map(|pair| Pair { from: pair.from, to: pair.to, rows: pair.rows }).collect(),
        categories: categories
            .into_iter()
            .map(|(category, (before, after))| Category { category, before, after })
            .collect(),
        samples,
    })
}

async fn accuracy(
    store: &Store,
    run: i64,
    counts: LabelCounts,
    only_at_random: bool,
) -> Result<Option<Accuracy>, Error> {
    let share = |hits: u64| {
        let share = wilson(usize::try_from(hits).ok()?, usize::try_from(counts.rows).ok()?)?;
        Some(Span { value: share.share, low: share.low, high: share.high })
    };
    let (Some(before), Some(after)) = (share(counts.before), share(counts.after)) else { return Ok(None) };
    let labels = store.compared_labels(run, only_at_random, MOST_LABELS).await?;
    let pairs: Vec<Compared<'_>> = labels
        .iter()
        .map(|label| Compared { ours: label.after, theirs: label.before, key: label.key.as_str() })
        .collect();
    Ok(paired::compare(&pairs, SEED).map(|found| Accuracy {
        rows: counts.rows,
        before,
        after,
        difference: Span { value: found.difference, low: found.keys.low, high: found.keys.high },
        p: found.p,
    }))
}
