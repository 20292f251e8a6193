//! What encoders and heads said before, by text: the same text comes again with every retry, with every row of another
//! account that pays as much at the same place, and with every new look at a month. What lies beside the encoder is computed
//! for each row anew, in microseconds.
//!
//! Bounded, and exact: the key is a 128-bit hash of everything that the numbers depend on. What nobody has asked for
//! while half as many others came is forgotten.

use std::{collections::HashMap, sync::Arc};

use xxhash_rust::xxh3::Xxh3;

use super::infer::Format;

/// What the encoder and the head say of a text, by class.
pub(super) type Logits = Arc<[f32]>;

/// How often texts were known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KnownWork {
    /// Rows that were asked for.
    pub asked: u64,
    /// Those whose text was not read for them: it was known, or another row of the batch has it.
    pub known: u64,
}

/// Logits by the hash of adapter and text.
#[derive(Debug, Default)]
pub(super) struct Known {
    most: usize,
    young: HashMap<u128, Logits>,
    old: HashMap<u128, Logits>,
    pub(super) work: KnownWork,
}

impl Known {
    pub(super) fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    pub(super) fn logits(&mut self, key: u128) -> Option<Logits> {
        self.young.get(&key).cloned().or_else(|| {
            let again = self.old.remove(&key)?;
            self.keep(key, again.clone());
            Some(again)
        })
    }

    pub(super) fn keep(&mut self, key: u128, logits: Logits) {
        if self.most == 0 {
            return;
        }
        if self.young.len() >= self.most.div_ceil(2) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, logits);
    }
}

/// The hash of a text for the adapter of this hash, computed in this format or in `f32`.
pub(super) fn key(adapter: &str, format: Option<Format>, text: &str) -> u128 {
    let mut hasher = Xxh3::new();
    // Each with its length, so that no two questions become the same bytes.
    for part in [adapter, text, format.map_or("", Format::name)] {
        hasher.update(&part.len().to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.digest128()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_was_allowed_and_what_is_asked_for_stays() {
        let mut known = Known::new(10);
        for key in 0..100 {
            known.keep(key, [key as f32].into());
            assert_eq!(known.logits(0).as_deref(), Some(&[0.0][..]), "after {key}");
            assert!(known.young.len() + known.old.len() <= 10);
        }
        assert!(known.logits(99).is_some() && known.logits(50).is_none());
        let mut nothing = Known::new(0);
        nothing.keep(1, [1.0].into());
        assert_eq!(nothing.logits(1), None);
    }

    #[test]
    fn another_text_adapter_or_precision_has_another_key() {
        let formats = [None, Some(Format::Int8), Some(Format::Bf16)];
        let mut keys = formats.map(|format| key("1", format, "ab")).to_vec();
        keys.extend([key("2", None, "ab"), key("1a", None, "b")]);
        assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), keys.len());
        assert_eq!(keys[0], key("1", None, "ab"));
    }
}
