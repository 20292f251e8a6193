//! Reads the parts of a cleaned statement text.

/// Everything that is not the merchant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) processor: Option<&'static str>,
    pub(super) store_number: Option<String>,
    pub(super) order_code: Option<String>,
    pub(super) phone: Option<String>,
    pub(super) masked_card: Option<String>,
    pub(super) date: Option<StatementDate>,
    pub(super) place: Option<Place>,
}

/// A date as a statement text tells it: often without the year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementDate {
    /// The year, where it was told.
    pub year: Option<i32>,
    /// 1–12.
    pub month: u32,
    /// 1–31.
    pub day: u32,
}

/// Where it happened, as the text tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The city, as written.
    pub city: Option<String>,
    /// State or province, in capitals.
    pub region: Option<String>,
    /// ISO 3166-1 alpha-2, in capitals.
    pub country: Option<String>,
}

/// Splits a cleaned text into the merchant's part and the rest.
pub(super) fn read(raw: &str) -> (String, Parts) {
    (raw.split_whitespace().collect::<Vec<_>>().join(" "), Parts::default())
}
