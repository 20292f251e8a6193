//! Each account's rows in time, so that any row can be given what came before it.
//!
//! The counterpart of the store's history query: both feed [`UserHistory::fold`] with the account's
//! rows strictly earlier in `(posted_at, id)`, at most [`HISTORY_WINDOW`] of them, ascending.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::domain::{
    AccountId, EnrichedTransaction, HistoryEntry, MerchantMatch, Transaction, TransactionId, UserHistory,
    enrichment::{HISTORY_WINDOW, KnownLabel},
};

/// All accounts' rows, ascending by `(posted_at, id)` within each.
#[derive(Debug, Clone, Default)]
pub struct Timelines {
    accounts: HashMap<AccountId, Vec<Visit>>,
}

#[derive(Debug, Clone)]
struct Visit {
    id: TransactionId,
    entry: HistoryEntry,
}

impl Visit {
    fn place(&self) -> (DateTime<Utc>, &TransactionId) {
        (self.entry.posted_at, &self.id)
    }
}

impl Timelines {
    /// Adds rows, each with the label that is known of it, and sorts. A row that is there already stays as it is.
    pub fn extend<'a>(&mut self, rows: impl IntoIterator<Item = (&'a Transaction, Option<KnownLabel>)>) {
        for (row, label) in rows {
            self.push(row, label);
        }
        self.sort();
    }

    /// Adds one row; [`Self::sort`] before the next question.
    pub(super) fn push(&mut self, row: &Transaction, label: Option<KnownLabel>) {
        let entry = HistoryEntry {
            posted_at: row.posted_at,
            key: row.descriptor.key().clone(),
            amount: row.amount,
            direction: row.direction,
            label,
        };
        let visit = Visit { id: row.id.clone(), entry };
        match self.accounts.get_mut(&row.account_id) {
            Some(visits) => visits.push(visit),
            None => _ = self.accounts.insert(row.account_id.clone(), vec![visit]),
        }
    }

    pub(super) fn sort(&mut self) {
        for visits in self.accounts.values_mut() {
            // Stable: of two rows with one id, the one added first is kept.
            visits.sort_by(|a, b| a.place().cmp(&b.place()));
            visits.dedup_by(|later, earlier| later.place() == earlier.place());
            visits.shrink_to_fit();
        }
    }

    /// Tells that a row's label is known since the row was posted.
    pub(super) fn label(&mut self, row: &Transaction, label: KnownLabel) {
        let Some(visits) = self.accounts.get_mut(&row.account_id) else { return };
        if let Ok(index) = visits.binary_search_by(|visit| visit.place().cmp(&(row.posted_at, &row.id))) {
            visits[index].entry.label = Some(label);
        }
    }

    /// The rows of this row's account before it, ascending, at most [`HISTORY_WINDOW`].
    pub fn before(&self, at: &Transaction) -> impl Iterator<Item = &HistoryEntry> {
        let visits = self.accounts.get(&at.account_id).map_or(&[][..], Vec::as_slice);
        let end = visits.partition_point(|visit| visit.place() < (at.posted_at, &at.id));
        visits[end.saturating_sub(HISTORY_WINDOW)..end].iter().map(|visit| &visit.entry)
    }

    /// When the account's first row was posted.
    #[must_use]
    pub fn since(&self, account: &AccountId) -> Option<DateTime<Utc>> {
        self.accounts.get(account)?.first().map(|visit| visit.entry.posted_at)
    }

    /// What the account did before this row.
    #[must_use]
    pub fn history(&self, at: &Transaction) -> UserHistory {
        UserHistory::fold(self.before(at), at)
    }

    /// A row with its merchant and what its account did before.
    pub fn enriched(
        &self,
        at: &Transaction,
        merchant: impl Fn(&Transaction) -> Option<MerchantMatch>,
    ) -> EnrichedTransaction {
        EnrichedTransaction { transaction: at.clone(), merchant: merchant(at), history: self.history(at) }
    }

    /// Rows in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.values().map(Vec::len).sum()
    }

    /// Whether there is no row at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }
}
