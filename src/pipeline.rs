//! THE way of a transaction: ingest, enrich, categorize, route, record. Read it top to bottom.
//!
//! It is not where rows are parsed (that is the edge's work) nor where answers are rendered. No
//! database transaction spans a model call: what is ingested but not yet categorized, because the
//! process died in between, is categorized when the same row comes again.

mod gathered;
mod remembered;
mod shadows;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use tracing::Instrument as _;

pub use gathered::Gathered;
pub use remembered::{Fresh, Memory};

use self::{remembered::Sorted, shadows::Shadows};
use crate::{
    categorize::{self, Lineup, Stage},
    domain::{
        AccountId, ConfidenceLevel, EnrichedTransaction, Prediction, ReviewReason, Transaction, TransactionId,
        draw::drawn,
    },
    enrich::{self, Enricher},
    spans,
    store::{self, AnswerSources, Decision, Ingested, Rule, RuleKey, Store, TransactionView},
};

/// The lot by which accepted rows are drawn for an audit.
const AUDIT: &str = "audit";

/// The way of a transaction, with what it needs on the way.
pub struct Pipeline {
    store: Store,
    enricher: Enricher,
    lineup: ArcSwap<Lineup>,
    audit_share: f32,
    broken: ArcSwap<HashSet<(String, ConfidenceLevel)>>,
    shadows: Shadows,
}

/// What became of one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Categorized, now or earlier.
    Done(Box<Done>),
    /// The id is taken by a row with other content.
    Conflict,
    /// `replaces` names no pending row of this account.
    ReplacesUnknown,
    /// `replaces` names a row that another one has succeeded already.
    AlreadyReplaced,
}

/// A row with its prediction and the category in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// Whether this call stored the row; `false` when it was there already.
    pub new: bool,
    /// The row, its prediction, and what holds now.
    pub view: TransactionView,
}

/// Why a batch could not be taken on its way.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("the database could not be used")]
    Store(#[from] store::Error),
    /// History or merchants.
    #[error("the transactions could not be enriched")]
    Enrich(#[from] enrich::Error),
    /// The stage's engine.
    #[error("the transactions could not be categorized")]
    Categorize(#[from] categorize::Error),
    /// A caller asked for an adapter that does not answer here.
    #[error("there is no adapter `{name}` that answers here")]
    UnknownAdapter {
        /// What was asked for.
        name: String,
    },
    /// A bug, or the process is ending.
    #[error("the batch was not finished")]
    Broken,
    /// A row was stored and is not there any more.
    #[error("a transaction vanished while it was being processed")]
    Vanished,
}

impl Pipeline {
    /// A pipeline in which a line-up answers. Of the accepted rows, `audit_share` are drawn for a person's eye.
    #[must_use]
    pub fn new(store: Store, enricher: Enricher, lineup: Lineup, audit_share: f32) -> Self {
        Self {
            shadows: Shadows::new(store.clone()),
            store,
            enricher,
            lineup: ArcSwap::from_pointee(lineup),
            audit_share,
            broken: ArcSwap::default(),
        }
    }

    /// Who answers now.
    #[must_use]
    pub fn lineup(&self) -> Arc<Lineup> {
        self.lineup.load_full()
    }

    /// From the next batch on, others answer; batches under way end with those they began with.
    pub fn swap(&self, lineup: Lineup) {
        self.lineup.store(Arc::new(lineup));
    }

    /// From the next batch on, people are asked about all answers of these levels, by engine.
    pub fn distrust(&self, broken: HashSet<(String, ConfidenceLevel)>) {
        self.broken.store(Arc::new(broken));
    }

    /// Waits until the shadows have said what they would have answered so far.
    pub async fn settle(&self) {
        self.shadows.settle().await;
    }

    /// Takes rows all the way; one outcome for each, in the same order. An `adapter` that is named answers all.
    ///
    /// # Errors
    /// When no such adapter answers here (then nothing was stored), or the database, the enrichment or the
    /// engine fails; rows stored by then stay stored.
    pub async fn process(
        &self,
        rows: &[Transaction],
        adapter: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Outcome>, Error> {
        let lineup = self.lineup();
        let who = Who::of(&lineup, adapter)?;
        let ingested = self.store.ingest(rows, now).instrument(spans::database("ingest")).await?;
        let ids: Vec<TransactionId> = rows
            .iter()
            .zip(&ingested)
            .filter(|(_, ingested)| matches!(ingested, Ingested::New | Ingested::Known))
            .map(|(row, _)| row.id.clone())
            .collect();
        self.categorize_missing(self.missing(rows, &ingested).await?, who, None, now).await?;
        let mut views = self.store.views(&ids).instrument(spans::database("views")).await?.into_iter();
        ingested
            .into_iter()
            .map(|ingested| {
                let new = match ingested {
                    Ingested::New => true,
                    Ingested::Known => false,
                    Ingested::Conflict => return Ok(Outcome::Conflict),
                    Ingested::ReplacesUnknown => return Ok(Outcome::ReplacesUnknown),
                    Ingested::AlreadyReplaced => return Ok(Outcome::AlreadyReplaced),
                };
                let view = views.next().flatten().ok_or(Error::Vanished)?;
                Ok(Outcome::Done(Box::new(Done { new, view })))
            })
            .collect()
    }

    /// Takes rows the rest of the way that were ingested and of which nothing was said yet; `ingested` is what became of each.
    /// What was said of the same input before is said again, and what is new is kept.
    ///
    /// # Errors
    /// When the database, the enrichment or the engine fails.
    pub async fn categorize(
        &self,
        rows: &[Transaction],
        ingested: &[Ingested],
        memory: &Memory,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let lineup = self.lineup();
        let who = Who::of(&lineup, None)?;
        self.categorize_missing(self.missing(rows, ingested).await?, who, Some(memory), now).await
    }

    /// The rows of a call that nothing was said about: those that it stored, as they were told, but for the ones that another of
    /// them has succeeded, and those that an earlier call left behind.
    async fn missing(&self, rows: &[Transaction], ingested: &[Ingested]) -> Result<Vec<Transaction>, Error> {
        let new = || rows.iter().zip(ingested).filter(|(_, ingested)| **ingested == Ingested::New).map(|(row, _)| row);
        let succeeded: HashSet<&TransactionId> = new().filter_map(|row| row.replaces.as_ref()).collect();
        let mut seen: HashSet<&TransactionId> = new().map(|row| &row.id).collect();
        let known: Vec<TransactionId> = rows
            .iter()
            .zip(ingested)
            .filter(|(row, ingested)| **ingested == Ingested::Known && seen.insert(&row.id))
            .map(|(row, _)| row.id.clone())
            .collect();
        let mut missing: Vec<Transaction> = new().filter(|row| !succeeded.contains(&row.id)).cloned().collect();
        if !known.is_empty() {
            let left = self.store.without_prediction(&known).instrument(spans::database("without_prediction")).await?;
            missing.extend(left);
        }
        Ok(missing)
    }

    async fn categorize_missing(
        &self,
        missing: Vec<Transaction>,
        who: Who<'_>,
        memory: Option<&Memory>,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        if missing.is_empty() {
            return Ok(());
        }
        let prepared = self.prepared(missing, who, memory).await?;
        let mut batch = self.judge(prepared, memory).await?;
        self.judge_anew(&mut batch, who, memory).await?;
        let Batch { enriched, groups, decisions, failure, fresh, .. } = batch;
        let keep = async {
            match memory {
                Some(memory) => memory.keep(&fresh).await,
                None => Ok(()),
            }
        };
        let record = self.store.record(&decisions, now).instrument(spans::database("record"));
        // Whichever fails, the other is done: answers may have been paid for.
        let (kept, recorded) = tokio::join!(keep, record);
        kept?;
        recorded?;
        tracing::debug!(batch.rows = decisions.len(), "categorized a batch");
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        let said = decisions
            .into_iter()
            .filter(|decision| decision.rule.is_none())
            .map(|decision| (decision.transaction_id, decision.prediction.category))
            .collect();
        self.shadows.show(enriched, said, &groups, who.lineup, now);
        Ok(())
    }

    /// Rows with all that is known around them and remembered of them, for [`Self::would_say`].
    ///
    /// # Errors
    /// When no such adapter answers, or the database or the enrichment fails.
    pub async fn prepare<'a>(
        &self,
        rows: Vec<Transaction>,
        lineup: &'a Lineup,
        adapter: Option<&str>,
        memory: &Memory,
    ) -> Result<Prepared<'a>, Error> {
        self.prepared(rows, Who::of(lineup, adapter)?, Some(memory)).await
    }

    /// What a line-up, or the adapter of it that was named, would say now of stored rows. Nothing is recorded and no
    /// shadow asked. What was answered before something failed comes with the failure.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn would_say(&self, rows: Prepared<'_>, memory: &Memory) -> Result<Said, Error> {
        let Batch { decisions, failure, sources, fresh, .. } = self.judge(rows, Some(memory)).await?;
        Ok(Said { decisions, failure, sources, fresh })
    }

    async fn prepared<'a>(
        &self,
        rows: Vec<Transaction>,
        who: Who<'a>,
        memory: Option<&Memory>,
    ) -> Result<Prepared<'a>, Error> {
        let enriched = self.enricher.enrich(rows).await?;
        let groups = self.groups_of(&enriched, who.lineup).await?;
        let stages: Vec<&Arc<Stage>> = enriched.iter().map(|row| who.answers(row, &groups)).collect();
        let rules = self.rules_of(&enriched).instrument(spans::database("account_rules")).await?;
        let key = |(row, stage): (_, &&Arc<Stage>)| memory?.key(stage.engine(), stage.input(row));
        let keys: Vec<_> = enriched.iter().zip(&stages).map(key).collect();
        let recalled = match memory {
            Some(memory) => memory.recall(&keys).await?,
            None => HashMap::new(),
        };
        Ok(Prepared { enriched, groups, stages, rules, keys, recalled })
    }

    async fn judge(&self, prepared: Prepared<'_>, memory: Option<&Memory>) -> Result<Batch, Error> {
        let Prepared { enriched, groups, stages, rules, keys, mut recalled } = prepared;
        let of_rule =
            |row: &EnrichedTransaction, stage: &Stage| stage.of_rule(row, &rules.get(&rule_key(row))?.category);
        let mut told: Vec<Option<Prediction>> =
            enriched.iter().zip(&stages).map(|(row, stage)| of_rule(row, stage)).collect();
        let ruled: Vec<bool> = told.iter().map(Option::is_some).collect();
        let open = (0..enriched.len()).filter(|&place| !ruled[place]);
        let mut sorted = match memory {
            Some(memory) => memory.sorted(open, &keys, &mut recalled),
            None => Sorted { open: open.collect(), ..Sorted::default() },
        };
        let (answers, failure) = asked(&enriched, &stages, &sorted.open).await?;
        sorted.sources.computed = answers.iter().flatten().count() as u64;
        let mut fresh = Fresh::default();
        for (&place, answer) in sorted.open.iter().zip(answers) {
            if let (Some(key), Some(answer)) = (keys[place], &answer)
                && !answer.is_unanswered()
            {
                fresh.0.push((key, answer.clone()));
            }
            told[place] = answer;
        }
        for (place, leader) in sorted.followers {
            let answer = told[leader].clone();
            told[place] = answer;
            sorted.sources.from_memory += u64::from(told[place].is_some());
        }
        for (place, answer) in sorted.told {
            told[place] = Some(answer);
        }
        if let Some(memory) = memory {
            memory.take(&fresh);
        }
        let decisions: Vec<Decision> = enriched
            .iter()
            .zip(&stages)
            .zip(ruled)
            .zip(told)
            .filter_map(|(asked, prediction): (_, Option<Prediction>)| Some((asked, prediction?)))
            .map(|(((row, stage), ruled), mut prediction)| {
                let rule = rules.get(&rule_key(row)).cloned();
                if !ruled {
                    stage.calibrated(&mut prediction);
                }
                // What a person's rule decides, no stage promises.
                let level = if rule.is_some() { None } else { stage.level(&prediction) };
                Decision {
                    transaction_id: row.transaction.id.clone(),
                    text: row.render(stage.enrichment),
                    merchant_id: row.merchant.as_ref().map(|found| found.merchant.id.clone()),
                    review: if rule.is_some() { None } else { self.doubt(row, stage, &prediction, level) },
                    rule,
                    level,
                    prediction,
                }
            })
            .collect();
        Ok(Batch { enriched, groups, rules, decisions, failure, sources: sorted.sources, fresh })
    }

    /// Lets rules count that came while a model took its time, and judges rows once more whose rule went or changed.
    async fn judge_anew(&self, batch: &mut Batch, who: Who<'_>, memory: Option<&Memory>) -> Result<(), Error> {
        let rules = self.rules_of(&batch.enriched).instrument(spans::database("account_rules_since")).await?;
        let (mut came, mut changed) = (HashMap::new(), Vec::new());
        for row in &batch.enriched {
            let key = rule_key(row);
            match (batch.rules.get(&key), rules.get(&key)) {
                (before, now) if before == now => {}
                (None, Some(rule)) => {
                    came.insert(row.transaction.id.clone(), rule.clone());
                }
                _ => changed.push(row.transaction.clone()),
            }
        }
        for decision in &mut batch.decisions {
            if let Some(rule) = came.remove(&decision.transaction_id) {
                (decision.rule, decision.level, decision.review) = (Some(rule), None, None);
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        let ids: HashSet<TransactionId> = changed.iter().map(|row| row.id.clone()).collect();
        batch.decisions.retain(|decision| !ids.contains(&decision.transaction_id));
        match self.judge(self.prepared(changed, who, memory).await?, memory).await {
            Ok(anew) => {
                batch.decisions.extend(anew.decisions);
                batch.fresh.0.extend(anew.fresh.0);
                batch.failure = batch.failure.take().or(anew.failure);
            }
            // What was answered of other rows is kept all the same.
            Err(Error::Categorize(failure)) => batch.failure = Some(failure),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn rules_of(&self, rows: &[EnrichedTransaction]) -> Result<HashMap<RuleKey, Rule>, Error> {
        let asked: Vec<RuleKey> = rows.iter().map(rule_key).collect();
        Ok(self.store.rules_for(&asked).await?)
    }

    /// Why a person's eye is wanted, if it is.
    fn doubt(
        &self,
        row: &EnrichedTransaction,
        stage: &Stage,
        prediction: &Prediction,
        level: Option<ConfidenceLevel>,
    ) -> Option<ReviewReason> {
        if prediction.is_unanswered() {
            return Some(ReviewReason::Unanswered);
        }
        if prediction.is_suspicious() {
            return Some(ReviewReason::Suspicious);
        }
        let Some(acceptance) = stage.acceptance else { return Some(ReviewReason::NotCalibrated) };
        if !acceptance.accepts(prediction.confidence, prediction.knows_key()) {
            return Some(ReviewReason::LowConfidence);
        }
        let broken = self.broken.load();
        if level.is_some_and(|level| broken.contains(&(stage.engine().to_owned(), level))) {
            return Some(ReviewReason::BrokenPromise);
        }
        drawn(row.transaction.id.as_str(), AUDIT, self.audit_share).then_some(ReviewReason::Audit)
    }

    async fn groups_of(
        &self,
        rows: &[EnrichedTransaction],
        lineup: &Lineup,
    ) -> Result<HashMap<AccountId, String>, Error> {
        if !lineup.has_groups() {
            return Ok(HashMap::new());
        }
        let accounts: HashSet<&AccountId> = rows.iter().map(|row| &row.transaction.account_id).collect();
        let accounts = Vec::from_iter(accounts);
        Ok(self.store.account_groups(&accounts).instrument(spans::database("account_groups")).await?)
    }
}

/// Asks about the rows at some places; answers in that order, before calibration. What was answered, and paid, is kept
/// where something fails then.
async fn asked(
    rows: &[EnrichedTransaction],
    stages: &[&Arc<Stage>],
    open: &[usize],
) -> Result<(Vec<Option<Prediction>>, Option<categorize::Error>), categorize::Error> {
    let answered = if open.is_empty() {
        Ok(Vec::new())
    } else if open.len() == rows.len() {
        categorize::together(rows, stages).await
    } else {
        let rows: Vec<EnrichedTransaction> = open.iter().map(|&place| rows[place].clone()).collect();
        categorize::together(&rows, &open.iter().map(|&place| stages[place]).collect::<Vec<_>>()).await
    };
    match answered {
        Ok(answers) => Ok((answers.into_iter().map(Some).collect(), None)),
        Err(categorize::Error::Partly { answers, source }) => {
            Ok((answers.clone(), Some(categorize::Error::Partly { answers, source })))
        }
        Err(error) => Err(error),
    }
}

/// Rows with what is known around them, who answers each, and what is remembered.
pub struct Prepared<'a> {
    enriched: Vec<EnrichedTransaction>,
    groups: HashMap<AccountId, String>,
    stages: Vec<&'a Arc<Stage>>,
    rules: HashMap<RuleKey, Rule>,
    keys: Vec<Option<remembered::Key>>,
    recalled: HashMap<remembered::Key, Prediction>,
}

impl Prepared<'_> {
    /// As if nobody had left a rule.
    #[must_use]
    pub fn without_rules(mut self) -> Self {
        self.rules.clear();
        self
    }
}

/// What would be said of rows.
#[derive(Debug)]
pub struct Said {
    /// Of those that were answered.
    pub decisions: Vec<Decision>,
    /// Why others were not.
    pub failure: Option<categorize::Error>,
    /// Where the answers came from.
    pub sources: AnswerSources,
    /// What was computed: to be given to [`Memory::keep`].
    pub fresh: Fresh,
}

/// Rows that are taken together: what was decided about them, and what it was decided from.
struct Batch {
    enriched: Vec<EnrichedTransaction>,
    groups: HashMap<AccountId, String>,
    rules: HashMap<RuleKey, Rule>,
    decisions: Vec<Decision>,
    failure: Option<categorize::Error>,
    sources: AnswerSources,
    fresh: Fresh,
}

/// Who answers a batch.
#[derive(Clone, Copy)]
struct Who<'a> {
    lineup: &'a Lineup,
    /// The one that the caller asked for.
    named: Option<&'a Arc<Stage>>,
}

impl<'a> Who<'a> {
    fn of(lineup: &'a Lineup, adapter: Option<&str>) -> Result<Self, Error> {
        let named =
            adapter.map(|name| lineup.named(name).ok_or_else(|| Error::UnknownAdapter { name: name.to_owned() }));
        Ok(Self { lineup, named: named.transpose()? })
    }

    fn answers(&self, row: &EnrichedTransaction, groups: &HashMap<AccountId, String>) -> &'a Arc<Stage> {
        let account = &row.transaction.account_id;
        self.named.unwrap_or_else(|| self.lineup.answers(account, groups.get(account)))
    }
}

fn rule_key(row: &EnrichedTransaction) -> RuleKey {
    let transaction = &row.transaction;
    (transaction.account_id.clone(), transaction.descriptor.key().clone(), transaction.direction)
}
