//! `txcat eval runs`: what was measured, newest first.

use comfy_table::Cell;

use crate::{
    evaluate::{
        report::{interval, or_nothing, percent, right, table},
        tracker::TrackedRun,
    },
    store::{EvalRunFilter, Store},
};

/// Lists what was measured, newest first: every scoring of a file by a stage, or by another program whose answers were
/// imported (`txcat eval --peers`).
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// Only runs on this data set.
    #[arg(long, value_name = "NAME")]
    pub data_set: Option<String>,

    /// Only runs on this file of it.
    #[arg(long, value_name = "NAME")]
    pub file: Option<String>,

    /// Only runs by this stage or peer.
    #[arg(long, value_name = "NAME")]
    pub stage: Option<String>,

    /// Only runs by this engine.
    #[arg(long, value_name = "ENGINE")]
    pub engine: Option<String>,

    /// Only runs older than this one.
    #[arg(long, value_name = "RUN")]
    pub before: Option<i64>,

    /// How many.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,

    /// Print one JSON array instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the database fails.
pub(super) async fn run(options: Options, store: &Store) -> anyhow::Result<()> {
    let Options { data_set, file, stage, engine, before, limit, json } = options;
    let filter = EvalRunFilter { id: None, data_set, file, stage, engine, peer: None, before, with_rows: false };
    let found = store.eval_runs(&filter, limit).await?;
    let runs: Vec<TrackedRun> = found.into_iter().map(TrackedRun::from).collect();
    if json {
        println!("{}", serde_json::to_string(&runs)?);
        return Ok(());
    }
    let mut table = table(&[
        "run",
        "when (UTC)",
        "data set",
        "file",
        "stage",
        "n",
        "accuracy",
        "95 % interval",
        "macro-F1",
        "engine",
    ]);
    for run in &runs {
        table.add_row([
            right(run.id.to_string()),
            Cell::new(run.started_at.format("%F %R")),
            Cell::new(&run.data_set),
            Cell::new(&run.file),
            Cell::new(&run.stage),
            right(or_nothing(run.accuracy, |accuracy| accuracy.n.to_string())),
            right(or_nothing(run.accuracy, |accuracy| percent(accuracy.share))),
            right(or_nothing(run.accuracy, |accuracy| interval(accuracy.low, accuracy.high))),
            right(format!("{:.3}", run.macro_f1)),
            Cell::new(if run.peer { "(another program)" } else { &run.engine }),
        ]);
    }
    println!("{table}");
    Ok(())
}
