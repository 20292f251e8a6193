//! A run that leads from one taxonomy to another: what becomes of each row.
//!
//! It is previewed, applied and undone as any other. Rows of a category that is renamed or merged are mapped without asking
//! anybody; of a category that is split a stage, which answers in the new taxonomy, chooses among the named targets. What a
//! person said is renamed with it; where that was split, the row waits for a person, whose old word stays stored.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{Error, find, preview};
use crate::{
    domain::{
        Becomes, DecidedBy, Prediction, RecategorizationScope, ReviewReason, Slug, Taxonomy, TaxonomyMapping,
        prediction::Scored,
    },
    pipeline::Pipeline,
    store::{Decision, FirstJob, NewRecategorization, Proposal, ScopedRow, Store, TaxonomyMigration},
};

/// A migration to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What becomes of which category.
    pub mapping: TaxonomyMapping,
    /// Why it is made.
    pub reason: String,
    /// By whom.
    pub by: String,
}

/// Checks the mapping as a whole, fixes and counts the scope (everything), and returns the run's number. The pipeline
/// answers in `new`.
///
/// # Errors
/// When the old taxonomy is not known or is the new one, the mapping has mistakes (all are named), or the database fails.
pub async fn plan(
    store: &Store,
    pipeline: &Pipeline,
    new: &Taxonomy,
    plan: Plan,
    first: Option<FirstJob>,
    now: DateTime<Utc>,
) -> Result<i64, Error> {
    let Plan { mapping, reason, by } = plan;
    let version = mapping.from.clone();
    if version == new.version() {
        return Err(Error::SameTaxonomy { version });
    }
    let Some(old) = store.taxonomy(&version).await? else {
        return Err(Error::UnknownTaxonomy { version, known: store.taxonomy_versions().await? });
    };
    let parents: BTreeSet<&Slug> = old.categories.iter().filter_map(|category| category.parent.as_ref()).collect();
    let old = old.categories.iter().map(|category| &category.slug).filter(|slug| !parents.contains(slug));
    let used = store.categories_in_use(&version).await?;
    let map = mapping.checked(&old.cloned().collect(), new, &used).map_err(|mistakes| Error::Mapping { mistakes })?;
    let rows = store.never_answered(&map.keys().collect::<Vec<_>>()).await?;
    if rows > 0 {
        return Err(Error::NeverAnswered { rows });
    }
    store.sync_taxonomy(new, now).await?;
    let new_run = NewRecategorization {
        scope: RecategorizationScope { everything: true, ..RecategorizationScope::default() },
        adapter: None,
        engines: preview::engines(&pipeline.lineup(), None)?,
        reason,
        made_by: by,
        made_at: now,
    };
    Ok(store.plan_taxonomy_migration(&new_run, (&version, new.version()), &map, first).await?)
}

/// Ends the time in which answers tell both taxonomies. From then on nothing is taken back.
///
/// # Errors
/// When the run is no migration that is applied, it was concluded before, or the database fails.
pub async fn conclude(store: &Store, id: i64, by: &str, now: DateTime<Utc>) -> Result<(), Error> {
    let phase = find(store, id).await?.phase;
    let migration = store.taxonomy_migration(id).await?.ok_or(Error::NoMigration { id })?;
    if migration.concluded_at.is_some() {
        return Err(Error::Concluded { id });
    }
    if store.conclude_taxonomy_migration(id, by, now).await? {
        return Ok(());
    }
    Err(Error::Phase { id, phase, done: "concluded" })
}

/// Whether a run may be put back.
///
/// # Errors
/// When it is a migration that was concluded, the taxonomy in which it answers was left, or the database fails.
pub(super) async fn may_be_undone(store: &Store, id: i64) -> Result<(), Error> {
    let left = match store.taxonomy_migration(id).await? {
        Some(migration) if migration.concluded_at.is_some() => return Err(Error::Concluded { id }),
        Some(TaxonomyMigration { to_taxonomy, .. }) => {
            store.taxonomy_left(&to_taxonomy).await?.map(|now| (to_taxonomy, now))
        }
        None => store.taxonomy_left_by(id).await?,
    };
    match left {
        Some((left, now)) => Err(Error::LeftTaxonomy { id, left, now }),
        None => Ok(()),
    }
}

/// What a migration does with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Nothing: it is of the new taxonomy already, or of a category that stays what it is.
    Stays,
    /// It is called this from now on.
    Renamed(Slug),
    /// A stage is asked.
    Asked,
}

pub(super) fn route(migration: &TaxonomyMigration, row: &ScopedRow) -> Route {
    if row.taxonomy == migration.to_taxonomy {
        return Route::Stays;
    }
    match (migration.map.get(&row.category), migration.map.get(&row.predicted)) {
        (Some(Becomes::OneOf(_)), _) | (Some(Becomes::One(_)), Some(Becomes::OneOf(_))) => Route::Asked,
        (Some(Becomes::One(to)), predicted) => {
            let same = predicted.is_none_or(|becomes| becomes.targets() == [row.predicted.clone()]);
            if *to == row.category && same { Route::Stays } else { Route::Renamed(to.clone()) }
        }
        (None, _) => Route::Stays,
    }
}

/// A row that is renamed, with what a stage said of it before, in the words of the new taxonomy.
pub(super) fn renamed(migration: &TaxonomyMigration, row: ScopedRow, to: Slug, mut said: Decision) -> Proposal {
    said.prediction = translated(migration, said.prediction);
    if let Some(rule) = &mut said.rule {
        rule.category = to.clone();
    }
    proposal(row, to, said)
}

/// A row whose category, or what a stage had said of it, is split, with what a stage says now.
pub(super) fn split(migration: &TaxonomyMigration, row: ScopedRow, mut said: Decision) -> Proposal {
    said.rule = None;
    let becomes = migration.map.get(&row.category);
    let Some(Becomes::OneOf(targets)) = becomes else {
        // What a person said is renamed; only the prediction beside it is new.
        let to = becomes.and_then(|becomes| becomes.targets().first()).unwrap_or(&row.category).clone();
        said.review = None;
        return proposal(row, to, said);
    };
    let first = said.prediction.category.clone();
    choose(&mut said.prediction, targets);
    if by_people(&row) {
        said.review = Some(ReviewReason::Split);
    } else if said.prediction.category != first {
        said.review = Some(ReviewReason::LowConfidence);
    }
    let to = said.prediction.category.clone();
    proposal(row, to, said)
}

fn proposal(row: ScopedRow, to: Slug, decision: Decision) -> Proposal {
    Proposal { posted_at: row.transaction.posted_at, from: row.category, to, before: row.before, decision }
}

fn by_people(row: &ScopedRow) -> bool {
    row.decided_by != DecidedBy::Stage
}

/// The surest of the targets; where none is among the answers, the first, without any confidence.
fn choose(prediction: &mut Prediction, targets: &[Slug]) {
    let first = Scored { category: prediction.category.clone(), confidence: prediction.confidence };
    let mut among: Vec<Scored> = std::iter::once(first)
        .chain(prediction.alternatives.drain(..))
        .filter(|scored| targets.contains(&scored.category))
        .collect();
    if among.is_empty() {
        among.extend(targets.first().map(|target| Scored { category: target.clone(), confidence: 0.0 }));
    }
    let chosen = among.remove(0);
    (prediction.category, prediction.confidence, prediction.alternatives) = (chosen.category, chosen.confidence, among);
}

/// A prediction in the words of the new taxonomy. What becomes one category counts together; what is split can't be told.
fn translated(migration: &TaxonomyMigration, prediction: Prediction) -> Prediction {
    let new = |category: &Slug| match migration.map.get(category) {
        Some(Becomes::One(to)) => Some(to.clone()),
        Some(Becomes::OneOf(_)) => None,
        None => Some(category.clone()),
    };
    let category = new(&prediction.category).unwrap_or(prediction.category);
    let mut confidence = prediction.confidence;
    let mut alternatives: Vec<Scored> = Vec::new();
    for other in prediction.alternatives {
        let Some(to) = new(&other.category) else { continue };
        if to == category {
            confidence = (confidence + other.confidence).min(1.0);
        } else if let Some(same) = alternatives.iter_mut().find(|scored| scored.category == to) {
            same.confidence += other.confidence;
        } else {
            alternatives.push(Scored { category: to, confidence: other.confidence });
        }
    }
    alternatives.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let evidence = prediction.evidence.into_iter().filter_map(|evidence| evidence.renamed(new)).collect();
    let mut provenance = prediction.provenance;
    provenance.taxonomy.clone_from(&migration.to_taxonomy);
    Prediction { category, confidence, alternatives, evidence, provenance }
}
