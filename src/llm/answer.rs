//! Reads what a model wrote: an answer for each id that was asked, or why there is none.
//!
//! Joined by id, never by place. A category that is not in the set is no answer, however close it comes.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Answer, Ask, Fault};

/// A model's words with the probability of each piece of them.
#[derive(Debug, Clone, Copy)]
pub struct Token<'a> {
    /// The piece.
    pub text: &'a str,
    /// Natural logarithm of its probability.
    pub logprob: f64,
}

/// At or below this, a log-probability is the mark for "not among the first twenty" and no number.
const SENTINEL: f64 = -9_000.0;

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    answers: Vec<WrittenAnswer<'a>>,
}

#[derive(Deserialize)]
struct WrittenAnswer<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    category: &'a RawValue,
}

/// The answers in a text, one for each id of `ask` in its order. `tokens`, where the provider tells them, spell
/// the text.
#[must_use]
pub fn read(text: &str, tokens: &[Token<'_>], ask: &Ask) -> Vec<Result<Answer, Fault>> {
    let Some(written) = parsed(text) else { return vec![Err(Fault::Malformed); ask.ids.len()] };
    let mut by_id: HashMap<String, Vec<&RawValue>> = HashMap::new();
    for answer in &written.answers {
        // A number where a string was asked is still that id.
        let id = serde_json::from_str(answer.id.get()).unwrap_or_else(|_| answer.id.get().to_owned());
        by_id.entry(id).or_default().push(answer.category);
    }
    if by_id.keys().any(|id| !ask.ids.contains(id)) {
        return vec![Err(Fault::Extra); ask.ids.len()];
    }
    let one = |id: &String| match by_id.get(id).map(Vec::as_slice) {
        None => Err(Fault::Missing),
        Some(&[category]) => listed(category, text, tokens, ask),
        Some(_) => Err(Fault::Duplicate),
    };
    ask.ids.iter().map(one).collect()
}

/// The JSON object in a text: all of it, or, from a model that can't be held to a form, between the first and the
/// last brace.
fn parsed(text: &str) -> Option<Written<'_>> {
    serde_json::from_str(text).ok().or_else(|| {
        let (start, end) = (text.find('{')?, text.rfind('}')?);
        serde_json::from_str(text.get(start..=end)?).ok()
    })
}

fn listed(category: &RawValue, text: &str, tokens: &[Token<'_>], ask: &Ask) -> Result<Answer, Fault> {
    let raw = category.get();
    let said: String = serde_json::from_str(raw).map_err(|_| Fault::OffList)?;
    let category = ask.categories.iter().find(|slug| slug.as_str() == said).ok_or(Fault::OffList)?;
    let start = (raw.as_ptr() as usize).checked_sub(text.as_ptr() as usize);
    // Between the quotes.
    let confidence = start.and_then(|start| probability(tokens, start + 1, start + raw.len() - 1));
    Ok(Answer { category: category.clone(), confidence, others: Vec::new() })
}

/// The probability of the tokens that spell bytes `from..to`; `None` where one has no number.
fn probability(tokens: &[Token<'_>], from: usize, to: usize) -> Option<f32> {
    let (mut at, mut sum, mut any) = (0, 0.0, false);
    for token in tokens {
        let end = at + token.text.len();
        if at < to && end > from {
            if token.logprob <= SENTINEL || token.logprob.is_nan() {
                return None;
            }
            sum += token.logprob;
            any = true;
        }
        at = end;
    }
    any.then(|| (sum.exp() as f32).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn ask(ids: &[&str]) -> Ask {
        Ask {
            system: String::new(),
            user: String::new(),
            own: Arc::default(),
            ids: ids.iter().map(|&id| id.to_owned()).collect(),
            categories: ["food", "travel"].map(|slug| slug.parse().unwrap()).into(),
            schema: Arc::default(),
        }
    }

    fn said(text: &str, ids: &[&str]) -> Vec<Result<String, Fault>> {
        read(text, &[], &ask(ids)).into_iter().map(|one| one.map(|answer| answer.category.to_string())).collect()
    }

    #[test]
    fn answers_are_joined_by_id_and_never_by_place() {
        let text = r#"{"answers":[{"id":"t2","category":"travel"},{"category":"food","id":"t1"}]}"#;
        assert_eq!(said(text, &["t1", "t2"]), [Ok("food".to_owned()), Ok("travel".to_owned())]);
    }

    #[test]
    fn what_is_missing_twice_or_off_the_list_is_a_fault_of_its_own_row() {
        let text = r#"{"answers":[{"id":"t1","category":"Food"},{"id":"t2","category":"food"},{"id":"t2","category":"food"}]}"#;
        assert_eq!(said(text, &["t1", "t2", "t3"]), [Err(Fault::OffList), Err(Fault::Duplicate), Err(Fault::Missing)]);
        assert_eq!(said(r#"{"answers":[{"id":"t1","category":null}]}"#, &["t1"]), [Err(Fault::OffList)]);
    }

    #[test]
    fn an_id_that_nobody_asked_spoils_the_whole_answer() {
        let text = r#"{"answers":[{"id":"t1","category":"food"},{"id":"t9","category":"food"}]}"#;
        assert_eq!(said(text, &["t1"]), [Err(Fault::Extra)]);
    }

    #[test]
    fn words_around_the_object_are_passed_over_and_other_shapes_are_malformed() {
        let fenced = "Sure!\n```json\n{\"answers\": [{\"id\": \"t1\", \"category\": \"food\"}]}\n```";
        assert_eq!(said(fenced, &["t1"]), [Ok("food".to_owned())]);
        for text in ["", "food", "[]", r#"{"answers":{"t1":"food"}}"#, r#"{"answers":[{"id":"t1","category":"food"}"#] {
            assert_eq!(said(text, &["t1"]), [Err(Fault::Malformed)], "{text}");
        }
    }

    #[test]
    fn confidence_is_the_probability_of_the_categorys_own_tokens() {
        let text = r#"{"answers":[{"id":"t1","category":"travel"}]}"#;
        let spell = |logprobs: [f64; 4]| {
            let pieces = [r#"{"answers":[{"id":"t1","category":""#, "tra", "vel", r#""}]}"#];
            let tokens: Vec<Token<'_>> =
                pieces.iter().zip(logprobs).map(|(&text, logprob)| Token { text, logprob }).collect();
            read(text, &tokens, &ask(&["t1"]))[0].clone().unwrap().confidence
        };
        let half = 0.5_f64.ln();
        assert!((spell([-3.0, half, half, -3.0]).unwrap() - 0.25).abs() < 1e-6);
        assert_eq!(spell([-3.0, half, -9_999.0, -3.0]), None, "the sentinel is no probability");
    }
}
