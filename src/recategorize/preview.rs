//! The preview of a run: plan, then page after page of its scope, then the diff.

use std::{
    collections::{BTreeMap, HashMap},
    panic::AssertUnwindSafe,
};

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use tokio::sync::mpsc;

use super::{
    Error, diff, find,
    taxonomy::{self, Route},
};
use crate::{
    categorize::Lineup,
    causes::with_causes,
    domain::{
        DecidedBy, RecategorizationPhase, RecategorizationScope, Slug, Transaction, TransactionId,
        recategorization::InvalidScope,
    },
    enrich,
    pipeline::{self, Fresh, Memory, Pipeline, Prepared, Said},
    store::{
        AnswerSources, Decision, LabelAsked, NewRecategorization, PageDone, Proposal, Recategorization, ScopeCursor,
        ScopedRow, Store, TaxonomyMigration,
    },
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
/// When the scope says nothing or names what is not known here, no such adapter answers, or the database fails.
pub async fn plan(store: &Store, pipeline: &Pipeline, plan: Plan, now: DateTime<Utc>) -> Result<i64, Error> {
    let engines = engines(&pipeline.lineup(), plan.adapter.as_deref())?;
    let scope = plan.scope.checked()?;
    let names = store.unknown_in_scope(&scope, &engines).await?;
    if !names.is_empty() {
        return Err(InvalidScope::Unknown { names }.into());
    }
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
    let memory = Memory::open(store, &engines, run.run.made_at).await?;
    let migration = store.taxonomy_migration(id).await?;
    let asker = Asker {
        store,
        pipeline,
        lineup: &lineup,
        adapter: adapter.as_deref(),
        memory: &memory,
        migration: migration.as_ref(),
    };
    let mut failed_before = store.recategorization_failures(id, None, PAGE).await?;
    if run.phase == RecategorizationPhase::Predicting {
        walk(store, &asker, &run, told).await?;
        run = find(store, id).await?;
    }
    // Rows that failed just now are not tried again at once: only those that had failed when this call began.
    while let Some(last) = failed_before.last().map(|failure| failure.transaction_id.clone()) {
        let ids: Vec<TransactionId> = failed_before.iter().map(|failure| failure.transaction_id.clone()).collect();
        let rows = store.recategorization_page(&run, None, Some(&ids), PAGE).await?;
        let Answered { page, outage, fresh } = asker.answered(asker.read(rows).await?).await?;
        let failed = page.failures.len();
        let still: Vec<&TransactionId> = page.failures.iter().map(|(id, _)| id).collect();
        let mended = ids.into_iter().filter(|id| !still.contains(&id)).collect();
        // They were counted when they were looked at first.
        let page = PageDone { cursor: None, mended, categories: BTreeMap::new(), people: 0, rules: 0, ..page };
        memory.keep(&fresh).await?;
        if !store.put_recategorization_page(id, run.cursor.as_ref(), &page).await? {
            return Err(overtaken_or_moved(store, id).await?);
        }
        if outage {
            return Err(Error::Outage { failed });
        }
        failed_before = store.recategorization_failures(id, Some(&last), PAGE).await?;
    }
    told(run.seen, run.rows);
    let diff = diff::of(store, &run, migration.as_ref()).await?;
    if !store.put_recategorization_diff(id, &serde_json::to_value(&diff)?).await? {
        return Err(overtaken_or_moved(store, id).await?);
    }
    Ok(())
}

/// Takes the rest of a run's scope through three steps that work at once, each on a page of its own: rows are read with
/// what is known around them, asked about, and kept. A page waits between two steps at most.
async fn walk(store: &Store, asker: &Asker<'_>, run: &Recategorization, told: Progress<'_>) -> Result<(), Error> {
    let (into_asking, mut asking) = mpsc::channel::<Page<'_>>(1);
    let (into_keeping, mut keeping) = mpsc::channel::<Answered>(1);
    told(run.seen, run.rows);
    let read = async {
        let into_asking = into_asking;
        let mut after = run.cursor.clone();
        loop {
            let rows = store.recategorization_page(run, after.as_ref(), None, PAGE).await?;
            let page = asker.read(rows).await?;
            let Some(cursor) = page.done.cursor.clone() else { return Ok(()) };
            after = Some(cursor);
            if into_asking.send(page).await.is_err() {
                return Ok(());
            }
        }
    };
    let ask = async {
        let into_keeping = into_keeping;
        while let Some(page) = asking.recv().await {
            if into_keeping.send(asker.answered(page).await?).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let keep = async {
        let (mut from, mut seen) = (run.cursor.clone(), run.seen);
        while let Some(Answered { page, outage, fresh }) = keeping.recv().await {
            asker.memory.keep(&fresh).await?;
            if !store.put_recategorization_page(run.id, from.as_ref(), &page).await? {
                return Err(overtaken_or_moved(store, run.id).await?);
            }
            seen += page.categories.values().copied().map(u64::from).sum::<u64>();
            told(seen, run.rows);
            if outage {
                return Err(Error::Outage { failed: page.failures.len() });
            }
            from = page.cursor;
        }
        Ok(())
    };
    tokio::try_join!(read, ask, keep).map(|_| ())
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
pub(super) fn engines(lineup: &Lineup, adapter: Option<&str>) -> Result<Vec<String>, Error> {
    let Some(name) = adapter else { return Ok(lineup.engines()) };
    let unknown = || pipeline::Error::UnknownAdapter { name: name.to_owned() };
    Ok(vec![lineup.named(name).ok_or_else(unknown)?.engine().to_owned()])
}

/// Who is asked about a run's rows: the same from its beginning to its end.
struct Asker<'a> {
    store: &'a Store,
    pipeline: &'a Pipeline,
    lineup: &'a Lineup,
    adapter: Option<&'a str>,
    memory: &'a Memory,
    /// Where the run leads from one taxonomy to another.
    migration: Option<&'a TaxonomyMigration>,
}

/// Rows to ask about.
struct Page<'a> {
    /// What is known before anybody is asked.
    done: PageDone,
    open: HashMap<TransactionId, ScopedRow>,
    /// In order.
    asked: Vec<TransactionId>,
    /// None where something about the rows fails: they are asked about in parts.
    prepared: Option<Prepared<'a>>,
}

/// What became of a page, whether a model could not be had, and what was computed.
struct Answered {
    page: PageDone,
    outage: bool,
    fresh: Fresh,
}

/// What was answered about some rows, what was not and why, and whether that is because a model can't be had.
#[derive(Default)]
struct Answers {
    decisions: Vec<Decision>,
    failures: Vec<(TransactionId, String)>,
    outage: bool,
    sources: AnswerSources,
    fresh: Vec<Fresh>,
}

impl<'a> Asker<'a> {
    /// Sorts out the rows that are not asked about, and gathers what is known around the others.
    async fn read(&self, rows: Vec<ScopedRow>) -> Result<Page<'a>, Error> {
        let mut done = PageDone {
            cursor: rows.last().map(|row| ScopeCursor {
                account_id: row.transaction.account_id.clone(),
                posted_at: row.transaction.posted_at,
                id: row.transaction.id.clone(),
            }),
            ..PageDone::default()
        };
        let mut open: HashMap<TransactionId, ScopedRow> = HashMap::with_capacity(rows.len());
        let mut asked = Vec::with_capacity(rows.len());
        let mut renamed = Vec::new();
        for row in rows {
            *done.categories.entry(row.category.clone()).or_default() += 1;
            let ruled = matches!(row.decided_by, DecidedBy::AccountRule | DecidedBy::MerchantRule);
            done.rules += u32::from(ruled);
            done.people += u32::from(matches!(row.decided_by, DecidedBy::Correction | DecidedBy::Import));
            match self.migration.map(|migration| taxonomy::route(migration, &row)) {
                None if ruled => continue,
                Some(Route::Stays) => continue,
                Some(Route::Renamed(to)) => {
                    renamed.push((row, to));
                    continue;
                }
                None | Some(Route::Asked) => {}
            }
            asked.push(row.transaction.id.clone());
            open.insert(row.transaction.id.clone(), row);
        }
        self.rename(renamed, &mut done).await?;
        let transactions = asked.iter().filter_map(|id| open.get(id)).map(|row| row.transaction.clone()).collect();
        let prepared = match self.prepared(transactions).await {
            Ok(prepared) => Some(prepared),
            Err(error) => cut(error).map(|_| None)?,
        };
        Ok(Page { done, open, asked, prepared })
    }

    /// Rows that a mapping renames, with what was said of them.
    async fn rename(&self, rows: Vec<(ScopedRow, Slug)>, done: &mut PageDone) -> Result<(), Error> {
        let Some(migration) = self.migration.filter(|_| !rows.is_empty()) else { return Ok(()) };
        let ids: Vec<&TransactionId> = rows.iter().map(|(row, _)| &row.transaction.id).collect();
        let said = self.store.said_before(&ids).await?.into_iter();
        let mut said: HashMap<TransactionId, Decision> = said.map(|said| (said.transaction_id.clone(), said)).collect();
        for (row, to) in rows {
            let Some(said) = said.remove(&row.transaction.id) else { continue };
            done.proposals.push(taxonomy::renamed(migration, row, to, said));
        }
        Ok(())
    }

    /// What becomes of a page's rows.
    async fn answered(&self, page: Page<'_>) -> Result<Answered, Error> {
        let Page { mut done, mut open, asked, prepared } = page;
        let rows: Vec<&Transaction> = asked.iter().filter_map(|id| open.get(id)).map(|row| &row.transaction).collect();
        let Answers { decisions, failures, outage, sources, fresh } = self.answers(&rows, prepared).await?;
        done.failures = failures;
        done.sources = sources;
        for decision in decisions {
            let Some(row) = open.remove(&decision.transaction_id) else { continue };
            if let Some(migration) = self.migration {
                done.proposals.push(taxonomy::split(migration, row, decision));
            } else if matches!(row.decided_by, DecidedBy::Correction | DecidedBy::Import) {
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
                let to = decision.category().clone();
                done.proposals.push(Proposal { decision, posted_at, from, to, before });
            }
        }
        Ok(Answered { page: done, outage, fresh: fresh.into_iter().collect() })
    }

    /// Asks about all rows; where that fails, about each half, until only those are left that can't be answered.
    async fn answers(&self, rows: &[&Transaction], prepared: Option<Prepared<'_>>) -> Result<Answers, Error> {
        let mut answers = Answers::default();
        let mut waiting = vec![(rows, prepared)];
        while let Some((part, prepared)) = waiting.pop() {
            if part.is_empty() {
                continue;
            }
            if answers.outage {
                answers.fail(part, "the model could not be had");
                continue;
            }
            match self.once(part, prepared).await {
                Ok(said) => answers.take(part, said),
                Err(pipeline::Error::Categorize(error)) if error.is_outage() => {
                    answers.outage = true;
                    answers.fail(part, &with_causes(&error));
                }
                Err(error) => {
                    let error = cut(error)?;
                    if part.len() == 1 {
                        answers.fail(part, &with_causes(&error));
                    } else {
                        let (half, other) = part.split_at(part.len() / 2);
                        waiting.extend([(other, None), (half, None)]);
                    }
                }
            }
        }
        Ok(answers)
    }

    async fn once(&self, rows: &[&Transaction], prepared: Option<Prepared<'_>>) -> Result<Said, pipeline::Error> {
        let said = async {
            let prepared = match prepared {
                Some(prepared) => prepared,
                None => self.prepared(rows.iter().copied().cloned().collect()).await?,
            };
            self.pipeline.would_say(prepared, self.memory).await
        };
        guarded(said).await
    }

    async fn prepared(&self, rows: Vec<Transaction>) -> Result<Prepared<'a>, pipeline::Error> {
        let prepared = guarded(self.pipeline.prepare(rows, self.lineup, self.adapter, self.memory)).await?;
        // People's rules are in the words of the old taxonomy.
        Ok(if self.migration.is_some() { prepared.without_rules() } else { prepared })
    }
}

/// A bug under it is an error like any other.
async fn guarded<T>(work: impl Future<Output = Result<T, pipeline::Error>>) -> Result<T, pipeline::Error> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or(Err(pipeline::Error::Broken))
}

/// An error that asking about fewer rows may avoid; others end the preview.
fn cut(error: pipeline::Error) -> Result<pipeline::Error, Error> {
    match error {
        pipeline::Error::Store(error) | pipeline::Error::Enrich(enrich::Error::Store(error)) => Err(error.into()),
        error @ pipeline::Error::UnknownAdapter { .. } => Err(error.into()),
        error => Ok(error),
    }
}

impl Answers {
    fn take(&mut self, rows: &[&Transaction], said: Said) {
        let Said { decisions, failure, sources, fresh } = said;
        self.sources += sources;
        self.fresh.push(fresh);
        let mut silent: Vec<&Transaction> = Vec::new();
        let mut said: HashMap<TransactionId, Decision> =
            decisions.into_iter().map(|decision| (decision.transaction_id.clone(), decision)).collect();
        for row in rows {
            match said.remove(&row.id) {
                Some(decision) if decision.rule.is_none() && decision.prediction.is_unanswered() => {
                    self.failures.push((row.id.clone(), "the model gave no answer that could be used".to_owned()));
                }
                Some(decision) => self.decisions.push(decision),
                None => silent.push(row),
            }
        }
        if let Some(failure) = failure {
            self.outage |= failure.is_outage();
            self.fail(&silent, &with_causes(&failure));
        }
    }

    fn fail(&mut self, rows: &[&Transaction], why: &str) {
        self.failures.extend(rows.iter().map(|row| (row.id.clone(), why.to_owned())));
    }
}
