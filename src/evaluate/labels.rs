//! Which rows of the pool to have labelled, within a budget.
//!
//! What to label matters more than how many: a merchant that comes every day is worth its label, its
//! hundredth copy is not. The choice sees no label, only ids, keys and times.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use crate::domain::{DescriptorKey, TransactionId};

/// A row whose label could be bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which row.
    pub id: TransactionId,
    /// Its merchant, as far as the text tells.
    pub key: DescriptorKey,
    /// When.
    pub posted_at: DateTime<Utc>,
}

/// How the rows to be labelled are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// [`choose`] under a budget.
    Budget {
        /// At most so many labels.
        budget: usize,
        /// Which of many equally good choices.
        seed: u64,
    },
    /// A list of ids that somebody chose elsewhere.
    Listed(HashSet<TransactionId>),
}

/// The labels that were bought: a label used for anything is in here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// The rows, by id.
    pub ids: HashSet<TransactionId>,
    /// How they were found.
    pub choice: Choice,
}

impl Labels {
    /// Chooses among the candidates. Never more than the budget.
    #[must_use]
    pub fn buy(choice: Choice, candidates: &[Candidate]) -> Self {
        let ids = match &choice {
            Choice::Budget { budget, seed } => {
                choose(candidates, *budget, *seed).into_iter().map(|index| candidates[index].id.clone()).collect()
            }
            Choice::Listed(ids) => {
                candidates.iter().filter(|row| ids.contains(&row.id)).map(|row| row.id.clone()).collect()
            }
        };
        Self { ids, choice }
    }

    /// The ids in order.
    #[must_use]
    pub fn sorted(&self) -> Vec<&TransactionId> {
        let mut ids: Vec<_> = self.ids.iter().collect();
        ids.sort();
        ids
    }

    /// SHA-256 of the sorted ids, one a line: two runs with the same digest used the same labels.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for id in self.sorted() {
            hash.update(id.as_str());
            hash.update("\n");
        }
        hex::encode(hash.finalize())
    }
}

/// Indices of the candidates to buy: two thirds of the budget go to the most frequent keys, one row
/// each; the rest is drawn at random, which weighs by volume. The same seed gives the same rows.
#[must_use]
pub fn choose(candidates: &[Candidate], budget: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut keys: HashMap<&DescriptorKey, (usize, usize)> = HashMap::new();
    for &index in &order {
        keys.entry(&candidates[index].key).or_insert((0, index)).0 += 1;
    }
    let mut frequent: Vec<_> = keys.into_iter().collect();
    frequent.sort_by(|(a, (a_rows, _)), (b, (b_rows, _))| b_rows.cmp(a_rows).then(a.cmp(b)));
    let mut chosen: Vec<usize> = frequent.into_iter().map(|(_, (_, index))| index).take(budget * 2 / 3).collect();
    let taken: HashSet<usize> = chosen.iter().copied().collect();
    let rest = budget - chosen.len();
    chosen.extend(order.into_iter().filter(|index| !taken.contains(index)).take(rest));
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidates(keys: &[u8]) -> Vec<Candidate> {
        keys.iter()
            .enumerate()
            .map(|(index, key)| Candidate {
                id: format!("row-{index}").parse().unwrap(),
                key: DescriptorKey::from_stored(&format!("merchant {key}")),
                posted_at: DateTime::UNIX_EPOCH,
            })
            .collect()
    }

    proptest! {
        #[test]
        fn the_budget_is_never_passed_and_no_label_is_bought_twice(
            keys in prop::collection::vec(0..30_u8, 0..200), budget in 0..250_usize, seed in any::<u64>(),
        ) {
            let candidates = candidates(&keys);
            let chosen = choose(&candidates, budget, seed);
            let distinct: HashSet<usize> = chosen.iter().copied().collect();
            prop_assert_eq!(distinct.len(), chosen.len());
            prop_assert_eq!(chosen.len(), budget.min(candidates.len()));
            prop_assert_eq!(choose(&candidates, budget, seed), chosen);
        }
    }

    #[test]
    fn the_most_frequent_merchants_are_all_labelled() {
        let keys: Vec<u8> = (0..100).map(|row| if row < 80 { row % 4 } else { row }).collect();
        let candidates = candidates(&keys);
        let chosen = choose(&candidates, 6, 1);
        let labelled: HashSet<u8> = chosen.iter().map(|&index| keys[index]).collect();
        assert!((0..4).all(|key| labelled.contains(&key)));
    }

    #[test]
    fn a_list_from_elsewhere_is_taken_as_it_is_and_the_digest_tells_lists_apart() {
        let candidates = candidates(&[1, 2, 3]);
        let list = |ids: &[&str]| Choice::Listed(ids.iter().map(|id| id.parse().unwrap()).collect());
        let one = Labels::buy(list(&["row-1", "not there"]), &candidates);
        assert_eq!(one.sorted(), [&candidates[1].id]);
        assert_ne!(one.digest(), Labels::buy(list(&["row-2"]), &candidates).digest());
    }
}
