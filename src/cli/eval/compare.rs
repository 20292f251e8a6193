//! `txcat eval compare`: runs on the same rows.

use std::{fs, path::PathBuf};

use anyhow::{Context, ensure};
use comfy_table::Cell;

use crate::{
    evaluate::{
        page,
        paired::holm,
        report::{p_value, percent, points, right, table},
        tracker::{self, Compared, TrackedRun},
    },
    store::Store,
};

/// Categories that a terminal shows.
const SHOWN: usize = 15;

/// Compares runs on the same rows, each later one with each earlier one.
///
/// Differences are in percentage points, with the 95 % interval from whole merchants drawn anew. p is McNemar's exact test
/// over rows, beside it corrected for the number of pairs, or of categories (Holm).
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// Two runs or more, by number (`txcat eval runs`).
    #[arg(value_name = "RUN", num_args = 2.., required = true)]
    pub runs: Vec<i64>,

    /// How the comparison is written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// The same as --format json.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,

    /// Write it into this file instead of printing it.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// A paragraph to put before the figures, in Markdown: what a reader must know of data and engines. May be repeated.
    #[arg(long = "note", value_name = "TEXT")]
    pub notes: Vec<String>,
}

/// How a comparison is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Tables for a terminal.
    Table,
    /// One Markdown page, with every figure and slice of each run beside the others'.
    Md,
    /// One JSON array, an object for each pair.
    Json,
}

/// Runs the command.
///
/// # Errors
/// When there is no such run, runs are of different files, or the database fails.
pub(super) async fn run(options: &Options, store: &Store) -> anyhow::Result<()> {
    let mut pairs: Vec<Compared> = Vec::new();
    for (place, &ours) in options.runs.iter().enumerate() {
        for &theirs in &options.runs[..place] {
            ensure!(ours != theirs, "run {ours} is named twice");
            let pairing = tracker::pairing(store, ours, theirs).await?;
            pairs.push(tokio::task::block_in_place(|| pairing.compare())?);
        }
    }
    let text = match if options.json { Format::Json } else { options.format } {
        Format::Table => tables(&pairs),
        Format::Json => serde_json::to_string(&pairs)? + "\n",
        Format::Md => {
            let mut runs = Vec::new();
            for &run in &options.runs {
                let measured = tracker::measured(store, run).await?;
                runs.push(tokio::task::block_in_place(|| measured.report())?);
            }
            page::comparison(&runs, &pairs, &options.notes)?
        }
    };
    match &options.out {
        Some(path) => fs::write(path, text).with_context(|| format!("can't write {}", path.display()))?,
        None => print!("{text}"),
    }
    Ok(())
}

fn tables(pairs: &[Compared]) -> String {
    let corrected = holm(&pairs.iter().map(|pair| pair.all.p).collect::<Vec<_>>());
    let mut all =
        table(&["difference", "rows", "points", "95 % (merchants)", "only ours", "only theirs", "p", "p, Holm"]);
    for (pair, p_holm) in pairs.iter().zip(corrected) {
        let of = &pair.all;
        all.add_row([
            Cell::new(format!("{} − {}", name(&pair.ours), name(&pair.theirs))),
            right(of.rows.to_string()),
            right(format!("{:+.2}", 100.0 * of.difference)),
            right(points(of.by_merchant)),
            right(of.only_ours.to_string()),
            right(of.only_theirs.to_string()),
            right(p_value(of.p)),
            right(p_value(p_holm)),
        ]);
    }
    let mut text = format!("{all}\n");
    for pair in pairs {
        let mut classes = table(&["category", "rows", "points", "only ours", "only theirs", "p", "p, Holm"]);
        for class in pair.classes.iter().take(SHOWN) {
            classes.add_row([
                Cell::new(&class.category),
                right(class.rows.to_string()),
                right(format!("{:+.2}", 100.0 * class.difference)),
                right(class.only_ours.to_string()),
                right(class.only_theirs.to_string()),
                right(p_value(class.p)),
                right(p_value(class.p_holm)),
            ]);
        }
        text += &format!("{} − {}\n{classes}\n", name(&pair.ours), name(&pair.theirs));
    }
    text
}

fn name(run: &TrackedRun) -> String {
    let accuracy = run.accuracy.map_or_else(String::new, |accuracy| format!(", {} %", percent(accuracy.share)));
    format!("{} (run {}{accuracy})", run.stage, run.id)
}
