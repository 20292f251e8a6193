//! `txcat eval show`: one run with all its figures.

use std::{fs, path::PathBuf};

use anyhow::Context;
use comfy_table::Cell;

use crate::{
    domain::money,
    evaluate::{
        metrics::Share,
        page::{self, Form},
        report::{NOTHING, interval, or_nothing, percent, right, table},
        tracker::{self, RunReport},
    },
    store::{EvalItem, Store},
};

/// Categories and mistakes that a terminal shows.
const SHOWN: usize = 15;

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Tables for a terminal.
    Table,
    /// Markdown.
    Md,
    /// One JSON object, with every digit.
    Json,
    /// One page that fetches nothing from elsewhere.
    Html,
}

/// Shows one run with all its figures.
///
/// Shares are per cent, with Wilson 95 % intervals over rows. *By merchant* draws whole merchants anew, because rows of one
/// merchant are right or wrong together: where merchants repeat, that interval is the one to trust.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// Its number (`txcat eval runs`).
    #[arg(value_name = "RUN")]
    pub run: i64,

    /// How the report is written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// The same as --format json.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,

    /// Write it into this file instead of printing it.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// Also write the run's rows, everything that the figures are made of, as CSV.
    #[arg(long, value_name = "FILE")]
    pub items: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When there is no such run, a file can't be written, or the database fails.
pub(super) async fn run(options: &Options, store: &Store) -> anyhow::Result<()> {
    let measured = tracker::measured(store, options.run).await?;
    let report = tokio::task::block_in_place(|| measured.report())?;
    let text = match if options.json { Format::Json } else { options.format } {
        Format::Table => tables(&report),
        Format::Md => page::render(&report, Form::Markdown)?,
        Format::Html => page::render(&report, Form::Html)?,
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    if let Some(path) = &options.items {
        fs::write(path, csv(&store.eval_items(options.run).await?)?)
            .with_context(|| format!("can't write {}", path.display()))?;
    }
    match &options.out {
        Some(path) => fs::write(path, text).with_context(|| format!("can't write {}", path.display()))?,
        None => print!("{text}"),
    }
    Ok(())
}

fn csv(items: &[EvalItem]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "id",
        "expected",
        "predicted",
        "confidence",
        "known_key",
        "key",
        "direction",
        "amount",
        "country",
        "posted_at",
        "account_age_days",
        "head_merchant",
        "alternatives",
        "gold_rank",
        "gold_probability",
        "decided_by",
        "latency_ms",
        "tokens",
        "cost",
        "error",
    ])?;
    for item in items {
        writer.serialize((
            (&item.item_id, &item.expected, &item.predicted, item.confidence, item.known_key, &item.descriptor_key),
            (&item.direction, item.amount, &item.country, item.posted_at, item.account_age_days, item.head_merchant),
            item.alternatives.as_ref().map(ToString::to_string),
            (item.gold_rank, item.gold_probability, &item.decided_by, item.latency_ms, item.tokens, item.cost),
            &item.error,
        ))?;
    }
    Ok(writer.into_inner()?)
}

fn with_interval(share: Option<Share>) -> String {
    or_nothing(share, |Share { share, low, high, .. }| format!("{} ({})", percent(share), interval(low, high)))
}

fn tables(report: &RunReport) -> String {
    let RunReport { run, figures, slices, bins, classes, mistakes } = report;
    let three = |figure: Option<f64>| or_nothing(figure, |figure| format!("{figure:.3}"));
    let mut all = table(&["figure", "value"]);
    let by_merchant = figures.accuracy_by_merchant;
    let [macro_f1, weighted_f1] = [figures.f1_by_merchant.macro_f1, figures.f1_by_merchant.weighted_f1]
        .map(|of| format!("{:.3} – {:.3}", of.low, of.high));
    for (name, value) in [
        ("rows", figures.accuracy.n.to_string()),
        ("right", with_interval(Some(figures.accuracy))),
        ("  by merchant", interval(by_merchant.low, by_merchant.high)),
        ("target", or_nothing(run.target, percent)),
        ("right of the answered", with_interval(figures.answered)),
        ("truth among the first three", with_interval(figures.top3)),
        ("primary category right", with_interval(figures.primary)),
        ("macro F1 (by merchant)", format!("{:.3} ({macro_f1})", figures.macro_f1)),
        ("weighted F1 (by merchant)", format!("{:.3} ({weighted_f1})", figures.weighted_f1)),
        ("log loss", three(figures.log_loss)),
        ("Brier score of the answer", three(figures.answer_brier)),
        ("calibration error", three(figures.ece)),
        ("area under risk-coverage", or_nothing(figures.aurc, |aurc| format!("{aurc:.4}"))),
        ("ms a row, half and 95 %", format!("{}, {}", three(figures.latency_p50_ms), three(figures.latency_p95_ms))),
        ("tokens", or_nothing(figures.tokens, |tokens| tokens.to_string())),
        ("cost", or_nothing(figures.cost, |cost| money::told(cost, run.currency.as_deref().unwrap_or(NOTHING)))),
    ] {
        all.add_row([Cell::new(name), right(value)]);
    }
    let mut by = table(&["by", "rows that are", "rows", "right"]);
    for slice in slices {
        let accuracy = slice.accuracy;
        by.add_row([
            Cell::new(&slice.slice),
            Cell::new(&slice.value),
            right(accuracy.n.to_string()),
            right(with_interval(Some(accuracy))),
        ]);
    }
    let mut ranked = table(&["rows", "confidence", "right", "coverage", "risk"]);
    for bin in bins {
        let shares = [bin.confidence, bin.accuracy, bin.coverage, bin.risk].map(|share| right(percent(share)));
        ranked.add_row([right(bin.rows.to_string())].into_iter().chain(shares));
    }
    let mut worst: Vec<_> = classes.iter().filter(|class| class.support > 0).collect();
    worst.sort_by_key(|class| std::cmp::Reverse(class.support - class.right));
    let mut worst_classes = table(&["most rows wrong", "rows", "answered", "precision", "recall", "F1"]);
    for class in worst.into_iter().take(SHOWN) {
        worst_classes.add_row([
            Cell::new(&class.category),
            right(class.support.to_string()),
            right(class.answered.to_string()),
            right(or_nothing(class.precision, percent)),
            right(with_interval(class.recall)),
            right(format!("{:.3}", class.f1)),
        ]);
    }
    let mut taken = table(&["is", "taken for", "rows"]);
    for mistake in mistakes.iter().take(SHOWN) {
        taken.add_row([Cell::new(&mistake.expected), Cell::new(&mistake.predicted), right(mistake.rows.to_string())]);
    }
    let engine = if run.peer { "another program" } else { &run.engine };
    let head = format!("run {}: {} on {}/{}, {engine}", run.id, run.stage, run.data_set, run.file);
    format!("{head}\n{all}\n{by}\n{ranked}\n{worst_classes}\n{taken}\n")
}
