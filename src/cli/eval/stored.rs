//! A score as the tracker keeps it: the run and its rows.

use anyhow::Context;
use chrono::{DateTime, Utc};

use super::SEED;
use crate::{
    domain::{Slug, prediction},
    evaluate::{
        dataset::Dataset,
        scored::{FileScore, Item},
    },
    store::{EvalItem, NewEvalRun},
};

/// What a data set is called: its folder's name.
pub(in crate::cli) fn data_set(dataset: &Dataset) -> String {
    let dir = dataset.dir().canonicalize().unwrap_or_else(|_| dataset.dir().to_owned());
    dir.file_name().map_or_else(|| "dataset".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// How a score came about.
pub(in crate::cli) struct Made {
    /// When the command began.
    pub(in crate::cli) started_at: DateTime<Utc>,
    /// Whether another program gave the answers.
    pub(in crate::cli) peer: bool,
    /// How many labels could be looked at.
    pub(in crate::cli) label_budget: usize,
    /// SHA-256 of the sorted ids of those that were, hexadecimal.
    pub(in crate::cli) labels: String,
    /// SHA-256 of the scored file.
    pub(in crate::cli) file_sha256: [u8; 32],
}

/// This program, with the commit that it was built from where the build tells one.
fn code_version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    option_env!("TXCAT_COMMIT").map_or_else(|| version.to_owned(), |commit| format!("{version}+{commit}"))
}

/// A score as the tracker keeps it.
pub(in crate::cli) fn to_store(
    score: &FileScore,
    dataset: &Dataset,
    made: &Made,
) -> anyhow::Result<(NewEvalRun, Vec<EvalItem>)> {
    let slug = |index: usize| {
        let category = dataset.taxonomy().assignable().get(index);
        category.map_or_else(Slug::uncategorized, |category| category.slug.clone())
    };
    let count = |keep: &dyn Fn(&Item) -> bool| i32::try_from(score.items.iter().filter(|item| keep(item)).count());
    let figures = &score.figures;
    let of_stage = |figure: Option<f64>| if made.peer { None } else { Some(figure.unwrap_or(0.0)) };
    let mut labels_sha256 = [0; 32];
    hex::decode_to_slice(&made.labels, &mut labels_sha256).context("a digest of labels is 64 hexadecimal digits")?;
    let run = NewEvalRun {
        started_at: made.started_at,
        data_set: data_set(dataset),
        file: score.file.clone(),
        file_sha256: made.file_sha256,
        stage: score.answerer.name.clone(),
        engine: score.answerer.engine.clone(),
        peer: made.peer,
        taxonomy: dataset.taxonomy().version().to_owned(),
        label_budget: Some(i32::try_from(made.label_budget)?),
        labels_sha256: Some(labels_sha256),
        seed: Some(SEED.try_into()?),
        code_version: Some(code_version()),
        target: of_stage(score.answerer.target),
        rows: count(&|_| true)?,
        correct: count(&|item| item.scored.correct())?,
        known_rows: count(&|item| item.scored.known)?,
        known_correct: count(&|item| item.scored.known && item.scored.correct())?,
        macro_f1: figures.macro_f1,
        ece: of_stage(figures.ece),
        coverage_at_target: of_stage(figures.coverage.map(|coverage| coverage.share)),
        rows_per_s: of_stage(score.rows_per_s),
        cost_per_1000: score.cost.as_ref().map(|cost| cost.per_1000),
        currency: score.cost.as_ref().map(|cost| cost.currency.clone()),
    };
    let items = score.items.iter().map(|item| stored_item(item, slug)).collect::<anyhow::Result<_>>()?;
    Ok((run, items))
}

fn stored_item(item: &Item, slug: impl Fn(usize) -> Slug) -> anyhow::Result<EvalItem> {
    let Item { scored, facts, said, .. } = item;
    let other = |&(category, confidence): &(usize, f32)| prediction::Scored { category: slug(category), confidence };
    let alternatives = said.as_ref().map(|said| said.alternatives.iter().map(other).collect::<Vec<_>>());
    Ok(EvalItem {
        item_id: item.id.to_string(),
        expected: slug(scored.gold).to_string(),
        predicted: slug(scored.answer).to_string(),
        confidence: scored.confidence,
        known_key: scored.known,
        descriptor_key: Some(item.key.as_str().to_owned()),
        direction: Some(facts.direction.as_str().to_owned()),
        amount: Some(facts.amount),
        country: facts.country.as_ref().map(ToString::to_string),
        posted_at: Some(facts.posted_at),
        account_age_days: i32::try_from(facts.account_age_days).ok(),
        head_merchant: Some(facts.head),
        alternatives: alternatives.map(serde_json::to_value).transpose()?,
        gold_rank: item.gold_rank().and_then(|rank| i32::try_from(rank).ok()),
        gold_probability: item.gold_probability(),
        decided_by: said.as_ref().map(|said| said.decided_by.clone()),
        latency_ms: said.as_ref().map(|said| said.latency_ms),
        tokens: said.as_ref().and_then(|said| said.tokens).and_then(|tokens| i32::try_from(tokens).ok()),
        cost: said.as_ref().and_then(|said| said.cost),
        error: said.as_ref().and_then(|said| said.error.clone()),
    })
}
