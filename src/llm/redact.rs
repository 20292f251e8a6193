//! What leaves the machine: the one place where personal data is taken out of it.
//!
//! Every request to a model's server goes through [`Covered::of`]; the same value gets the same placeholder all
//! through a request, and placeholders in the answer are put back. In the prompt's own words no name is suspected.

use std::collections::HashMap;

use serde_json::Value;

use crate::domain::{
    OwnWords,
    pii::{self, Kind},
};

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
    pub fn of(body: Value, own: &OwnWords) -> Self {
        let mut cover = Cover::default();
        let mut covered = body;
        each(&mut covered, &mut |text| cover.over(text, own));
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
pub fn cover(body: &mut Value, own: &OwnWords) -> usize {
    let covered = Covered::of(std::mem::take(body), own);
    *body = covered.body;
    covered.hidden.len()
}

/// The same for a training file of one JSON value a line, as it is uploaded. The prompt's own words are the lines of
/// the system's message that every training line has, less those that are data.
///
/// # Errors
/// When a line is not JSON; then nothing of the file may leave.
pub fn cover_lines(text: &str) -> Result<Vec<u8>, serde_json::Error> {
    let read = || text.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str::<Value>);
    let mut shared: Option<(String, OwnWords)> = None;
    for value in read() {
        let said = said_by_the_system(&value?);
        match &mut shared {
            Some((first, own)) if *first != said => own.keep_those_of(&said),
            Some(_) => {}
            None => shared = Some((said.clone(), OwnWords::of([said.as_str()]))),
        }
    }
    let mut own = shared.map(|(_, own)| own).unwrap_or_default();
    own.keep(|line| !matches!(serde_json::from_str(line), Ok(Value::Object(_) | Value::Array(_))));
    let mut lines = Vec::with_capacity(text.len());
    for value in read() {
        let mut value = value?;
        cover(&mut value, &own);
        serde_json::to_writer(&mut lines, &value)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// The text of the system's messages of a training line or a preference.
fn said_by_the_system(line: &Value) -> String {
    let messages = line.get("messages").or_else(|| line.pointer("/input/messages")).and_then(Value::as_array);
    let of_the_system = messages.into_iter().flatten().filter(|message| message["role"] == "system");
    of_the_system.filter_map(|message| message["content"].as_str()).collect::<Vec<_>>().join("\n")
}

#[derive(Default)]
struct Cover {
    hidden: Vec<(Kind, String)>,
    numbers: HashMap<String, usize>,
}

impl Cover {
    fn over(&mut self, text: &mut String, own: &OwnWords) {
        let mut found = pii::find(text);
        found.retain(|found| found.kind != Kind::Name || !own.hold(text, &found.at));
        let placeholders: Vec<String> =
            found.iter().map(|found| self.stands_for(found.kind, &text[found.at.clone()])).collect();
        for (found, placeholder) in found.into_iter().zip(&placeholders).rev() {
            text.replace_range(found.at, placeholder);
        }
    }

    fn stands_for(&mut self, kind: Kind, value: &str) -> String {
        let number = self.numbers.get(value).copied().unwrap_or_else(|| {
            self.hidden.push((kind, value.to_owned()));
            self.numbers.insert(value.to_owned(), self.hidden.len() - 1);
            self.hidden.len() - 1
        });
        placeholder(self.hidden[number].0, number)
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
        let covered = Covered::of(body.clone(), &OwnWords::default());
        let sent = covered.body.to_string();
        assert!(!sent.contains("SMITH") && !sent.contains("4111"), "{sent}");
        assert_eq!(covered.body["messages"][0]["content"], "ZELLE TO [person_name_1], CARD [card_number_2]");
        assert_eq!(covered.body["messages"][1]["content"][0], "CARD [card_number_2] AGAIN");
        assert_eq!(covered.counts(), HashMap::from([(Kind::Card, 1), (Kind::Name, 1)]));
        let mut back = covered.body.clone();
        covered.restore(&mut back);
        assert_eq!(back, body);
    }
    #[test]
    fn a_name_is_no_guess_in_the_prompts_own_words_and_numbers_are_covered_even_there() {
        let own = OwnWords::of(["- gifts: payment from a relative\ncall 8005550123"]);
        let system = "- gifts: payment from a relative\ncall 8005550123\n{\"descriptor\":\"payment from a relative\"}";
        let covered = Covered::of(json!(system), &own);
        let sent =
            "- gifts: payment from a relative\ncall [phone_1]\n{\"descriptor\":\"payment from [person_name_2]\"}";
        assert_eq!(covered.body, sent);
    }

    #[test]
    fn of_a_training_file_only_what_every_system_message_says_is_the_prompts_own() {
        let line = |system: &str, user: &str| {
            json!({"messages": [{"role": "system", "content": system}, {"role": "user", "content": user}]}).to_string()
        };
        let shared = "payment from a relative\n[\"payment from Ann Lee\"]";
        let file = [line(shared, "ONE payment from a relative"), line(&format!("{shared}\npayment from Bo Ek"), "x")];
        let covered = String::from_utf8(cover_lines(&file.join("\n")).unwrap()).unwrap();
        let covered: Vec<Value> = covered.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let shared = "payment from a relative\n[\"payment from [person_name_1]\"]";
        assert_eq!(covered[0]["messages"][0]["content"], shared);
        assert_eq!(covered[0]["messages"][1]["content"], "ONE payment from [person_name_2]");
        assert_eq!(covered[1]["messages"][0]["content"], format!("{shared}\npayment from [person_name_2]"));
    }
}
