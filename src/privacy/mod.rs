//! What is known of one account, how it is erased, and how long rows are kept.
//!
//! It reads and removes, and decides nothing about transactions. The SQL stands in `store`; `http` and `cli` ask.

mod retention;

use chrono::{DateTime, Utc};
use rand::RngCore;
use sha2::{Digest, Sha256};

pub use retention::{InvalidRetention, Kept, Retention};

use crate::{
    domain::AccountId,
    store::{AccountRows, Erased, Error, NewErasure, Store},
};

/// Erases an account: every table loses what it held of it, and what was learned from it is marked. None where nothing of it is
/// here. Rows that are sent later are rows of an account like any other.
///
/// # Errors
/// When the database fails; then nothing was erased.
pub async fn erase(
    store: &Store,
    account: &AccountId,
    by: &str,
    random: &mut impl RngCore,
    now: DateTime<Utc>,
) -> Result<Option<Erased>, Error> {
    let mut salt = [0; 16];
    random.fill_bytes(&mut salt);
    let digest = Sha256::new().chain_update(salt).chain_update(account.as_str()).finalize().into();
    let erasure = NewErasure { salt, digest, made_by: by.to_owned(), made_at: now };
    store.erase_account(account, &erasure).await
}

/// All that is stored of an account, for whoever it belongs to. None where nothing is.
///
/// # Errors
/// When the database fails.
pub async fn export(store: &Store, account: &AccountId) -> Result<Option<AccountRows>, Error> {
    store.account_rows(account).await
}
