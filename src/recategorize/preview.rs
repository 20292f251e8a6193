//! The preview of a run: plan, then page after page of its scope, then the diff.

use std::{
    collections::{BTreeMap, HashMap},
    panic::AssertUnwindSafe,
};

use chrono::{DateTime, Utc};
use futures::FutureExt as _;

use super::{Error, diff, find};
use crate::{
    categorize::{self, Lineup},
    causes::with_causes,
    domain::{DecidedBy, RecategorizationPhase, RecategorizationScope, Transaction, TransactionId},
    enrich,
    pipeline::{self, Pipeline},
    store::{Cursor, Decision, LabelAsked, NewRecategorization, PageDone, Proposal, ScopedRow, Store},
};

/// Rows of a page: what is in memory at a time, and what a process that dies does again.
const PAGE: u32 = 1_000;

/// A run to begin.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What it looks at.
    pub scope: RecategorizationScope,
    /// The adapter that answers, such as `consumer@3`; without one, the line-up does, each account its own.
    pub adapter: Option<String>,
    /// Why it is made.
    pub reason: String,
    /// By whom.
    pub by: String,
}

/// Hears how many rows of how many are done.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Send + Sync);

/// Fixes the scope, counts it, and returns the run's number. Rows that come later are not in it.
///
/// # Errors
/// When the scope says nothing, no such adapter answers, or the database fails.
pub async fn plan(store: &Store, pipeline: &Pipeline, plan: Plan, now: DateTime<Utc>) -> Result<i64, Error> {
    let engines = engines(&pipeline.lineup(), plan.adapter.as_deref())?;
    let scope = plan.scope.checked()?;
    let new = NewRecategorization {
        scope,
        adapter: plan.adapter,
        engines,
        reason: plan.reason,
        made_by: plan.by,
        made_at: now,
    };
    Ok(store.plan_recategorization(&new).await?)
}

/// Whether a run's preview may go on; [`run`] then does it.
///
/// # Errors
/// When there is no such run, some of it was applied, it was given up, or the database fails.
pub async fn allow(store: &Store, id: i64) -> Result<(), Error> {
    match find(store, id).await?.phase {
        RecategorizationPhase::Predicting | RecategorizationPhase::Previewed => Ok(()),
        phase => Err(Error::Phase { id, phase, done: "previewed" }),
    }
}

/// Asks about the rest of a run's scope, tries rows again that failed before, and keeps what would change. The same
/// call goes on after a process died. Why it stopped, if it did, is kept with the run.
///
/// # Errors
/// When the run can't be previewed, others answer now than when it began, a model can't be had, another process is at
/// it, or the database fails. What was asked by then is kept.
pub async fn run(store: &Store, pipeline: &Pipeline, id: i64, told: Progress<'_>) -> Result<(), Error> {
    allow(store, id).await?;
    store.stop_recategorization(id, None).await?;
    let done = go_on(store, pipeline, id, told).await;
    if let Err(error) = &done
        && !matches!(error, Error::Overtaken { .. })
    {
        store.stop_recategorization(id, Some(&with_causes(error))).await?;
    }
    done
}

async fn go_on(store: &Store, pipeline: &Pipeline, id: i64, told: Progress<'_>) -> Result<(), Error> {
    let lineup = pipeline.lineup();
    let mut run = find(store, id).await?;
    let adapter = run.run.adapter.clone();
    let engines = engines(&lineup, adapter.as_deref())?;
    if engines != run.run.engines {
        return Err(Error::OtherEngines { id, begun: run.run.engines.join(", "), now: engines.join(", ") });
    }
    let asker = Asker { pipeline, lineup: &lineup, adapter: adapter.as_deref() };
    let mut failed_before = store.recategorization_failures(id, None, PAGE).await?;
    while run.phase == RecategorizationPhase::Predicting {
        told(run.seen, run.rows);
        let rows = store.recategorization_page(&run, None, PAGE).await?;
        let Some(last) = rows.last() else { break };
        let cursor = Cursor { posted_at: last.transaction.posted_at, id: last.transaction.id.clone() };
        let (page, outage) = asker.page(rows).await?;
        let failed = page.failures.len();
        let page = PageDone { cursor: Some(cursor), ..page };
        if !store.put_recategorization_page(&run, &page).await? {
            return Err(overtaken_or_moved(store, id).await?);
        }
        if outage {
            return Err(Error::Outage { failed });
        }
        run = find(store, id).await?;
    }
    // Rows that failed just now are not tried again at once: only those that had failed when this call began.
    while let Some(last) = failed_before.last().map(|failure| failure.transaction_id.clone()) {
        let ids: Vec<TransactionId> = failed_before.iter().map(|failure| failure.transaction_id.clone()).collect();
        let rows = store.recategorization_page(&run, Some(&ids), PAGE).await?;
        let (page, outage) = asker.page(rows).await?;
        let failed = page.failures.len();
        let still: Vec<&TransactionId> = page.failures.iter().map(|(id, _)| id).collect();
        let mended = ids.into_iter().filter(|id| !still.contains(&id)).collect();
        // They were counted when they were looked at first.
        let page = PageDone { mended, categories: BTreeMap::new(), people: 0, rules: 0, ..page };
        if !store.put_recategorization_page(&run, &page).await? {
            return Err(overtaken_or_moved(store, id).await?);
        }
        if outage {
            return Err(Error::Outage { failed });
        }
        failed_before = store.recategorization_failures(id, Some(&last), PAGE).await?;
    }
    told(run.seen, run.rows);
    let diff = diff::of(store, &run).await?;
    if !store.put_recategorization_diff(id, &serde_json::to_value(&diff)?).await? {
        return Err(overtaken_or_moved(store, id).await?);
    }
    Ok(())
}

/// Why a page could not be kept.
async fn overtaken_or_moved(store: &Store, id: i64) -> Result<Error, Error> {
    let phase = find(store, id).await?.phase;
    Ok(match phase {
        RecategorizationPhase::Predicting | RecategorizationPhase::Previewed => Error::Overtaken { id },
        phase => Error::Phase { id, phase, done: "previewed" },
    })
}

/// The engines that may answer.
fn engines(lineup: &Lineup, adapter: Option<&str>) -> Result<Vec<String>, Error> {
    let Some(name) = adapter else { return Ok(lineup.engines()) };
    let unknown = || pipeline::Error::UnknownAdapter { name: name.to_owned() };
    Ok(vec![lineup.named(name).ok_or_else(unknown)?.engine().to_owned()])
}

/// Who is asked about a run's rows: the same from its beginning to its end.
struct Asker<'a> {
    pipeline: &'a Pipeline,
    lineup: &'a Lineup,
    adapter: Option<&'a str>,
}

/// What was answered about some rows, what was not and why, and whether that is because a model can't be had.
#[derive(Default)]
struct Answers {
    decisions: Vec<Decision>,
    failures: Vec<(TransactionId, String)>,
    outage: bool,
}

impl Asker<'_> {
    /// What becomes of rows, and whether a model could not be had.
    async fn page(&self, rows: Vec<ScopedRow>) -> Result<(PageDone, bool), Error> {
        let mut done = PageDone::default();
        let mut open: HashMap<TransactionId, ScopedRow> = HashMap::with_capacity(rows.len());
        let mut asked = Vec::with_capacity(rows.len());
        for row in rows {
            *done.categories.entry(row.category.clone()).or_default() += 1;
            match row.decided_by {
                DecidedBy::AccountRule | DecidedBy::MerchantRule => {
                    done.rules += 1;
                    continue;
                }
                DecidedBy::Correction | DecidedBy::Import => done.people += 1,
                DecidedBy::Stage => {}
            }
            asked.push(row.transaction.clone());
            open.insert(row.transaction.id.clone(), row);
        }
        let answers = self.answers(asked).await?;
        done.failures = answers.failures;
        for decision in answers.decisions {
            let Some(row) = open.remove(&decision.transaction_id) else { continue };
            if matches!(row.decided_by, DecidedBy::Correction | DecidedBy::Import) {
                // Where a rule stands, an engine that is paid for is not asked, and repeats the rule.
                if decision.rule.is_some() {
                    continue;
                }
                done.labels.push(LabelAsked {
                    transaction_id: decision.transaction_id,
                    category: row.category,
                    before: row.predicted,
                    after: decision.prediction.category,
                    at_random: row.at_random,
                });
            } else if *decision.category() != row.category {
                let (posted_at, from, before) = (row.transaction.posted_at, row.category, row.before);
                done.proposals.push(Proposal { decision, posted_at, from, before });
            }
        }
        Ok((done, answers.outage))
    }

    /// Asks about all rows; where that fails, about each half, until only those are left that can't be answered.
    async fn answers(&self, rows: Vec<Transaction>) -> Result<Answers, Error> {
        let mut answers = Answers::default();
        let mut waiting = vec![rows];
        while let Some(mut part) = waiting.pop() {
            if part.is_empty() {
                continue;
            }
            if answers.outage {
                answers.fail(part.iter().map(|row| &row.id), "the model could not be had");
                continue;
            }
            match self.once(part.clone()).await {
                Ok((decisions, failure)) => answers.take(&part, decisions, failure.as_ref()),
                Err(pipeline::Error::Store(error) | pipeline::Error::Enrich(enrich::Error::Store(error))) => {
                    return Err(error.into());
                }
                Err(error @ pipeline::Error::UnknownAdapter { .. }) => return Err(error.into()),
                Err(pipeline::Error::Categorize(error)) if error.is_outage() => {
                    answers.outage = true;
                    answers.fail(part.iter().map(|row| &row.id), &with_causes(&error));
                }
                Err(error) if part.len() == 1 => {
                    answers.fail(part.iter().map(|row| &row.id), &with_causes(&error));
                }
                Err(_) => {
                    let half = part.split_off(part.len() / 2);
                    waiting.extend([half, part]);
                }
            }
        }
        Ok(answers)
    }

    /// A bug under it is an error like any other.
    async fn once(
        &self,
        rows: Vec<Transaction>,
    ) -> Result<(Vec<Decision>, Option<categorize::Error>), pipeline::Error> {
        let said = self.pipeline.would_say(rows, self.lineup, self.adapter);
        AssertUnwindSafe(said).catch_unwind().await.unwrap_or(Err(pipeline::Error::Broken))
    }
}

impl Answers {
    fn take(&mut self, rows: &[Transaction], decisions: Vec<Decision>, failure: Option<&categorize::Error>) {
        let mut silent: Vec<&TransactionId> = Vec::new();
        let mut said: HashMap<TransactionId, Decision> =
            decisions.into_iter().map(|decision| (decision.transaction_id.clone(), decision)).collect();
        for row in rows {
            match said.remove(&row.id) {
                Some(decision) if decision.rule.is_none() && decision.prediction.is_unanswered() => {
                    self.failures.push((row.id.clone(), "the model gave no answer that could be used".to_owned()));
                }
                Some(decision) => self.decisions.push(decision),
                None => silent.push(&row.id),
            }
        }
        if let Some(failure) = failure {
            self.outage |= failure.is_outage();
            self.fail(silent.into_iter(), &with_causes(failure));
        }
    }

    fn fail<'a>(&mut self, ids: impl Iterator<Item = &'a TransactionId>, why: &str) {
        self.failures.extend(ids.map(|id| (id.clone(), why.to_owned())));
    }
}
