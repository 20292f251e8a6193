//! Reduces a merchant text to what is stable.

use super::{DescriptorKey, clean::fold, parts::Parts};

/// The key of a merchant text.
pub(super) fn stable(merchant: &str, _parts: &Parts) -> DescriptorKey {
    let folded = fold(merchant);
    let words = folded
        .split(|c: char| c.is_whitespace() || matches!(c, '*' | '#' | '/'))
        .filter(|word| !word.contains(|c: char| c.is_numeric()))
        .flat_map(|word| word.split(|c: char| !c.is_alphabetic() && c != '&' && c != '\''))
        .filter(|word| !word.is_empty());
    DescriptorKey(words.collect::<Vec<_>>().join(" ").into())
}
