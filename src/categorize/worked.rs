//! Worked examples of a prompt stage: the prompt's own, or labelled rows where those are of other categories.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use super::LabelledExample;
use crate::{
    domain::{
        AccountId, Descriptor, DescriptorKey, EnrichedTransaction, Money, Slug, Taxonomy, Transaction, TransactionId,
        injection,
    },
    prompt::{Example, PromptSet},
};

/// Labelled rows of each class that stand in for a prompt's own examples.
const PER_CLASS: usize = 5;

/// What the prompt shows. Of `labelled` a few of each class stand in.
pub(super) fn shown(prompt: &PromptSet, taxonomy: &Taxonomy, labelled: &[LabelledExample]) -> Vec<Example> {
    if suits(prompt, taxonomy) {
        return prompt.examples().to_vec();
    }
    let of_a_row = |example: &LabelledExample| {
        let transaction = &example.transaction.transaction;
        Example {
            descriptor: transaction.descriptor.raw().to_owned(),
            amount: transaction.amount.in_full(),
            currency: transaction.amount.currency(),
            direction: transaction.direction,
            category: example.category.clone(),
        }
    };
    some_of_each(labelled).into_iter().map(of_a_row).collect()
}

/// The same as transactions, without history.
pub(super) fn transactions(
    prompt: &PromptSet,
    taxonomy: &Taxonomy,
    labelled: &[LabelledExample],
) -> Vec<LabelledExample> {
    if suits(prompt, taxonomy) {
        prompt.examples().iter().enumerate().filter_map(transaction).collect()
    } else {
        some_of_each(labelled).into_iter().cloned().collect()
    }
}

/// Whether every worked example is of a category of the taxonomy.
fn suits(prompt: &PromptSet, taxonomy: &Taxonomy) -> bool {
    prompt.examples().iter().all(|example| taxonomy.contains(&example.category))
}

/// Of each class those with the keys that came most often, as far as the labels and what came before them tell: one of each
/// key first, and none whose text talks to the model.
fn some_of_each(labelled: &[LabelledExample]) -> Vec<&LabelledExample> {
    let key = |example: &LabelledExample| (example.category.clone(), row(example).descriptor.key().clone());
    let mut traffic: HashMap<(Slug, DescriptorKey), u64> = HashMap::new();
    for example in labelled {
        *traffic.entry(key(example)).or_default() += 1 + u64::from(example.transaction.history.same_key.count);
    }
    let mut ranked: Vec<&LabelledExample> = labelled.iter().collect();
    ranked.sort_by_cached_key(|example| (Reverse(traffic[&key(example)]), row(example).id.clone()));
    let mut seen = HashSet::new();
    let (firsts, others): (Vec<_>, Vec<_>) = ranked.into_iter().partition(|example| seen.insert(key(example)));
    let mut some: HashMap<&Slug, usize> = HashMap::new();
    let mut of_each = firsts.into_iter().chain(others).collect::<Vec<_>>();
    of_each.retain(|example| {
        let count = some.entry(&example.category).or_default();
        let is_shown = *count < PER_CLASS && !injection::talks(row(example).descriptor.raw());
        *count += usize::from(is_shown);
        is_shown
    });
    of_each
}

fn row(example: &LabelledExample) -> &Transaction {
    &example.transaction.transaction
}

/// `None` when its text is no descriptor; `txcat` ships none such (a test reads them all).
fn transaction((number, example): (usize, &Example)) -> Option<LabelledExample> {
    let name = format!("example-{number}");
    let transaction = Transaction::posted(
        name.parse::<TransactionId>().ok()?,
        name.parse::<AccountId>().ok()?,
        chrono::DateTime::UNIX_EPOCH,
        Money::new(example.amount, example.currency).ok()?,
        example.direction,
        Descriptor::parse(&example.descriptor).ok()?,
    );
    Some(LabelledExample { transaction: EnrichedTransaction::bare(transaction), category: example.category.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels of one class, each with a text and how often its account had been there before.
    fn labelled(rows: &[(&str, u32)]) -> Vec<LabelledExample> {
        let example = |(number, &(text, before)): (usize, &(&str, u32))| {
            let shown = Example {
                descriptor: text.to_owned(),
                amount: "12.50".parse().unwrap(),
                currency: "USD".parse().unwrap(),
                direction: crate::domain::Direction::Debit,
                category: "food".parse().unwrap(),
            };
            let mut example = transaction((number, &shown)).unwrap();
            example.transaction.history.same_key.count = before;
            example
        };
        rows.iter().enumerate().map(example).collect()
    }

    fn texts(labelled: &[LabelledExample]) -> Vec<&str> {
        some_of_each(labelled).into_iter().map(|example| row(example).descriptor.raw()).collect()
    }

    #[test]
    fn a_class_shows_what_came_most_often_whatever_order_its_labels_come_in() {
        let often = ["ALPHA BAKERY", "BETA GROCER", "GAMMA CAFE", "DELTA DELI"];
        let mut rows = vec![("OMEGA KIOSK", 0), ("ALPHA BAKERY", 8), ("ALPHA BAKERY", 7)];
        rows.extend([("BETA GROCER", 9), ("GAMMA CAFE", 5), ("DELTA DELI", 3)]);
        let mut labelled = labelled(&rows);
        let first = [&often[..], &["OMEGA KIOSK"]].concat();
        assert_eq!(texts(&labelled), first);
        labelled.reverse();
        assert_eq!(texts(&labelled), first);
        labelled.retain(|example| row(example).descriptor.raw() != "OMEGA KIOSK");
        assert_eq!(texts(&labelled), [&often[..], &["ALPHA BAKERY"]].concat(), "another label of a key fills up");
    }
}
