//! A data set's files, written as [`dataset`](super::dataset) reads them.

use std::io;

use crate::domain::{Taxonomy, Transaction};

/// A labelled row to write.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    /// The row.
    pub transaction: &'a Transaction,
    /// Its category.
    pub category: &'a str,
    /// Who said so; empty where nobody is named.
    pub labelled_by: &'a str,
}

/// `categories.csv` of a taxonomy.
///
/// # Errors
/// Never where memory suffices: nothing is written to a file.
pub fn categories(taxonomy: &Taxonomy) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["category", "description"])?;
    for category in taxonomy.assignable() {
        writer.write_record([category.slug.as_str(), &category.description])?;
    }
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}

/// A file of labelled rows.
///
/// # Errors
/// As [`categories`].
pub fn rows<'a>(rows: impl IntoIterator<Item = Written<'a>>) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = "id,posted_on,account_id,descriptor,amount,direction,currency,category,labelled_by";
    writer.write_record(header.split(','))?;
    for Written { transaction, category, labelled_by } in rows {
        writer.write_record([
            transaction.id.as_str(),
            &transaction.posted_at.to_rfc3339(),
            transaction.account_id.as_str(),
            transaction.descriptor.raw(),
            &transaction.amount.amount().to_string(),
            transaction.direction.as_str(),
            transaction.amount.currency().code(),
            category,
            labelled_by,
        ])?;
    }
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}
