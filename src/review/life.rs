//! A correction's whole life: what was predicted, why people were asked, what they said, what is remembered of it, and
//! what learned from it.

use super::{Desk, Error};
use crate::{
    domain::TransactionId,
    enrich::examples,
    store::{ActionFilter, GivenLabel, HoldingSet, LeftRule, Opinion, ReviewAction, TransactionView, Waited},
};

/// Acts of the trail that are shown.
const MOST_ACTIONS: u32 = 100;

/// Everything that is known of one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Life {
    /// The transaction, its latest prediction, and what is in force.
    pub view: TransactionView,
    /// What engines said, the latest first.
    pub opinions: Vec<Opinion>,
    /// Why it waited.
    pub waited: Option<Waited>,
    /// What people did that changed it, the latest first.
    pub actions: Vec<ReviewAction>,
    /// The labels that it was given, the latest first.
    pub labels: Vec<GivenLabel>,
    /// The rules that decisions on it left.
    pub rules: Vec<LeftRule>,
    /// The labelled sets that hold it.
    pub sets: Vec<HoldingSet>,
}

impl Life {
    /// The label that counts now.
    #[must_use]
    pub fn label(&self) -> Option<&GivenLabel> {
        self.labels.iter().find(|label| !label.withdrawn)
    }

    /// Whether prompts may be shown its text as an example.
    #[must_use]
    pub fn is_example(&self) -> bool {
        self.view.replaced_by.is_none() && self.label().is_some_and(|label| label.later < examples::MOST)
    }
}

impl Desk {
    /// A transaction's whole life.
    ///
    /// # Errors
    /// When there is no such transaction, or the database fails.
    pub async fn life(&self, id: &TransactionId) -> Result<Life, Error> {
        let about = ActionFilter { transaction_id: Some(id.clone()), ..ActionFilter::default() };
        Ok(Life {
            view: self.store.view(id).await?.ok_or(Error::UnknownTransaction)?,
            opinions: self.store.opinions(id).await?,
            waited: self.store.waited(id).await?,
            actions: self.store.review_actions(&about, MOST_ACTIONS).await?,
            labels: self.store.given_labels(id).await?,
            rules: self.store.left_rules(id).await?,
            sets: self.store.holding_sets(id).await?,
        })
    }
}
