//! Which rows of the pool to have labelled, within a budget.
//!
//! What to label matters more than how many: a merchant that comes every day is worth its label, its
//! hundredth copy is not, and a merchant whose statement texts have different labels (stores of one
//! chain) is worth several. Only labels that were bought are looked at: [`Vault`] keeps the others shut.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::market::Market;
use crate::domain::{DescriptorKey, Transaction, TransactionId};

/// Share of the budget that goes to the heaviest keys, one label each.
const FIRST_SHARE: f64 = 0.8;
/// The rest is bought in so many rounds, each knowing the labels of those before.
const ROUNDS: usize = 6;

/// A row whose label could be bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which row.
    pub id: TransactionId,
    /// Its statement text.
    pub descriptor: Box<str>,
    /// Its merchant, as far as the text tells.
    pub key: DescriptorKey,
    /// When.
    pub posted_at: DateTime<Utc>,
}

impl Candidate {
    /// A row as a candidate.
    #[must_use]
    pub fn of(row: &Transaction) -> Self {
        Self {
            id: row.id.clone(),
            descriptor: row.descriptor.raw().into(),
            key: row.descriptor.key().clone(),
            posted_at: row.posted_at,
        }
    }
}

/// How the rows to be labelled are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// [`choose`] under a budget.
    Budget {
        /// At most so many labels.
        budget: usize,
        /// For what is left when every statement text has its label, and is drawn at random.
        seed: u64,
    },
    /// A list of ids that somebody chose elsewhere.
    Listed(HashSet<TransactionId>),
}

/// The pool's labels, each shut until it is bought.
pub struct Vault {
    labels: Vec<u16>,
    opened: HashSet<usize>,
    budget: usize,
}

impl Vault {
    /// Locks labels (as numbers of categories) away, in the order of the candidates.
    #[must_use]
    pub fn new(labels: Vec<u16>, budget: usize) -> Self {
        Self { labels, opened: HashSet::new(), budget }
    }

    /// Buys a label. `None` when the budget is spent, or there is no such row.
    pub fn open(&mut self, row: usize) -> Option<u16> {
        if !self.opened.contains(&row) && self.opened.len() >= self.budget {
            return None;
        }
        let label = *self.labels.get(row)?;
        self.opened.insert(row);
        Some(label)
    }
}

/// The labels that were bought: a label used for anything is in here.
#[derive(Debug, Clone, PartialEq)]
pub struct Labels {
    /// The rows, by id, with the weight each should have in training: how much traffic, recent rows
    /// first, it stands for. The mean weight is 1.
    pub weights: HashMap<TransactionId, f32>,
    /// How they were found.
    pub choice: Choice,
}

impl Labels {
    /// Chooses among the candidates. Never more than the budget.
    #[must_use]
    pub fn buy(choice: Choice, candidates: &[Candidate], labels: Vec<u16>) -> Self {
        let market = Market::new(candidates);
        let bought = match &choice {
            Choice::Budget { budget, seed } => choose(&market, Vault::new(labels, *budget), *seed),
            Choice::Listed(ids) => (0..candidates.len()).filter(|&index| ids.contains(&candidates[index].id)).collect(),
        };
        let weights = market.weights(&bought);
        let weights = bought.iter().map(|&index| candidates[index].id.clone()).zip(weights).collect();
        Self { weights, choice }
    }

    /// The ids in order.
    #[must_use]
    pub fn sorted(&self) -> Vec<&TransactionId> {
        let mut ids: Vec<_> = self.weights.keys().collect();
        ids.sort();
        ids
    }

    /// SHA-256 of the sorted ids, one a line: two runs with the same digest used the same labels.
    #[must_use]
    pub fn digest(&self) -> String {
        digest(&self.sorted())
    }
}

/// SHA-256 of sorted ids, one a line.
#[must_use]
pub fn digest(sorted: &[&TransactionId]) -> String {
    let mut hash = Sha256::new();
    for id in sorted {
        hash.update(id.as_str());
        hash.update("\n");
    }
    hex::encode(hash.finalize())
}

/// A key one of whose labels was bought.
struct Open {
    merchant: usize,
    taken: usize,
    labels: HashMap<u16, usize>,
}

impl Open {
    /// How likely the next label differs from the most frequent so far.
    fn doubt(&self) -> f64 {
        let most = self.labels.values().max().copied().unwrap_or(0);
        ((self.taken - most) as f64 + 0.3) / (self.taken as f64 + 3.0)
    }
}

/// Indices of the candidates to buy, in buying order: the newest row of the heaviest text of the
/// heaviest keys; then, in rounds, further texts where volume × doubt about the key is largest; last, at
/// random, what the budget leaves. The same candidates, labels and seed give the same rows.
#[must_use]
pub fn choose(market: &Market<'_>, mut vault: Vault, seed: u64) -> Vec<usize> {
    let budget = vault.budget;
    let first = (budget as f64 * FIRST_SHARE) as usize;
    let mut bought = Vec::with_capacity(budget);
    let mut open = Vec::with_capacity(first);
    for (merchant, found) in market.merchants.iter().enumerate().take(first) {
        let row = found.units[0].newest;
        let Some(label) = vault.open(row) else { break };
        bought.push(row);
        open.push(Open { merchant, taken: 1, labels: HashMap::from([(label, 1)]) });
    }
    let rest = budget - bought.len();
    for round in 0..ROUNDS {
        let mut offers: Vec<(f64, usize, usize)> = open
            .iter()
            .enumerate()
            .flat_map(|(place, key)| {
                let doubt = key.doubt();
                let units = &market.merchants[key.merchant].units;
                let next = units.iter().skip(key.taken).take(key.taken);
                next.map(move |unit| (unit.volume * doubt, place, unit.newest))
            })
            .collect();
        offers.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.2.cmp(&b.2)));
        for (_, place, row) in offers.into_iter().take(rest / ROUNDS + usize::from(round < rest % ROUNDS)) {
            let Some(label) = vault.open(row) else { break };
            bought.push(row);
            open[place].taken += 1;
            *open[place].labels.entry(label).or_default() += 1;
        }
    }
    if bought.len() < budget {
        let taken: HashSet<usize> = bought.iter().copied().collect();
        let mut others: Vec<usize> = (0..market.candidates.len()).filter(|row| !taken.contains(row)).collect();
        others.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        bought.extend(others.into_iter().take(budget - taken.len()).filter(|&row| vault.open(row).is_some()));
    }
    bought
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `(key, store)` of each row.
    fn candidates(rows: &[(u8, u8)]) -> Vec<Candidate> {
        rows.iter()
            .enumerate()
            .map(|(index, (key, store))| Candidate {
                id: format!("row-{index}").parse().unwrap(),
                descriptor: format!("MERCHANT {key} #{store}").into(),
                key: DescriptorKey::from_stored(&format!("merchant {key}")),
                posted_at: DateTime::UNIX_EPOCH + chrono::Duration::days(index as i64),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn the_budget_is_never_passed_and_no_label_is_bought_twice(
            rows in prop::collection::vec((0..30_u8, 0..3_u8), 0..200), budget in 0..250_usize, seed in any::<u64>(),
        ) {
            let candidates = candidates(&rows);
            let labels: Vec<u16> = rows.iter().map(|(_, store)| u16::from(*store)).collect();
            let buy = || choose(&Market::new(&candidates), Vault::new(labels.clone(), budget), seed);
            let chosen = buy();
            let distinct: HashSet<usize> = chosen.iter().copied().collect();
            prop_assert_eq!(distinct.len(), chosen.len());
            prop_assert_eq!(chosen.len(), budget.min(candidates.len()));
            prop_assert_eq!(buy(), chosen);
            let bought = Labels::buy(Choice::Budget { budget, seed }, &candidates, labels);
            let sum: f32 = bought.weights.values().sum();
            prop_assert!((sum - bought.weights.len() as f32).abs() < 0.01 * (1.0 + sum));
        }
    }

    #[test]
    fn the_heaviest_merchants_are_labelled_and_one_whose_stores_differ_more_than_once() {
        // Two heavy merchants of ten stores each: one's stores all have one label, the other's do not.
        let rows: Vec<(u8, u8)> =
            (0..200).map(|row| (row % 2, row / 2 % 10)).chain((2..20).map(|key| (key, 0))).collect();
        let labels: Vec<u16> =
            rows.iter().map(|&(key, store)| if key == 1 { u16::from(store % 2) } else { 0 }).collect();
        let candidates = candidates(&rows);
        let chosen = choose(&Market::new(&candidates), Vault::new(labels, 15), 1);
        let bought = |key| chosen.iter().filter(|&&row| rows[row].0 == key).count();
        assert!(bought(0) >= 1 && bought(1) > bought(0), "{} and {}", bought(0), bought(1));
        assert!(chosen.len() == 15);
    }

    #[test]
    fn the_vault_opens_no_more_than_the_budget() {
        let mut vault = Vault::new(vec![7, 8, 9], 2);
        assert_eq!((vault.open(0), vault.open(2), vault.open(1)), (Some(7), Some(9), None));
        assert_eq!((vault.open(0), vault.open(5)), (Some(7), None));
    }

    #[test]
    fn a_list_from_elsewhere_is_taken_as_it_is_and_the_digest_tells_lists_apart() {
        let candidates = candidates(&[(1, 0), (2, 0), (3, 0)]);
        let list = |ids: &[&str]| Choice::Listed(ids.iter().map(|id| id.parse().unwrap()).collect());
        let buy = |ids: &[&str]| Labels::buy(list(ids), &candidates, vec![0; 3]);
        let one = buy(&["row-1", "not there"]);
        assert_eq!(one.sorted(), [&candidates[1].id]);
        assert_ne!(one.digest(), buy(&["row-2"]).digest());
    }
}
