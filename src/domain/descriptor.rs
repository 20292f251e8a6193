//! The statement text: raw, parsed into parts, and reduced to a key that is stable across visits.

/// The text of one statement line and what could be read from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    raw: Box<str>,
    merchant: Box<str>,
    key: DescriptorKey,
}

/// What stays the same from one visit of a merchant to the next: lower case, no store number,
/// order code, place or date. Empty when nothing but such codes was there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DescriptorKey(Box<str>);
