//! A file of labelled rows, streamed in time order through the whole service while an analyst works on its queue.
//!
//! Each day's rows are posted, and what is answered first is scored before anybody has looked. Then the analyst, who knows
//! the right category, decides as many rows as a share of the day's rows allows; what is left over is kept for later days.
//! What a decision teaches acts from the next day on. Database, enrichment, stage, queue and decisions are those that
//! serve; only the clock is the file's.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Datelike as _, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::Error;
use crate::{
    categorize::{Group, Lineup, Stage},
    domain::{
        AccountId, Correction, CorrectionScope, DecidedBy, DescriptorKey, Direction, InForce, Slug, Taxonomy,
        Transaction, TransactionId, enrichment::HISTORY_WINDOW,
    },
    enrich::Enricher,
    evaluate::{
        corpus::Corpus,
        dataset::{Dataset, Row},
        metrics::{Share, wilson},
        paired::{self, Difference, Pair},
    },
    pipeline::{Outcome, Pipeline},
    review::{Desk, Work},
    store::{GroupFilter, ImportedLabel, ReviewFilter, ReviewItem, Store},
};

/// Rows of history that are stored at once.
const AT_ONCE: usize = 5_000;
/// More groups than ever wait.
const ALL: u32 = 1_000_000;
/// Who decides.
const ANALYST: &str = "analyst";

/// What the analyst looks at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The top of the queue that serves.
    Queue,
    /// The row of the lowest confidence.
    Uncertainty,
    /// Any group.
    Random,
}

impl Order {
    /// As it is written in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Uncertainty => "uncertainty",
            Self::Random => "random",
        }
    }
}

/// How the analyst works.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Way {
    /// What is looked at first.
    pub order: Order,
    /// Whether a decision also holds for the merchant's other rows, waiting and to come; otherwise for its row alone.
    pub memory: bool,
    /// Decisions, as a share of the rows.
    pub budget: f64,
}

/// The ways that are compared: nothing, and under each budget three orders and one control without memory.
#[must_use]
pub fn ways(budgets: &[f64]) -> Vec<Way> {
    let with = |budget| {
        [(Order::Queue, true), (Order::Uncertainty, true), (Order::Random, true), (Order::Queue, false)]
            .map(|(order, memory)| Way { order, memory, budget })
    };
    let none = Way { order: Order::Queue, memory: true, budget: 0.0 };
    std::iter::once(none)
        .chain(budgets.iter().filter(|budget| **budget > 0.0).flat_map(|&budget| with(budget)))
        .collect()
}

/// What came of one way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Course {
    /// How the analyst worked.
    #[serde(flatten)]
    pub way: Way,
    /// Rows that the analyst looked at and decided.
    pub decided: usize,
    /// Rows that nobody looked at and a later decision about their merchant covered.
    pub covered: usize,
    /// Rows whose first answer came from a rule that a decision had left.
    pub by_rule: usize,
    /// Right as first answered, before anybody looked.
    pub first: Option<Share>,
    /// Right in the end, of the rows that nobody looked at.
    pub unseen: Option<Share>,
    /// First answers minus those without an analyst, on the same rows.
    pub gain: Option<Difference>,
    /// First answers, year by year.
    pub years: Vec<(i32, Option<Share>)>,
    #[serde(skip)]
    right: Vec<bool>,
}

/// What every way starts from: the rows to come, in time order, and what is known before them.
pub struct Ground {
    /// The file's name without its ending.
    pub file: String,
    /// Its rows.
    pub rows: Vec<Row>,
    history: Vec<Transaction>,
    labels: Vec<ImportedLabel>,
    taxonomy: Arc<Taxonomy>,
}

impl Ground {
    /// Reads the file, and of the pool and dev what its accounts' rows can see as their history.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn read(dataset: &Dataset, name: &str, corpus: &Corpus) -> Result<Self, Error> {
        let mut rows = dataset.rows(dataset.file(name)?)?.collect::<Result<Vec<_>, _>>()?;
        rows.sort_by(|a, b| place(&a.transaction).cmp(&place(&b.transaction)));
        let accounts: HashSet<&AccountId> = rows.iter().map(|row| &row.transaction.account_id).collect();
        let ours: HashSet<&TransactionId> = rows.iter().map(|row| &row.transaction.id).collect();
        let begin = rows.first().map(|row| row.transaction.posted_at);
        let mut earlier: HashMap<AccountId, Vec<Transaction>> = HashMap::new();
        for source in ["pool", "dev"] {
            for transaction in dataset.transactions(dataset.file(source)?)? {
                let transaction = transaction?;
                if accounts.contains(&transaction.account_id) && !ours.contains(&transaction.id) {
                    earlier.entry(transaction.account_id.clone()).or_default().push(transaction);
                }
            }
        }
        let mut history = Vec::new();
        for mut of_account in earlier.into_values() {
            of_account.sort_by(|a, b| place(a).cmp(&place(b)));
            // No row of the file sees further back.
            let before = of_account.partition_point(|row| Some(row.posted_at) < begin);
            history.extend(of_account.drain(before.saturating_sub(HISTORY_WINDOW)..));
        }
        let seen: HashSet<&TransactionId> = history.iter().map(|row| &row.id).collect();
        let labels = corpus
            .rows
            .iter()
            .filter(|row| seen.contains(&row.transaction.id))
            .map(|row| ImportedLabel {
                transaction_id: row.transaction.id.clone(),
                category: row.category.clone(),
                known_at: row.transaction.posted_at,
            })
            .collect();
        Ok(Self { file: name.to_owned(), rows, history, labels, taxonomy: dataset.taxonomy().clone() })
    }

    /// Fills a new database with what is known before the first row.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prepare(&self, store: &Store) -> Result<(), Error> {
        let now = self.rows.first().map_or(DateTime::UNIX_EPOCH, |row| row.transaction.posted_at);
        store.sync_taxonomy(&self.taxonomy, now).await?;
        Enricher::open(store.clone()).await?;
        for chunk in self.history.chunks(AT_ONCE) {
            store.ingest(chunk, now).await?;
        }
        for chunk in self.labels.chunks(AT_ONCE) {
            store.import_labels(chunk, "labels", now).await?;
        }
        Ok(())
    }

    /// Rows of history that the service starts with.
    #[must_use]
    pub fn history(&self) -> usize {
        self.history.len()
    }
}

/// Streams the rows through a service on a prepared database. `on_rows` hears how many more were answered.
///
/// # Errors
/// When the database or the stage fails, or a row is not answered.
pub async fn run(
    ground: &Ground,
    stage: &Arc<Stage>,
    store: &Store,
    way: Way,
    seed: u64,
    mut on_rows: impl FnMut(usize),
) -> Result<Course, Error> {
    let lineup = Lineup::new(Group::of(stage.clone()), HashMap::new(), HashMap::new());
    // Every decision goes where the order says: none is spent on audits.
    let pipeline = Pipeline::new(store.clone(), Enricher::open(store.clone()).await?, lineup, 0.0);
    let desk = Desk::new(store.clone(), ground.taxonomy.clone()).with_second_share(0.0);
    let gold: HashMap<&TransactionId, &Slug> =
        ground.rows.iter().map(|row| (&row.transaction.id, &row.category)).collect();
    let mut analyst = Analyst { desk, store, gold: &gold, way, chance: ChaCha8Rng::seed_from_u64(seed) };
    let mut right = Vec::with_capacity(ground.rows.len());
    let mut looked = HashSet::new();
    let mut by_rule = HashSet::new();
    let mut left = 0.0;
    for day in ground.rows.chunk_by(|a, b| date(&a.transaction) == date(&b.transaction)) {
        let end = end_of(date(&day[0].transaction));
        let posted: Vec<Transaction> = day.iter().map(|row| row.transaction.clone()).collect();
        for (row, outcome) in day.iter().zip(pipeline.process(&posted, None, end).await?) {
            let Outcome::Done(done) = outcome else {
                return Err(Error::NotAnswered { id: row.transaction.id.clone() });
            };
            let in_force = done.view.in_force.as_ref();
            right.push(in_force.is_some_and(|in_force| in_force.category == row.category));
            if ruled(in_force) {
                by_rule.insert(&row.transaction.id);
            }
        }
        left += way.budget * day.len() as f64;
        while left >= 1.0 {
            let Some(id) = analyst.decide(end).await? else { break };
            left -= 1.0;
            looked.insert(id);
        }
        on_rows(day.len());
    }
    let unseen: Vec<&Row> = ground.rows.iter().filter(|row| !looked.contains(&row.transaction.id)).collect();
    let ids: Vec<TransactionId> = unseen.iter().map(|row| row.transaction.id.clone()).collect();
    let (mut covered, mut right_unseen) = (0, 0);
    for (row, view) in unseen.iter().zip(store.views(&ids).await?) {
        let in_force = view.as_ref().and_then(|view| view.in_force.as_ref());
        right_unseen += usize::from(in_force.is_some_and(|in_force| in_force.category == row.category));
        covered += usize::from(ruled(in_force) && !by_rule.contains(&row.transaction.id));
    }
    let scored: Vec<(&Row, &bool)> = ground.rows.iter().zip(&right).collect();
    let years = scored
        .chunk_by(|(a, _), (b, _)| a.transaction.posted_at.year() == b.transaction.posted_at.year())
        .map(|rows| {
            let right = rows.iter().filter(|(_, right)| **right).count();
            (rows[0].0.transaction.posted_at.year(), wilson(right, rows.len()))
        })
        .collect();
    Ok(Course {
        way,
        decided: looked.len(),
        covered,
        by_rule: by_rule.len(),
        first: wilson(right.iter().filter(|right| **right).count(), right.len()),
        unseen: wilson(right_unseen, unseen.len()),
        gain: None,
        years,
        right,
    })
}

/// Sets each course beside the one without an analyst.
pub fn compare(ground: &Ground, courses: &mut [Course], seed: u64) {
    let Some(none) = courses.iter().find(|course| course.way.budget == 0.0).map(|course| course.right.clone()) else {
        return;
    };
    for course in courses.iter_mut().filter(|course| course.way.budget > 0.0) {
        let pairs: Vec<Pair<'_>> = ground
            .rows
            .iter()
            .zip(course.right.iter().zip(&none))
            .map(|(row, (&ours, &theirs))| Pair { ours, theirs, key: row.transaction.descriptor.key().as_str() })
            .collect();
        course.gain = paired::compare(&pairs, seed);
    }
}

/// Who knows the right category, and has little time.
struct Analyst<'a> {
    desk: Desk,
    store: &'a Store,
    gold: &'a HashMap<&'a TransactionId, &'a Slug>,
    way: Way,
    chance: ChaCha8Rng,
}

impl Analyst<'_> {
    /// Decides one row and says which; none when nothing waits.
    async fn decide(&mut self, now: DateTime<Utc>) -> Result<Option<TransactionId>, Error> {
        let Some(Next { group, row }) = self.next(now).await? else { return Ok(None) };
        let filter = GroupFilter { key: group, ..GroupFilter::default() };
        let Some(Work { group, .. }) = self.desk.claim(&filter, 1, ANALYST, now).await?.pop() else {
            return Ok(None);
        };
        let id = row.unwrap_or(group.first);
        let Some(category) = self.gold.get(&id) else { return Err(Error::NotAnswered { id }) };
        let scope = if self.way.memory { CorrectionScope::Merchant } else { CorrectionScope::Transaction };
        let correction = Correction {
            transaction_id: id.clone(),
            category: (*category).clone(),
            scope,
            note: None,
            made_by: ANALYST.to_owned(),
            made_at: now,
        };
        self.desk.decide(correction, None).await?;
        Ok(Some(id))
    }

    async fn next(&mut self, now: DateTime<Utc>) -> Result<Option<Next>, Error> {
        if self.way.order == Order::Queue {
            return Ok(Some(Next { group: None, row: None }));
        }
        let waiting = self.desk.waiting(&GroupFilter::default(), ALL, now).await?;
        if waiting.is_empty() {
            return Ok(None);
        }
        if self.way.order == Order::Random {
            let work = &waiting[self.chance.random_range(0..waiting.len())];
            return Ok(Some(Next { group: Some(work.group.key.clone()), row: None }));
        }
        let items = self.store.reviews(&ReviewFilter::default(), None, ALL).await?;
        let doubtful = items.iter().min_by(|a, b| {
            let confidence =
                |item: &ReviewItem| item.view.prediction.as_ref().map_or(0.0, |of| of.prediction.confidence);
            confidence(a).total_cmp(&confidence(b))
        });
        let Some(row) = doubtful.map(|item| &item.view.transaction) else { return Ok(None) };
        let alone = row.descriptor.key().is_empty();
        let found = waiting.iter().find(|work| match alone {
            true => work.view.transaction.id == row.id,
            false => merchant(&work.view.transaction) == merchant(row),
        });
        Ok(found.map(|work| Next { group: Some(work.group.key.clone()), row: Some(row.id.clone()) }))
    }
}

/// What to look at: a group, unless the queue is to say, and a row in it, unless it is the group's first.
struct Next {
    group: Option<String>,
    row: Option<TransactionId>,
}

/// Whether a rule that a person left decides.
fn ruled(in_force: Option<&InForce>) -> bool {
    in_force.is_some_and(|held| matches!(held.decided_by, DecidedBy::AccountRule | DecidedBy::MerchantRule))
}

fn merchant(row: &Transaction) -> (&DescriptorKey, Direction) {
    (row.descriptor.key(), row.direction)
}

fn place(row: &Transaction) -> (DateTime<Utc>, &TransactionId) {
    (row.posted_at, &row.id)
}

fn date(row: &Transaction) -> NaiveDate {
    row.posted_at.date_naive()
}

/// The last moment of a day: what is decided then is known to rows of the next day, and to none before.
fn end_of(day: NaiveDate) -> DateTime<Utc> {
    let next = day.checked_add_days(Days::new(1)).unwrap_or(day);
    next.and_time(NaiveTime::MIN).and_utc() - TimeDelta::seconds(1)
}
