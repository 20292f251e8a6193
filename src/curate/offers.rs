//! The statement texts whose labels could be bought next.

use std::collections::HashSet;

use crate::{
    domain::DescriptorKey,
    evaluate::{
        labels::Candidate,
        market::{Market, Unit},
    },
};

/// A statement text without a label, by its newest row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Offer {
    /// The row: a place among the market's candidates.
    pub row: usize,
    /// Its merchant: a place in the market.
    pub merchant: usize,
    /// Whether the merchant has a label.
    pub known: bool,
    /// Whether it is the merchant's heaviest offer: the one to begin with.
    pub leads: bool,
    /// The text's traffic.
    pub of_text: f64,
    /// The merchant's traffic.
    pub of_merchant: f64,
}

/// Texts and merchants that have a label.
#[derive(Debug, Clone, Default)]
pub struct Covered<'a> {
    texts: HashSet<&'a str>,
    keys: HashSet<&'a DescriptorKey>,
}

impl<'a> Covered<'a> {
    /// By these rows' labels.
    #[must_use]
    pub fn by(rows: impl IntoIterator<Item = &'a Candidate>) -> Self {
        let mut covered = Self::default();
        for row in rows {
            covered.texts.insert(&row.descriptor);
            covered.keys.insert(&row.key);
        }
        covered
    }

    /// With merchants that had a label long ago: their texts are offered again.
    #[must_use]
    pub fn with_keys(mut self, keys: impl IntoIterator<Item = &'a DescriptorKey>) -> Self {
        self.keys.extend(keys);
        self
    }

    /// Whether the merchant has a label. Rows without a key have nothing in common.
    #[must_use]
    pub fn knows(&self, key: &DescriptorKey) -> bool {
        !key.is_empty() && self.keys.contains(key)
    }
}

/// The texts whose label may be bought and isn't yet, merchants with most traffic first: by the newest row of
/// each, where `may` allows that one.
#[must_use]
pub fn offers(market: &Market<'_>, covered: &Covered<'_>, may: impl Fn(usize) -> bool) -> Vec<Offer> {
    let mut offers = Vec::new();
    for (place, merchant) in market.merchants.iter().enumerate() {
        let open = |unit: &&Unit<'_>| !covered.texts.contains(unit.descriptor) && may(unit.newest);
        offers.extend(merchant.units.iter().filter(open).enumerate().map(|(nth, unit)| Offer {
            row: unit.newest,
            merchant: place,
            known: covered.knows(merchant.key),
            // Without a key, a label stands for its own text.
            leads: nth == 0 || merchant.key.is_empty(),
            of_text: unit.volume,
            of_merchant: if merchant.key.is_empty() { unit.volume } else { merchant.volume },
        }));
    }
    offers
}
