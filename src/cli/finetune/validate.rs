//! `txcat finetune validate`: what is wrong with a training file, and what it weighs.

use std::{fs, path::PathBuf};

use anyhow::{Context, ensure};

use crate::{
    cli::{Settings, chat},
    clock,
    domain::money,
    finetune::validate::{At, LEAST_LINES, Report},
    llm::Price,
};

/// Checks every line of a training file; fails when one has an error.
///
/// Tokens are those of OpenAI's models from gpt-4o on; other providers count a little more or less. What training costs is
/// said where --chat-model names a model whose entry has a price of training.
#[derive(Debug, clap::Args)]
pub struct Validate {
    /// The file: chat lines or preference lines of OpenAI's format, or Gemini's or Bedrock's lines.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Passes over the file. [default: 3, more for small files and fewer for large ones]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub epochs: Option<u32>,

    /// Print one JSON object instead of lines.
    #[arg(long)]
    pub json: bool,
}

impl Validate {
    pub(super) fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let text = fs::read_to_string(&self.file).with_context(|| format!("can't read {}", self.file.display()))?;
        let report = Report::of(&text);
        let epochs = self.epochs.unwrap_or_else(|| report.epochs());
        let trained = report.tokens * u64::from(epochs);
        let cost = match chat::entry(settings)? {
            Some((file, entry)) => {
                let price = Price::on(&entry.prices, clock::now().date_naive());
                let cost = |tokens: u64| Some(price?.of_training(tokens)?.round_dp(4).normalize());
                cost(trained).zip(cost(report.booked_tokens(epochs))).map(|cost| (cost, file.budget.currency))
            }
            None => None,
        };
        if self.json {
            let told = serde_json::json!({
                "report": report, "counts": report.counts(), "bad_lines": report.bad_lines(), "epochs": epochs,
                "trained_tokens": trained, "estimated_cost": cost.as_ref().map(|(cost, _)| cost.0),
                "booked_cost": cost.as_ref().map(|(cost, _)| cost.1), "currency": cost.as_ref().map(|(_, of)| of),
            });
            println!("{told}");
        } else {
            report.faults.iter().for_each(|At { line, what }| println!("line {line}: error {what}: {}", what.words()));
            report
                .warnings
                .iter()
                .for_each(|At { line, what }| println!("line {line}: warning {what}: {}", what.words()));
            for (name, lines) in report.counts() {
                println!("{name}: {lines}");
            }
            println!(
                "{} lines, {} with errors; {} tokens (o200k_base), {epochs} epochs: {trained} to train on",
                report.lines,
                report.bad_lines(),
                report.tokens
            );
            match cost {
                _ if report.lines == 0 => {}
                // Whoever trains on these lines has prices of its own.
                _ if report.foreign > 0 => {}
                Some((cost, currency)) => println!(
                    "about {} at the entry's price of training; `finetune create` books {} until the bill is known",
                    money::told(cost.0, &currency),
                    money::told(cost.1, &currency)
                ),
                None => match &settings.chat.model {
                    Some(model) => println!(
                        "no price of training is known: no [[model.price]] of `{model}` that counts today has `training`"
                    ),
                    None => println!(
                        "no price of training is known: name a model with --chat-model whose [[model.price]] has \
                         `training`"
                    ),
                },
            }
        }
        ensure!(report.lines > 0, "{} has no lines", self.file.display());
        ensure!(report.faults.is_empty(), "{} of {} lines have errors", report.bad_lines(), report.lines);
        ensure!(!report.is_short(), "{} lines are too few: providers train on {LEAST_LINES} or more", report.lines);
        Ok(())
    }
}
