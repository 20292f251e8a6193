//! `txcat eval compare`: runs on the same rows.

use anyhow::ensure;
use comfy_table::Cell;

use crate::{
    evaluate::{
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

    /// Print one JSON array, an object for each pair, instead of tables.
    #[arg(long)]
    pub json: bool,
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
    if options.json {
        println!("{}", serde_json::to_string(&pairs)?);
        return Ok(());
    }
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
    println!("{all}");
    for pair in &pairs {
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
        println!("{} − {}\n{classes}", name(&pair.ours), name(&pair.theirs));
    }
    Ok(())
}

fn name(run: &TrackedRun) -> String {
    let accuracy = run.accuracy.map_or_else(String::new, |accuracy| format!(", {} %", percent(accuracy.share)));
    format!("{} (run {}{accuracy})", run.stage, run.id)
}
