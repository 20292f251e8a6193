//! The preview of a run: plan, then page after page of its scope, then the diff.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;

use super::{
    Error,
    asking::{Answered, Asker, Page},
    diff, find,
};
use crate::{
    categorize::Lineup,
    causes::with_causes,
    domain::{RecategorizationPhase, RecategorizationScope, TransactionId, recategorization::InvalidScope},
    pipeline::{self, Memory, Pipeline},
    store::{FirstJob, NewRecategorization, PageDone, Recategorization, Store},
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

/// Fixes the scope, counts it, and returns the run's number. Rows that come later are not in it. Where it has a first job, both are
/// there or neither is.
///
/// # Errors
/// When the scope says nothing or names what is not known here, no such adapter answers, or the database fails.
pub async fn plan(
    store: &Store,
    pipeline: &Pipeline,
    plan: Plan,
    first: Option<FirstJob>,
    now: DateTime<Utc>,
) -> Result<i64, Error> {
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
    Ok(store.plan_recategorization(&new, first).await?)
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
    let begun = find(store, id).await?;
    if let Err(refused) = same_engines(&pipeline.lineup(), &begun) {
        // A preview that has ended stands as it is.
        if begun.phase == RecategorizationPhase::Predicting {
            store.stop_recategorization(id, Some(&with_causes(&refused))).await?;
        }
        return Err(refused);
    }
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
    let engines = same_engines(&lineup, &run)?;
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

/// The engines that answer, where they are those that a run began with.
fn same_engines(lineup: &Lineup, run: &Recategorization) -> Result<Vec<String>, Error> {
    let now = engines(lineup, run.run.adapter.as_deref())?;
    if now == run.run.engines {
        return Ok(now);
    }
    Err(Error::OtherEngines { id: run.id, begun: run.run.engines.join(", "), now: now.join(", ") })
}

/// The engines that may answer.
pub(super) fn engines(lineup: &Lineup, adapter: Option<&str>) -> Result<Vec<String>, Error> {
    let Some(name) = adapter else { return Ok(lineup.engines()) };
    let unknown = || pipeline::Error::UnknownAdapter { name: name.to_owned() };
    Ok(vec![lineup.named(name).ok_or_else(unknown)?.engine().to_owned()])
}
