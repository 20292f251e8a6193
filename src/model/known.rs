//! Answers given before, by what was asked of which adapter: the same row comes again with every retry, preview
//! and new look at a month.
//!
//! Bounded, and exact: the key is a 128-bit hash of everything that an answer depends on. What nobody has asked for
//! while half as many others came is forgotten.

use std::collections::HashMap;

use xxhash_rust::xxh3::Xxh3;

use super::{AdapterInput, AdapterOutput};

/// How often answers were known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KnownWork {
    /// Rows that were asked for.
    pub asked: u64,
    /// Those whose answer was known.
    pub known: u64,
}

/// Answers by the hash of what was asked.
#[derive(Debug, Default)]
pub(super) struct Known {
    most: usize,
    young: HashMap<u128, AdapterOutput>,
    old: HashMap<u128, AdapterOutput>,
    pub(super) work: KnownWork,
}

impl Known {
    pub(super) fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    pub(super) fn answer(&mut self, key: u128) -> Option<AdapterOutput> {
        self.work.asked += 1;
        let found = self.young.get(&key).cloned().or_else(|| {
            let again = self.old.remove(&key)?;
            self.keep(key, again.clone());
            Some(again)
        })?;
        self.work.known += 1;
        Some(found)
    }

    pub(super) fn keep(&mut self, key: u128, answer: AdapterOutput) {
        if self.most == 0 {
            return;
        }
        if self.young.len() >= self.most.div_ceil(2) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, answer);
    }
}

/// The hash of an input to the adapter of this hash, computed in bytes or not.
pub(super) fn key(adapter: &str, int8: bool, input: &AdapterInput) -> u128 {
    let AdapterInput { text, descriptor, key, processor, payment, earlier } = input;
    let mut hasher = Xxh3::new();
    // Each with its length, so that no two inputs become the same bytes.
    let mut add = |bytes: &[u8]| {
        hasher.update(&bytes.len().to_le_bytes());
        hasher.update(bytes);
    };
    [adapter, text, descriptor, key, processor].into_iter().for_each(|text| add(text.as_bytes()));
    add(&[u8::from(int8)]);
    if let Some(payment) = payment {
        add(&payment.amount.to_bits().to_le_bytes());
        add(&[u8::from(payment.credit), u8::from(payment.weekend)]);
    }
    for (key, count) in earlier {
        add(key.as_bytes());
        add(&count.to_le_bytes());
    }
    hasher.digest128()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(probability: f32) -> AdapterOutput {
        AdapterOutput { probabilities: vec![probability], encoder_probabilities: Vec::new(), known: None }
    }

    #[test]
    fn no_more_is_kept_than_was_allowed_and_what_is_asked_for_stays() {
        let mut known = Known::new(10);
        for key in 0..100 {
            known.keep(key, answer(key as f32));
            assert_eq!(known.answer(0), Some(answer(0.0)), "after {key}");
            assert!(known.young.len() + known.old.len() <= 10);
        }
        assert!(known.answer(99).is_some() && known.answer(50).is_none());
        assert_eq!(known.work, KnownWork { asked: 102, known: 101 });
        let mut nothing = Known::new(0);
        nothing.keep(1, answer(1.0));
        assert_eq!(nothing.answer(1), None);
    }

    #[test]
    fn another_input_adapter_or_precision_has_another_key() {
        let input = AdapterInput { text: "ab".into(), descriptor: "c".into(), ..AdapterInput::default() };
        let shifted = AdapterInput { text: "a".into(), descriptor: "bc".into(), ..AdapterInput::default() };
        let earlier = AdapterInput { earlier: vec![("x".into(), 1)], ..input.clone() };
        let keys = [
            key("1", false, &input),
            key("2", false, &input),
            key("1", true, &input),
            key("1", false, &shifted),
            key("1", false, &earlier),
        ];
        assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), keys.len());
        assert_eq!(keys[0], key("1", false, &input.clone()));
    }
}
