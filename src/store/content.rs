//! The content of a transaction in 32 bytes: what tells a repeated call from a contradicting one.

use chrono::SubsecRound;
use sha2::{Digest, Sha256};

use crate::domain::{
    Transaction, TransactionId,
    transaction::{Channel, Counterparty, Country, Mcc},
};

/// SHA-256 over every field the caller told, in a fixed order, each with its length, so that no two
/// contents run together. Times count to the microsecond and amounts by value, as they are stored.
pub(super) fn content_hash(transaction: &Transaction) -> [u8; 32] {
    let Transaction {
        id,
        account_id,
        posted_at,
        amount,
        direction,
        descriptor,
        mcc,
        country,
        channel,
        counterparty,
        status,
        replaces,
    } = transaction;
    let fields = [
        Some(id.as_str()),
        Some(account_id.as_str()),
        Some(&posted_at.trunc_subsecs(6).timestamp_micros().to_string()),
        Some(&amount.amount().normalize().to_string()),
        Some(amount.currency().code()),
        Some(direction.as_str()),
        Some(descriptor.raw()),
        mcc.as_ref().map(Mcc::as_str),
        country.as_ref().map(Country::as_str),
        channel.map(Channel::as_str),
        counterparty.as_ref().map(Counterparty::as_str),
        Some(status.as_str()),
        replaces.as_ref().map(TransactionId::as_str),
    ];
    let mut hash = Sha256::new_with_prefix(b"txcat transaction 1");
    for field in fields {
        match field {
            // No text is as long as the mark of an absent one.
            None => hash.update(u64::MAX.to_le_bytes()),
            Some(text) => {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
        }
    }
    hash.finalize().into()
}
