//! Worked examples of a prompt stage: the prompt's own, or labelled rows where those are of other categories.

use std::collections::HashMap;

use super::LabelledExample;
use crate::{
    domain::{
        AccountId, Descriptor, EnrichedTransaction, Money, Taxonomy, Transaction, TransactionId, transaction::Status,
    },
    prompt::{Example, PromptSet},
};

/// Labelled rows of each class that stand in for a prompt's own examples.
const PER_CLASS: usize = 5;

/// What the prompt shows. Of `labelled` the first few of each class stand in.
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
    first_of_each(labelled).map(of_a_row).collect()
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
        first_of_each(labelled).cloned().collect()
    }
}

/// Whether every worked example is of a category of the taxonomy.
fn suits(prompt: &PromptSet, taxonomy: &Taxonomy) -> bool {
    prompt.examples().iter().all(|example| taxonomy.contains(&example.category))
}

fn first_of_each(labelled: &[LabelledExample]) -> impl Iterator<Item = &LabelledExample> {
    let mut taken: HashMap<&str, usize> = HashMap::new();
    labelled.iter().filter(move |example| {
        let count = taken.entry(example.category.as_str()).or_default();
        *count += 1;
        *count <= PER_CLASS
    })
}

/// `None` when its text is no descriptor; `txcat` ships none such (a test reads them all).
fn transaction((number, example): (usize, &Example)) -> Option<LabelledExample> {
    let name = format!("example-{number}");
    let transaction = Transaction {
        id: name.parse::<TransactionId>().ok()?,
        account_id: name.parse::<AccountId>().ok()?,
        posted_at: chrono::DateTime::UNIX_EPOCH,
        amount: Money::new(example.amount, example.currency).ok()?,
        direction: example.direction,
        descriptor: Descriptor::parse(&example.descriptor).ok()?,
        mcc: None,
        country: None,
        channel: None,
        counterparty: None,
        status: Status::Posted,
        replaces: None,
    };
    Some(LabelledExample { transaction: EnrichedTransaction::bare(transaction), category: example.category.clone() })
}
