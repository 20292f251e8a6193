//! What a chat model wrote: an answer for each id that was asked, or a fault, whatever the text and its tokens are.
#![no_main]

use std::{collections::HashMap, sync::Arc};

use libfuzzer_sys::{Corpus, fuzz_target};
use txcat::llm::{
    Ask,
    answer::{Token, read},
};

fuzz_target!(|input: (Vec<(u8, f64)>, &str)| -> Corpus {
    let (cuts, text) = input;
    let ids: Vec<String> = ["t1", "t2", "7"].map(str::to_owned).into();
    let ask = Ask {
        system: String::new(),
        user: String::new(),
        own: Arc::default(),
        ids: ids.clone(),
        categories: ["food", "travel", "other_income"].map(|slug| slug.parse().unwrap()).into(),
        schema: Arc::default(),
    };
    // The text in pieces, as a provider tells them; where a cut is no border of a character, the rest is one piece.
    let (mut tokens, mut rest) = (Vec::new(), text);
    for (length, logprob) in cuts {
        let Some((piece, after)) = rest.split_at_checked(usize::from(length)) else { break };
        tokens.push(Token { text: piece, logprob });
        rest = after;
    }
    let answers = read(text, &tokens, &ask);
    assert_eq!(answers.len(), ids.len());
    for answer in answers.iter().flatten() {
        assert!(ask.categories.contains(&answer.category));
        assert!(answer.confidence.is_none_or(|p| (0.0..=1.0).contains(&p)), "{answer:?}");
    }
    // The order of what a model says decides nothing.
    if let Ok(serde_json::Value::Object(whole)) = serde_json::from_str(text)
        && let Some(serde_json::Value::Array(said)) = whole.get("answers").cloned()
        && whole_is_plain(&said)
    {
        let turned: Vec<_> = said.iter().rev().cloned().collect();
        let read = |whole: &serde_json::Value| -> Vec<_> {
            read(&whole.to_string(), &[], &ask).iter().map(category).collect()
        };
        let mut whole = serde_json::Value::Object(whole);
        let as_said = read(&whole);
        whole["answers"] = turned.into();
        assert_eq!(read(&whole), as_said);
    }
    Corpus::Keep
});

type One = Result<txcat::llm::Answer, txcat::llm::Fault>;

fn category(one: &One) -> Result<String, String> {
    one.as_ref().map(|answer| answer.category.to_string()).map_err(|fault| format!("{fault:?}"))
}

/// Objects of two strings each, so that writing them again changes nothing.
fn whole_is_plain(said: &[serde_json::Value]) -> bool {
    let plain = |one: &serde_json::Value| {
        let members: Option<HashMap<String, String>> = serde_json::from_value(one.clone()).ok();
        members.is_some_and(|members| members.len() == 2)
    };
    said.iter().all(plain)
}
