//! Which OpenStreetMap tags are merchants, and the consumer category each one means.
//!
//! `data/kinds.csv` is both the curation of the brand table (a tag that is not listed is no
//! merchant: power lines, schools' land, public toilets) and the bridge to our own taxonomy.

use std::{collections::HashMap, sync::LazyLock};

use serde::Deserialize;

use crate::domain::Slug;

/// What one OpenStreetMap tag is to us.
#[derive(Debug, Clone, Deserialize)]
pub struct Kind {
    /// The tag, such as `shop=supermarket`.
    pub kind: String,
    /// The consumer category that it usually means.
    pub category: Option<Slug>,
    /// Among entries of one name: 1 is the name's main business, 2 and 3 are side businesses.
    pub rank: u8,
}

static KINDS: LazyLock<HashMap<String, Kind>> = LazyLock::new(|| {
    csv::Reader::from_reader(include_str!("data/kinds.csv").as_bytes())
        .deserialize::<Kind>()
        .filter_map(Result::ok)
        .map(|kind| (kind.kind.clone(), kind))
        .collect()
});

/// What a tag is to us; `None` for one that is no merchant.
#[must_use]
pub fn kind(tag: &str) -> Option<&'static Kind> {
    KINDS.get(tag)
}

/// All tags that are merchants, in no order.
pub fn kinds() -> impl Iterator<Item = &'static Kind> {
    KINDS.values()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_kinds_file_is_read() {
        let lines = include_str!("data/kinds.csv").lines().count() - 1;
        assert_eq!(kinds().count(), lines);
        assert!(kinds().all(|kind| (1..=3).contains(&kind.rank)));
    }
}
