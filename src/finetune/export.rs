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
    domain::{EnrichedTransaction, Enrichment, Slug, Taxonomy, injection},
    llm::redact,
    prompt::{Example, PromptSet, Row},
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
    /// The row.
    pub row: EnrichedTransaction,
    /// What it is.
    pub category: Slug,
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
}

/// Writes training lines.
pub struct Exporter {
    prompt: PromptSet,
    system: String,
    /// What looks personal in the prompt's own words, which is no row's.
    in_system: usize,
    enrichment: Enrichment,
    format: Format,
}

#[derive(Serialize)]
struct Answers<'a> {
    answers: [Answer<'a>; 1],
}

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    category: &'a str,
}

impl Exporter {
    /// With the prompt's own worked examples, as far as they are of the taxonomy.
    ///
    /// # Errors
    /// When the prompt can't be filled in.
    pub fn new(prompt: PromptSet, taxonomy: &Taxonomy, enrichment: Enrichment, format: Format) -> Result<Self, Error> {
        let of_the_set = |example: &&Example| taxonomy.contains(&example.category);
        let examples: Vec<Example> = prompt.examples().iter().filter(of_the_set).cloned().collect();
        let system = prompt.system(taxonomy.assignable(), &examples)?;
        let in_system = redact::cover(&mut Value::from(system.clone()));
        Ok(Self { prompt, system, in_system, enrichment, format })
    }

    /// Writes a line for each row.
    ///
    /// # Errors
    /// When a template can't be filled in, a preference has no worse answer, or nothing can be written.
    pub fn write<'a>(
        &self,
        rows: impl IntoIterator<Item = &'a Labelled>,
        out: &mut impl Write,
    ) -> Result<Counts, Error> {
        let mut counts = Counts::default();
        for labelled in rows {
            if !injection::suspicions(labelled.row.transaction.descriptor.raw()).is_empty() {
                counts.refused += 1;
                continue;
            }
            let mut line = self.line(labelled)?;
            counts.redacted += usize::from(redact::cover(&mut line) > self.in_system);
            counts.exported += 1;
            let written = serde_json::to_string(&line)?;
            writeln!(out, "{written}").map_err(serde_json::Error::io)?;
        }
        Ok(counts)
    }

    /// One line, with whatever personal data the row has.
    fn line(&self, labelled: &Labelled) -> Result<Value, Error> {
        let row = Row::of(1, &labelled.row, self.enrichment, Vec::new());
        let answer = |category: &Slug| {
            let answer = Answer { id: &row.id, category: category.as_str() };
            serde_json::to_string(&Answers { answers: [answer] })
        };
        let right = answer(&labelled.category)?;
        let user = self.prompt.user(std::slice::from_ref(&row))?;
        let system = &self.system;
        let said = |role: &str, text: &str| json!({"role": role, "content": text});
        Ok(match self.format {
            Format::Openai => {
                json!({"messages": [said("system", system), said("user", &user), said("assistant", &right)]})
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
                    "input": {"messages": [said("system", system), said("user", &user)]},
                    "preferred_completion": [said("assistant", &right)],
                    "non_preferred_completion": [said("assistant", &wrong)],
                })
            }
        })
    }
}
