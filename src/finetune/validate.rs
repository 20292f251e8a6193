//! Whether a training file is fit to be uploaded, what it weighs, and how often it should be gone through.
//!
//! Lines of OpenAI's format, and of those that Gemini and Bedrock train on. Errors and warnings bear the names of the OpenAI cookbook's notebook on preparing chat data (2023-08-22, read on
//! 2026-11-24). Tokens are those of `o200k_base`, which OpenAI's models from gpt-4o on have; other providers count
//! a little more or less.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use serde::Serialize;
use serde_json::{Map, Value, json};

/// Tokens of a line beyond which the cookbook says that it is cut off.
pub const MOST_TOKENS: u64 = 16_385;

/// Fewer lines than this no provider of OpenAI's format trains on.
pub const LEAST_LINES: usize = 10;

/// What keeps a line from being trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// No JSON object.
    DataType,
    /// No `messages`, or none in it.
    MissingMessagesList,
    /// A message without `role` or `content`.
    MessageMissingKey,
    /// A message with another key than `role`, `content`, `name`, `function_call` and `weight`.
    MessageUnrecognizedKey,
    /// Another role than `system`, `user`, `assistant` and `function`.
    UnrecognizedRole,
    /// A message whose content is no text.
    MissingContent,
    /// Nothing to learn: the assistant says nothing.
    ExampleMissingAssistantMessage,
}

/// What may be meant so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// No message of the system.
    MissingSystemMessage,
    /// No message of a user.
    MissingUserMessage,
    /// More than [`MOST_TOKENS`].
    TooLong,
}

/// A finding and its line, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct At<T> {
    /// The line.
    pub line: usize,
    /// The finding.
    pub what: T,
}

/// What a file is like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Lines that are not empty.
    pub lines: usize,
    /// Of those, preferences.
    pub preferences: usize,
    /// Of those, lines of Gemini's or Bedrock's form, which providers of OpenAI's format don't take.
    pub foreign: usize,
    /// Every error, in the order of lines.
    pub faults: Vec<At<Fault>>,
    /// Every warning, in the order of lines.
    pub warnings: Vec<At<Warning>>,
    /// Tokens of all lines; of a line at most [`MOST_TOKENS`].
    pub tokens: u64,
}

macro_rules! named {
    ($what:ty { $($variant:ident: $words:literal),+ $(,)? }) => {
        impl $what {
            /// The same in words.
            #[must_use]
            pub fn words(self) -> &'static str {
                match self {
                    $(Self::$variant => $words),+
                }
            }
        }

        impl fmt::Display for $what {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.serialize(f)
            }
        }
    };
}
named!(Fault {
    DataType: "not a JSON object",
    MissingMessagesList: "there is no list of messages, or it is empty",
    MessageMissingKey: "a message lacks `role` or `content`",
    MessageUnrecognizedKey: "a message has a key that is not known",
    UnrecognizedRole: "a message has a role that is not known",
    MissingContent: "a message has no text",
    ExampleMissingAssistantMessage: "nothing to learn: the assistant says nothing",
});
named!(Warning {
    MissingSystemMessage: "no message of the system",
    MissingUserMessage: "no message of a user",
    TooLong: "more tokens than are read of a line: it is cut off",
});

impl Report {
    /// Of a file's text, one JSON object a line; empty lines are passed over.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut report = Self::default();
        let mut counts = Counts::default();
        // Some editors begin a file with a mark of its byte order.
        let text = text.trim_start_matches('\u{feff}');
        for (line, json) in (1..).zip(text.lines()).filter(|(_, json)| !json.trim().is_empty()) {
            report.lines += 1;
            report.line(line, json, &mut counts);
        }
        report
    }

    /// Lines with an error.
    #[must_use]
    pub fn bad_lines(&self) -> usize {
        let mut lines: Vec<usize> = self.faults.iter().map(|at| at.line).collect();
        lines.dedup();
        lines.len()
    }

    /// Whether it has too few lines for a provider of OpenAI's format.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.foreign == 0 && self.lines < LEAST_LINES
    }

    /// How many lines have each finding.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let names =
            self.faults.iter().map(|at| at.what.to_string()).chain(self.warnings.iter().map(|at| at.what.to_string()));
        names.fold(BTreeMap::new(), |mut counts, name| {
            *counts.entry(name).or_default() += 1;
            counts
        })
    }

    /// Tokens that training is booked at before anybody knows the bill: a third more than were counted, because other
    /// providers count otherwise.
    #[must_use]
    pub fn booked_tokens(&self, epochs: u32) -> u64 {
        (self.tokens * u64::from(epochs) * 4).div_ceil(3)
    }

    /// How often to go through it where nobody says.
    #[must_use]
    pub fn epochs(&self) -> u32 {
        epochs(self.lines)
    }

    fn line(&mut self, line: usize, json: &str, counts: &mut Counts) {
        let Ok(Value::Object(members)) = serde_json::from_str(json) else {
            self.faults.push(At { line, what: Fault::DataType });
            return;
        };
        let members = match of_another_form(&members) {
            Some(same) => {
                self.foreign += 1;
                same
            }
            None => members,
        };
        let mut faults = Vec::new();
        let preference = members.contains_key("input") || members.contains_key("preferred_completion");
        let (said, answers) = if preference {
            self.preferences += 1;
            let better = messages(members.get("preferred_completion"), &mut faults);
            let worse = messages(members.get("non_preferred_completion"), &mut faults);
            if !(says(better, "assistant") && says(worse, "assistant")) {
                faults.push(Fault::ExampleMissingAssistantMessage);
            }
            let said = messages(members.get("input").and_then(|input| input.get("messages")), &mut faults);
            (said, [better, worse].concat())
        } else {
            let said = messages(members.get("messages"), &mut faults);
            if !said.is_empty() && !says(said, "assistant") {
                faults.push(Fault::ExampleMissingAssistantMessage);
            }
            (said, Vec::new())
        };
        let tokens = said.iter().chain(&answers).map(|message| counts.of(message)).sum::<u64>() + 3;
        let warnings = [
            (!says(said, "system"), Warning::MissingSystemMessage),
            (!says(said, "user"), Warning::MissingUserMessage),
            (tokens > MOST_TOKENS, Warning::TooLong),
        ];
        self.tokens += tokens.min(MOST_TOKENS);
        self.faults.extend(faults.into_iter().map(|what| At { line, what }));
        self.warnings.extend(warnings.into_iter().filter(|(is, _)| *is).map(|(_, what)| At { line, what }));
    }
}

/// The cookbook's choice: three passes; more where that is fewer than 100 lines in all, up to 25; fewer where it is
/// more than 25,000.
#[must_use]
pub fn epochs(lines: usize) -> u32 {
    let passes = match lines {
        0 => 1,
        lines if lines * 3 < 100 => 100_usize.div_ceil(lines).min(25),
        lines if lines * 3 > 25_000 => (25_000 / lines).max(1),
        _ => 3,
    };
    u32::try_from(passes).unwrap_or(1)
}

/// A line of Gemini's or Bedrock's form as the chat line that says the same.
fn of_another_form(line: &Map<String, Value>) -> Option<Map<String, Value>> {
    let text = |parts: Option<&Value>| {
        let parts = parts.and_then(Value::as_array).into_iter().flatten();
        parts.filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
    };
    let message = |role: &str, text: String| json!({"role": role, "content": text});
    let list = |name: &str| line.get(name).and_then(Value::as_array).into_iter().flatten();
    let role = |of: &Value| match of["role"].as_str().unwrap_or_default() {
        "model" => "assistant".to_owned(),
        other => other.to_owned(),
    };
    let mut messages = Vec::new();
    if line.contains_key("contents") {
        let system = line.get("systemInstruction").map(|of| message("system", text(of.get("parts"))));
        messages.extend(system);
        messages.extend(list("contents").map(|of| message(&role(of), text(of.get("parts")))));
    } else if line.contains_key("schemaVersion") {
        messages.extend(line.get("system").map(|of| message("system", text(Some(of)))));
        messages.extend(list("messages").map(|of| message(&role(of), text(of.get("content")))));
    } else {
        return None;
    }
    Some(Map::from_iter([("messages".to_owned(), Value::Array(messages))]))
}

/// The messages of a list, and what is wrong with them.
fn messages<'a>(list: Option<&'a Value>, faults: &mut Vec<Fault>) -> &'a [Value] {
    let messages = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if messages.is_empty() {
        faults.push(Fault::MissingMessagesList);
    }
    for message in messages {
        let has = |key: &str| message.get(key).is_some();
        if !(has("role") && has("content")) {
            faults.push(Fault::MessageMissingKey);
        }
        let known = ["role", "content", "name", "function_call", "weight"];
        if message.as_object().is_some_and(|keys| keys.keys().any(|key| !known.contains(&key.as_str()))) {
            faults.push(Fault::MessageUnrecognizedKey);
        }
        let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
        if !["system", "user", "assistant", "function"].contains(&role) {
            faults.push(Fault::UnrecognizedRole);
        }
        let text = message.get("content").and_then(Value::as_str);
        if !text.is_some_and(|text| !text.is_empty() || has("function_call")) {
            faults.push(Fault::MissingContent);
        }
    }
    messages
}

fn says(messages: &[Value], role: &str) -> bool {
    messages.iter().any(|message| message.get("role").and_then(Value::as_str) == Some(role))
}

/// Tokens of texts; that of the system, which every line repeats, is counted once.
#[derive(Default)]
struct Counts(HashMap<String, u64>);

impl Counts {
    /// Three of a message's own, and those of its texts.
    fn of(&mut self, message: &Value) -> u64 {
        let system = message.get("role").and_then(Value::as_str) == Some("system");
        let texts = message.as_object().into_iter().flat_map(|members| members.values()).filter_map(Value::as_str);
        3 + texts.map(|text| if system { self.again(text) } else { tokens(text) }).sum::<u64>()
    }

    fn again(&mut self, text: &str) -> u64 {
        if let Some(&tokens) = self.0.get(text) {
            return tokens;
        }
        *self.0.entry(text.to_owned()).or_insert(tokens(text))
    }
}

fn tokens(text: &str) -> u64 {
    tiktoken_rs::o200k_base_singleton().encode_ordinary(text).len() as u64
}
