//! Labelled rows as training lines, in the form that each provider trains on.
//!
//! A line is what the model would be asked about one row, in the prompt's own words, and the answer that it should
//! have given. Forms: OpenAI's chat lines and preference lines (OpenAPI document of 2025-06-17, the last that had
//! them), Gemini's supervised tuning lines (Google Cloud's page on preparing them, of 2025-09-04), and Bedrock's
//! `bedrock-conversation-2024` (AWS user guide on preparing records, read on 2026-11-24).

use std::io::Write;

use serde::Serialize;
use serde_json::{Value, json};

use super::Error;
use crate::{
    categorize::{LabelledExample, Wording},
    domain::{Slug, injection},
    llm::{Ask, redact},
};

/// The form of a training file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Chat lines: OpenAI, Azure and whoever speaks their format.
    Openai,
    /// Supervised tuning of Gemini.
    Vertex,
    /// Bedrock's conversations.
    Bedrock,
    /// Pairs of a better and a worse answer.
    Dpo,
}

/// A row with what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// The row, and what it is.
    pub example: LabelledExample,
    /// What was predicted instead; a preference needs it.
    pub instead_of: Option<Slug>,
}

/// What became of the rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Lines that were written.
    pub exported: usize,
    /// Of those, the ones that personal data was taken out of.
    pub redacted: usize,
    /// Rows that were left out because their text talks to a model: nothing should learn from them.
    pub refused: usize,
    /// Rows that were left out because the prompt shows them with their answer: there is nothing to learn from those.
    pub shown: usize,
}

/// Writes training lines.
pub struct Exporter {
    wording: Wording,
    format: Format,
}

#[derive(Serialize)]
struct Answers<'a> {
    answers: Vec<Answer<'a>>,
}

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    category: &'a str,
}

impl Exporter {
    /// In the words that a stage asks with.
    #[must_use]
    pub fn new(wording: Wording, format: Format) -> Self {
        Self { wording, format }
    }

    /// Writes a line for each row, which is asked about alone, less those that the prompt's worked examples answer.
    ///
    /// # Errors
    /// When a template can't be filled in, labelled transactions can't be looked for, a preference has no worse answer,
    /// or nothing can be written.
    pub async fn write(&self, rows: &[Labelled], out: &mut impl Write) -> Result<Counts, Error> {
        let talks = |of: &&Labelled| injection::talks(of.example.transaction.transaction.descriptor.raw());
        let refused = rows.iter().filter(talks).count();
        let (shown, rows): (Vec<&Labelled>, Vec<&Labelled>) =
            rows.iter().filter(|of| !talks(of)).partition(|of| self.wording.shows(&of.example.transaction.transaction));
        let examples: Vec<LabelledExample> = rows.iter().map(|of| of.example.clone()).collect();
        let mut counts = Counts { refused, shown: shown.len(), ..Counts::default() };
        for (labelled, ask) in rows.into_iter().zip(self.wording.lessons(&examples).await?) {
            let mut line = self.line(labelled, &ask)?;
            counts.redacted += usize::from(redact::cover(&mut Value::from(ask.user.clone()), &ask.own) > 0);
            redact::cover(&mut line, &ask.own);
            counts.exported += 1;
            let written = serde_json::to_string(&line)?;
            writeln!(out, "{written}").map_err(serde_json::Error::io)?;
        }
        Ok(counts)
    }

    /// One line, with whatever personal data the row has.
    fn line(&self, labelled: &Labelled, ask: &Ask) -> Result<Value, Error> {
        let answer = |category: &Slug| {
            let answers = ask.ids.iter().map(|id| Answer { id, category: category.as_str() }).collect();
            serde_json::to_string(&Answers { answers })
        };
        let right = answer(&labelled.example.category)?;
        let Ask { system, user, .. } = ask;
        let said = |role: &str, text: &str| json!({"role": role, "content": text});
        Ok(match self.format {
            Format::Openai => {
                json!({"messages": [said("system", system), said("user", user), said("assistant", &right)]})
            }
            Format::Vertex => json!({
                "systemInstruction": {"role": "system", "parts": [{"text": system}]},
                "contents": [
                    {"role": "user", "parts": [{"text": user}]},
                    {"role": "model", "parts": [{"text": right}]},
                ],
            }),
            Format::Bedrock => json!({
                "schemaVersion": "bedrock-conversation-2024",
                "system": [{"text": system}],
                "messages": [
                    {"role": "user", "content": [{"text": user}]},
                    {"role": "assistant", "content": [{"text": right}]},
                ],
            }),
            Format::Dpo => {
                let wrong = answer(labelled.instead_of.as_ref().ok_or(Error::NoPair)?)?;
                json!({
                    "input": {"messages": [said("system", system), said("user", user)]},
                    "preferred_completion": [said("assistant", &right)],
                    "non_preferred_completion": [said("assistant", &wrong)],
                })
            }
        })
    }
}
