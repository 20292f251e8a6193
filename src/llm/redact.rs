//! What leaves the machine: the one place where personal data is taken out of it.
//!
//! Every request to a model's server goes through [`Covered::of`]; the same value gets the same placeholder all
//! through a request, and placeholders in the answer are put back.

use std::collections::HashMap;

use serde_json::Value;

use crate::domain::pii::{self, Kind};

/// A request without personal data, and what stands for what.
#[derive(Debug, Clone, PartialEq)]
pub struct Covered {
    /// What is sent.
    pub body: Value,
    /// The value behind each placeholder, in the order of their numbers.
    hidden: Vec<(Kind, String)>,
}

impl Covered {
    /// Takes personal data out of every string of a body; members' names are ours and stay.
    #[must_use]
    pub fn of(body: Value) -> Self {
        let mut cover = Cover::default();
        let mut covered = body;
        each(&mut covered, &mut |text| cover.over(text));
        Self { body: covered, hidden: cover.hidden }
    }

    /// A body that stays as it is, for a server of one's own.
    pub(super) fn nothing(body: Value) -> Self {
        Self { body, hidden: Vec::new() }
    }

    /// How much of each kind was taken out.
    #[must_use]
    pub fn counts(&self) -> HashMap<Kind, usize> {
        self.hidden.iter().fold(HashMap::new(), |mut counts, (kind, _)| {
            *counts.entry(*kind).or_default() += 1;
            counts
        })
    }

    /// Puts back in an answer what the placeholders stand for.
    pub fn restore(&self, answer: &mut Value) {
        if self.hidden.is_empty() {
            return;
        }
        each(answer, &mut |text| {
            for (number, (kind, value)) in self.hidden.iter().enumerate() {
                let placeholder = placeholder(*kind, number);
                if text.contains(&placeholder) {
                    *text = text.replace(&placeholder, value);
                }
            }
        });
    }
}

/// Takes personal data out of a value that no reply comes back to, such as a training line, and says how many
/// values that were.
pub fn cover(body: &mut Value) -> usize {
    let covered = Covered::of(std::mem::take(body));
    *body = covered.body;
    covered.hidden.len()
}

/// The same for a file of one JSON value a line, as it is uploaded.
///
/// # Errors
/// When a line is not JSON; then nothing of the file may leave.
pub fn cover_lines(text: &str) -> Result<Vec<u8>, serde_json::Error> {
    let mut lines = Vec::with_capacity(text.len());
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut value = serde_json::from_str(line)?;
        cover(&mut value);
        serde_json::to_writer(&mut lines, &value)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

#[derive(Default)]
struct Cover {
    hidden: Vec<(Kind, String)>,
    numbers: HashMap<String, usize>,
}

impl Cover {
    fn over(&mut self, text: &mut String) {
        let found = pii::find(text);
        for pii::Found { kind, at } in found.into_iter().rev() {
            let value = &text[at.clone()];
            let number = self.numbers.get(value).copied().unwrap_or_else(|| {
                self.hidden.push((kind, value.to_owned()));
                self.numbers.insert(value.to_owned(), self.hidden.len() - 1);
                self.hidden.len() - 1
            });
            text.replace_range(at, &placeholder(self.hidden[number].0, number));
        }
    }
}

/// Letters and marks alone, so that JSON within a string stays what it is.
fn placeholder(kind: Kind, number: usize) -> String {
    format!("[{}_{}]", kind.as_str(), number + 1)
}

fn each(value: &mut Value, change: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => change(text),
        Value::Array(values) => values.iter_mut().for_each(|value| each(value, change)),
        Value::Object(members) => members.values_mut().for_each(|value| each(value, change)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_personal_is_covered_everywhere_and_put_back() {
        let body = json!({"messages": [
            {"content": "ZELLE TO JOHN SMITH, CARD 4111 1111 1111 1111"},
            {"content": ["CARD 4111 1111 1111 1111 AGAIN", "COFFEE"]},
        ]});
        let covered = Covered::of(body.clone());
        let sent = covered.body.to_string();
        assert!(!sent.contains("SMITH") && !sent.contains("4111"), "{sent}");
        assert_eq!(covered.body["messages"][1]["content"][0], "CARD [card_number_1] AGAIN");
        assert_eq!(covered.counts(), HashMap::from([(Kind::Card, 1), (Kind::Name, 1)]));
        let mut back = covered.body.clone();
        covered.restore(&mut back);
        assert_eq!(back, body);
    }
}
