//! The rows of a run's scope asked about, a page at a time: read with what is known around them, answered, sorted out.
//!
//! It is not the walk over the scope, and it keeps nothing: [`preview`](super::preview) does.

use std::{collections::HashMap, panic::AssertUnwindSafe};

use futures::FutureExt as _;

use super::{
    Error,
    taxonomy::{self, Route},
};
use crate::{
    categorize::Lineup,
    causes::with_causes,
    domain::{DecidedBy, Slug, Transaction, TransactionId},
    enrich,
    pipeline::{self, Fresh, Memory, Pipeline, Prepared, Said},
    store::{
        AnswerSources, Decision, LabelAsked, PageDone, Proposal, ScopeCursor, ScopedRow, Store, TaxonomyMigration,
    },
};

/// Who is asked about a run's rows: the same from its beginning to its end.
pub(super) struct Asker<'a> {
    pub(super) store: &'a Store,
    pub(super) pipeline: &'a Pipeline,
    pub(super) lineup: &'a Lineup,
    pub(super) adapter: Option<&'a str>,
    pub(super) memory: &'a Memory,
    /// Where the run leads from one taxonomy to another.
    pub(super) migration: Option<&'a TaxonomyMigration>,
}

/// Rows to ask about.
pub(super) struct Page<'a> {
    /// What is known before anybody is asked.
    pub(super) done: PageDone,
    open: HashMap<TransactionId, ScopedRow>,
    /// In order.
    asked: Vec<TransactionId>,
    /// None where something about the rows fails: they are asked about in parts.
    prepared: Option<Prepared<'a>>,
}

/// What became of a page, whether a model could not be had, and what was computed.
pub(super) struct Answered {
    pub(super) page: PageDone,
    pub(super) outage: bool,
    pub(super) fresh: Fresh,
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
    pub(super) async fn read(&self, rows: Vec<ScopedRow>) -> Result<Page<'a>, Error> {
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
    pub(super) async fn answered(&self, page: Page<'_>) -> Result<Answered, Error> {
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
                    seen: self.lineup.has_label_of(&row.transaction),
                    engine: decision.prediction.provenance.engine,
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
