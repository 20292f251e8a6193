//! The analyst's desk: who works on what, what a decision changes, and how it is taken back.
//!
//! It decides nothing by itself and teaches nothing silently: a decision tells beforehand which rows it changes and
//! which rule it leaves. SQL, leases included, is in [`crate::store`].

pub mod drift;
mod exchange;
mod life;
mod merchants;
mod why;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

pub use exchange::{Exported, Format, Imported, RefusedTask, write_pairs, written};
pub use life::Life;
pub use merchants::MerchantPreview;
pub use why::{Measured, Why};

use crate::{
    curate::agreement::kappa,
    domain::{
        Correction, CorrectionScope, ReviewReason, Slug, Taxonomy, Transaction, TransactionId, UserHistory, draw::drawn,
    },
    store::{
        self, ActionFilter, Affected, DecisionRefused, GroupFilter, LabelPair, LaneCount, Reach, ReviewGroup, Settled,
        Store, Throughput, TransactionView, UndoRefused, Undone, Verdict,
    },
};

/// How long somebody has a group for himself.
pub const LEASE: TimeDelta = TimeDelta::minutes(15);
/// How long a group that somebody passed over is not shown to that person.
pub const SKIPPED: TimeDelta = TimeDelta::hours(4);
/// Share of the decisions that another person is asked about again.
pub const SECOND_SHARE: f32 = 0.05;
/// The lot that draws them.
const SECOND: &str = "second label";

/// The desk.
#[derive(Debug, Clone)]
pub struct Desk {
    store: Store,
    taxonomy: Arc<Taxonomy>,
    second_share: f32,
}

/// A group with the transaction to look at.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// The group.
    pub group: ReviewGroup,
    /// The row in it where most is at risk.
    pub view: TransactionView,
}

/// A decision of somebody else that a person shall make again, blind.
#[derive(Debug, Clone, PartialEq)]
pub struct AskedAgain {
    /// The decision's number.
    pub decision: i64,
    /// The transaction.
    pub view: TransactionView,
    /// What it may be, by the alphabet, at most nine.
    pub suggestions: Vec<Slug>,
}

/// What a decision would change.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// How many rows, the one at hand among them.
    pub rows: u32,
    /// Those after the place that was asked for, the one at hand first.
    pub affected: Vec<Affected>,
    /// The rule that it would leave, in words; none where it reaches no row to come.
    pub memory: Option<String>,
}

/// The desk in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    /// What waits, queue by queue.
    pub lanes: Vec<LaneCount>,
    /// Decisions of the last 24 hours that stand, person by person.
    pub day: Vec<Throughput>,
    /// How far people agree.
    pub agreement: Agreement,
}

/// How far people agree where two were asked, neither knowing of the other's word.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agreement {
    /// Rows that two people labelled.
    pub pairs: usize,
    /// Share of them with one label; none without pairs.
    pub agreeing: Option<f64>,
    /// Cohen's kappa; none without pairs, or where chance alone explains everything.
    pub kappa: Option<f64>,
    /// Decisions that wait for a second person.
    pub waiting: u32,
    /// The same, for each two people by name.
    pub people: Vec<PairAgreement>,
}

/// How far two people agree.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairAgreement {
    /// Who decided.
    pub first: String,
    /// Who was asked again.
    pub second: String,
    /// Rows that both labelled.
    pub pairs: usize,
    /// Cohen's kappa; none where chance alone explains everything.
    pub kappa: Option<f64>,
}

/// Why something can't be done at the desk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No transaction of that id.
    #[error("there is no transaction with this id")]
    UnknownTransaction,
    /// Somebody was faster, or a surer answer came.
    #[error("nothing waits here any more: it was decided in the meantime")]
    AlreadyDecided,
    /// No lease.
    #[error("{} works on this group; claim one first", by.as_deref().unwrap_or("nobody"))]
    NotClaimed {
        /// Who has the lease.
        by: Option<String>,
    },
    /// The rows are others than those that were shown.
    #[error("it would change {rows} rows now: look at the preview again")]
    Outdated {
        /// How many now.
        rows: u32,
    },
    /// No row has the key.
    #[error("no transaction has the merchant key “{key}”")]
    UnknownMerchant {
        /// Which.
        key: String,
    },
    /// Nothing to merge.
    #[error("these are one merchant already")]
    SameMerchant,
    /// No decision of that number.
    #[error("there is no decision with this number")]
    UnknownAction,
    /// Taken back before.
    #[error("this decision was taken back already")]
    AlreadyUndone,
    /// Done in a taxonomy that was left since.
    #[error("this was done in the taxonomy `{left}`, which was left for `{now}`: say anew what holds")]
    LeftTaxonomy {
        /// The taxonomy that it was done in.
        left: String,
        /// The one that took its place.
        now: String,
    },
    /// A second label that this person was not asked for, or not any more.
    #[error("you were not asked about this decision, or took too long: claim it again")]
    NotAsked,
    /// A category that the taxonomy in force does not have.
    #[error("category `{category}` can't be assigned in taxonomy {taxonomy}")]
    OffTaxonomy {
        /// What was said.
        category: Slug,
        /// The version in force.
        taxonomy: String,
    },
    /// What was decided can't be written down.
    #[error("the export can't be written")]
    Csv(#[from] csv::Error),
    /// What was decided can't be written down.
    #[error("the export can't be written")]
    Json(#[from] serde_json::Error),
    /// The database.
    #[error("the database could not be used")]
    Store(#[from] store::Error),
}

impl Desk {
    /// A desk for a taxonomy.
    #[must_use]
    pub fn new(store: Store, taxonomy: Arc<Taxonomy>) -> Self {
        Self { store, taxonomy, second_share: SECOND_SHARE }
    }

    /// With another share of decisions that a second person is asked about.
    #[must_use]
    pub fn with_second_share(self, second_share: f32) -> Self {
        Self { second_share, ..self }
    }

    /// What waits, most at risk first, whoever works on it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn waiting(&self, filter: &GroupFilter, limit: u32, now: DateTime<Utc>) -> Result<Vec<Work>, Error> {
        self.store.count_groups(now).await?;
        let groups = self.store.review_groups(filter, limit).await?;
        self.with_views(groups).await
    }

    /// Leases work to a person: what that person has already, and more, up to `limit` groups.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim(
        &self,
        filter: &GroupFilter,
        limit: u32,
        who: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<Work>, Error> {
        self.store.count_groups(now).await?;
        let groups = self.store.claim_groups(filter, limit, who, now, LEASE).await?;
        self.with_views(groups).await
    }

    async fn with_views(&self, groups: Vec<ReviewGroup>) -> Result<Vec<Work>, Error> {
        let ids: Vec<TransactionId> = groups.iter().map(|group| group.first.clone()).collect();
        let views = self.store.views(&ids).await?;
        Ok(groups.into_iter().zip(views).filter_map(|(group, view)| Some(Work { group, view: view? })).collect())
    }

    /// Gives a group back, for others.
    ///
    /// # Errors
    /// When the person does not have it, or the database fails.
    pub async fn release(&self, group: &str, who: &str) -> Result<(), Error> {
        if self.store.release_group(group, who).await? { Ok(()) } else { Err(Error::NotClaimed { by: None }) }
    }

    /// Passes a group over.
    ///
    /// # Errors
    /// When the person does not have it, or the database fails.
    pub async fn skip(&self, group: &str, who: &str, now: DateTime<Utc>) -> Result<(), Error> {
        let skipped = self.store.skip_group(group, who, now, now + SKIPPED).await?;
        if skipped { Ok(()) } else { Err(Error::NotClaimed { by: None }) }
    }

    /// Leaves a group to somebody who knows more.
    ///
    /// # Errors
    /// When the person does not have it, or the database fails.
    pub async fn escalate(&self, group: &str, note: &str, who: &str, now: DateTime<Utc>) -> Result<(), Error> {
        let escalated = self.store.escalate_group(group, note, who, now).await?;
        if escalated { Ok(()) } else { Err(Error::NotClaimed { by: None }) }
    }

    /// What a decision would change, and remember; at most `limit` rows after `after`.
    ///
    /// # Errors
    /// When there is no such transaction or category, or the database fails.
    pub async fn preview(
        &self,
        id: &TransactionId,
        category: &Slug,
        scope: CorrectionScope,
        after: Option<&TransactionId>,
        limit: u32,
    ) -> Result<Preview, Error> {
        self.check(category)?;
        let found = self.store.preview(id, scope, after, limit).await?;
        let reach = found.ok_or(Error::UnknownTransaction)?;
        let memory = memory(&reach, self.name(category), scope);
        Ok(Preview { rows: reach.rows, affected: reach.affected, memory })
    }

    /// Says what a transaction is, whoever has a lease on its group; returns it as it is then.
    ///
    /// # Errors
    /// When there is no such transaction or category, or the database fails.
    pub async fn correct(&self, correction: &Correction) -> Result<TransactionView, Error> {
        self.check(&correction.category)?;
        self.store.correct(correction).await?.ok_or(Error::UnknownTransaction)
    }

    /// Decides. Some decisions are drawn for a second person's word.
    ///
    /// # Errors
    /// When the person has no lease on the group, it was decided meanwhile, other rows would change than expected,
    /// there is no such transaction or category, or the database fails; then nothing was changed.
    pub async fn decide(&self, correction: Correction, expects: Option<u32>) -> Result<Settled, Error> {
        self.check(&correction.category)?;
        let second = drawn(correction.transaction_id.as_str(), SECOND, self.second_share);
        self.store.decide(&Verdict { correction, expects, second }).await?.map_err(|why| match why {
            DecisionRefused::Unknown => Error::UnknownTransaction,
            DecisionRefused::AlreadyDecided => Error::AlreadyDecided,
            DecisionRefused::NotClaimed { by } => Error::NotClaimed { by },
            DecisionRefused::Outdated { rows } => Error::Outdated { rows },
        })
    }

    /// Takes a decision back.
    ///
    /// # Errors
    /// When there is no such decision, it was taken back before, its taxonomy was left since, or the database fails.
    pub async fn undo(&self, action: i64, note: Option<&str>, who: &str, now: DateTime<Utc>) -> Result<Undone, Error> {
        self.store.undo(action, note, who, now).await?.map_err(|why| match why {
            UndoRefused::Unknown => Error::UnknownAction,
            UndoRefused::Already => Error::AlreadyUndone,
            UndoRefused::LeftTaxonomy { left, now } => Error::LeftTaxonomy { left, now },
        })
    }

    /// A customer says that a transaction's category is wrong: it waits for a person's eye, or the last of those that replaced it does.
    /// Returns whether it did not already.
    ///
    /// # Errors
    /// When there is no such transaction, or the database fails.
    pub async fn complain(&self, id: &TransactionId, now: DateTime<Utc>) -> Result<bool, Error> {
        let latest = self.store.latest(id).await?.ok_or(Error::UnknownTransaction)?;
        Ok(self.store.ask_people(&[latest], ReviewReason::Complaint, now).await? > 0)
    }

    /// Leases decisions of others to a person who shall label the same rows, without being told what they said.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_second(&self, limit: u32, who: &str, now: DateTime<Utc>) -> Result<Vec<AskedAgain>, Error> {
        let asked = self.store.claim_second_labels(limit, who, now, LEASE).await?;
        let ids: Vec<TransactionId> = asked.iter().map(|(_, id)| id.clone()).collect();
        let views: Vec<TransactionView> = self.store.views(&ids).await?.into_iter().flatten().collect();
        let rows: Vec<Transaction> = views.iter().map(|view| view.transaction.clone()).collect();
        let histories = self.store.history(&rows).await?;
        let mut told: HashMap<TransactionId, (TransactionView, Vec<Slug>)> = HashMap::new();
        for (view, earlier) in views.into_iter().zip(histories) {
            let history = UserHistory::fold(&earlier, &view.transaction);
            let mut suggestions = self.suggestions(&view, &history);
            // Whose word is first must not show which one was said.
            suggestions.sort_unstable();
            told.insert(view.transaction.id.clone(), (view, suggestions));
        }
        Ok(asked
            .into_iter()
            .filter_map(|(decision, id)| {
                let (view, suggestions) = told.get(&id)?.clone();
                Some(AskedAgain { decision, view, suggestions })
            })
            .collect())
    }

    /// Rows that two people labelled, neither knowing of the other's word.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn label_pairs(&self) -> Result<Vec<LabelPair>, Error> {
        Ok(self.store.label_pairs().await?.0)
    }

    /// How far people agree.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn agreement(&self) -> Result<Agreement, Error> {
        let (pairs, waiting) = self.store.label_pairs().await?;
        Ok(agreement(&pairs, waiting))
    }

    /// Stores a second label. It changes nothing that is in force.
    ///
    /// # Errors
    /// When there is no such decision, the person was not asked, there is no such category, or the database fails.
    pub async fn second_label(&self, action: i64, category: &Slug, who: &str, now: DateTime<Utc>) -> Result<(), Error> {
        self.check(category)?;
        if self.store.second_label(action, category, who, now).await? {
            return Ok(());
        }
        let upto = ActionFilter { before: Some(action.saturating_add(1)), ..ActionFilter::default() };
        let there = self.store.review_actions(&upto, 1).await?.first().is_some_and(|latest| latest.id == action);
        Err(if there { Error::NotAsked } else { Error::UnknownAction })
    }

    /// What waits, queue by queue.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lanes(&self, now: DateTime<Utc>) -> Result<Vec<LaneCount>, Error> {
        self.store.count_groups(now).await?;
        Ok(self.store.lane_counts().await?)
    }

    /// The desk in numbers.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn numbers(&self, now: DateTime<Utc>) -> Result<Numbers, Error> {
        Ok(Numbers {
            lanes: self.lanes(now).await?,
            day: self.store.throughput(now - TimeDelta::hours(24)).await?,
            agreement: self.agreement().await?,
        })
    }

    /// What pages call a category.
    fn name<'a>(&'a self, category: &'a Slug) -> &'a str {
        self.taxonomy.get(category).map_or(category.as_str(), |category| &category.name)
    }

    fn check(&self, category: &Slug) -> Result<(), Error> {
        if self.taxonomy.contains(category) {
            return Ok(());
        }
        Err(Error::OffTaxonomy { category: category.clone(), taxonomy: self.taxonomy.version().to_owned() })
    }
}

/// The rule that a decision leaves, in words.
fn memory(reach: &Reach, category: &str, scope: CorrectionScope) -> Option<String> {
    let row = &reach.at_hand.transaction;
    let merchant = reach.merchant.as_deref().filter(|merchant| !merchant.is_empty())?;
    let direction = row.direction;
    match scope {
        CorrectionScope::Transaction => None,
        CorrectionScope::AccountMerchant => {
            Some(format!("every later {direction} of “{merchant}” on account {} is “{category}”", row.account_id))
        }
        CorrectionScope::Merchant => Some(format!(
            "every later {direction} of “{merchant}” is “{category}”, on any account without a rule of its own"
        )),
    }
}

fn agreement(pairs: &[LabelPair], waiting: u32) -> Agreement {
    let mut numbers: BTreeMap<&Slug, usize> = BTreeMap::new();
    for slug in pairs.iter().flat_map(|pair| [&pair.first, &pair.second]) {
        let next = numbers.len();
        numbers.entry(slug).or_insert(next);
    }
    let numbered = |pair: &LabelPair| (numbers[&pair.first], numbers[&pair.second]);
    let mut people: BTreeMap<(&str, &str), Vec<(usize, usize)>> = BTreeMap::new();
    for pair in pairs {
        people.entry((&pair.first_by, &pair.second_by)).or_default().push(numbered(pair));
    }
    let all: Vec<(usize, usize)> = pairs.iter().map(numbered).collect();
    let agreeing = all.iter().filter(|(first, second)| first == second).count();
    Agreement {
        pairs: all.len(),
        agreeing: (!all.is_empty()).then(|| agreeing as f64 / all.len() as f64),
        kappa: kappa(&all),
        waiting,
        people: people
            .into_iter()
            .map(|((first, second), pairs)| PairAgreement {
                first: first.to_owned(),
                second: second.to_owned(),
                pairs: pairs.len(),
                kappa: kappa(&pairs),
            })
            .collect(),
    }
}
